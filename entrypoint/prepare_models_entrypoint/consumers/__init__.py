"""Programs that run engines, one folder each: what they know, the files they read, and the rules they judge by."""
