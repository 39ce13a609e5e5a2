"""The lock: which bytes a manifest stood for when it was locked, and with which tools they were to be converted."""

from .document import Lock, LockedEngine, LockedFile, path_of, read, write
from .drift import drift_of_platform, drift_of_sources, refuse
from .pins import load

__all__ = [
    "Lock", "LockedEngine", "LockedFile", "drift_of_platform", "drift_of_sources", "load", "path_of", "read", "refuse",
    "write",
]  # fmt: skip
