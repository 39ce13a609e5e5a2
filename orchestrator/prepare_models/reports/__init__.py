"""Forms in which people read reports."""
