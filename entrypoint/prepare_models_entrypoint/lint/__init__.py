"""Is an engine, and what lies beside it, what its consumers can run? Rules with stable codes, as data."""
