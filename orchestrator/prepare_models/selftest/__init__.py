"""``prepare-models selftest``: everything that happens to a model, on this machine, with a verdict for each step."""
