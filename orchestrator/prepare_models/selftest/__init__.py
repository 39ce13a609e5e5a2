"""``prepare-models selftest``: the whole way of a model on this machine, with a verdict for each step."""
