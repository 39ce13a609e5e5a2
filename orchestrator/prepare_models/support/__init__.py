"""What every package may use: paths, logs, signals, digests of files."""
