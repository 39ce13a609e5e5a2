"""The programs that run an engine: the files they read and the rules they apply, one folder each."""
