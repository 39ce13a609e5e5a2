"""Fetching one source as a stage does, and its refusal."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Optional

import pytest

from prepare_models_entrypoint.download.fetch import Fetched, fetch
from prepare_models_entrypoint.errors import FetchError


def get(source: object, cache: Path, sha256: Optional[str] = None, **more: Any) -> Fetched:
    """Return what was fetched into a cache."""
    return fetch(str(source), sha256=sha256, cache_dir=cache, on_progress=lambda _: None, **more)


def refusal(source: object, cache: Path, sha256: Optional[str] = None, **more: Any) -> FetchError:
    """Return the error that a source ends with."""
    with pytest.raises(FetchError) as caught:
        get(source, cache, sha256, **more)
    return caught.value
