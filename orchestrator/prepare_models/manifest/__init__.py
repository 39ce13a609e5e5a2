"""The manifest: which models to prepare, and how."""

from .load import load
from .model import Key, Manifest, ModelSpec

__all__ = ["Key", "Manifest", "ModelSpec", "load"]
