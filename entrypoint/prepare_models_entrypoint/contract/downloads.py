"""Where the download store keeps a content, so that the orchestrator can put one there that came another way."""

from __future__ import annotations

from pathlib import Path


def folder(root: Path, sha256: str) -> Path:
    """Return the directory of a content in the store ``root``."""
    return root / "files" / sha256


def blob(root: Path, sha256: str) -> Path:
    """Return the file of a content. It is hashed before its first use where the store did not verify it itself."""
    return folder(root, sha256) / "blob"
