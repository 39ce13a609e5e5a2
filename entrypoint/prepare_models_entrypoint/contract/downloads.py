"""Where the download store keeps a content, so that the orchestrator finds it, and can put one there itself."""

from __future__ import annotations

from pathlib import Path


def blobs(root: Path) -> Path:
    """Return the directory of the contents in the store ``root``."""
    return root / "blobs"


def blob(root: Path, sha256: str) -> Path:
    """Return the file of a content. It is hashed before its first use where the store did not verify it itself."""
    return blobs(root) / sha256


def record(root: Path, sha256: str) -> Path:
    """Return the file in which a large content is known as verified; it is touched with each use."""
    return root / "records" / f"{sha256}.json"


def names(root: Path, sha256: str) -> Path:
    """Return the directory of links to a content, each under the name of one of its sources."""
    return root / "names" / sha256
