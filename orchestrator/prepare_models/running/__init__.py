"""The models of a manifest, prepared through an executor."""
