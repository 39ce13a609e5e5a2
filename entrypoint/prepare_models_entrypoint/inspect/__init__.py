"""The inspect stage: what an engine really is, and the files that its consumers read."""
