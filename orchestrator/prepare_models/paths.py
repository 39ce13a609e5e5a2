"""Where the tool keeps its own files, and the layout of a models directory."""

from __future__ import annotations

import os
from pathlib import Path

CACHE_VARIABLE = "PREPARE_MODELS_CACHE_DIR"


def cache_dir() -> Path:
    """Return the cache directory: PREPARE_MODELS_CACHE_DIR, else ``prepare-models`` under the XDG cache directory."""
    chosen = os.environ.get(CACHE_VARIABLE)
    if chosen:
        return Path(chosen).absolute()
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base).absolute() / "prepare-models"
