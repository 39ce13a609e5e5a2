"""What every room may use: paths, logs, signals, digests of files."""
