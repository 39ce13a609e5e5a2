"""The inspect stage: what an engine really is, and the files for its consumers."""
