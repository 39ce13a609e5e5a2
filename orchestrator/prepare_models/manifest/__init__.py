"""The manifest: which models to prepare, and how."""
