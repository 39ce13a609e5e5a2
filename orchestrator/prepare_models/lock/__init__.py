"""The lock: which bytes a manifest meant when it was locked, and which tools were to convert them."""

from .document import Lock, LockedEngine, LockedFile, path_of, read, write
from .drift import drift_of_platform, drift_of_sources, refuse
from .pins import load

__all__ = [
    "Lock", "LockedEngine", "LockedFile", "drift_of_platform", "drift_of_sources", "load", "path_of", "read", "refuse",
    "write",
]  # fmt: skip
