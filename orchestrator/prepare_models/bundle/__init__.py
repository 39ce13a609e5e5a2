"""Bundles: everything that a run needs in one file, for a machine without a network."""
