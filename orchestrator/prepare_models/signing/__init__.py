"""Signatures: statements of provenance, and bundles."""
