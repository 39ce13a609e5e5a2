"""Where the download store keeps content, so that the orchestrator can find it and add to it."""

from __future__ import annotations

from pathlib import Path


def blobs(root: Path) -> Path:
    """Return the directory with the contents of the store ``root``."""
    return root / "blobs"


def blob(root: Path, sha256: str) -> Path:
    """Return the file with this content. It is hashed before its first use unless the store itself verified it."""
    return blobs(root) / sha256


def record(root: Path, sha256: str) -> Path:
    """Return the file that marks large content as verified; each use updates its time."""
    return root / "records" / f"{sha256}.json"


def names(root: Path, sha256: str) -> Path:
    """Return the directory of links to this content, each named after one of its sources."""
    return root / "names" / sha256
