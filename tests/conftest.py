"""For every test a cache of its own. For generated examples no clock, so that a busy machine fails none."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("tests", deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tests")

# A shell starts jobs in the background with Ctrl-C ignored, and what the tests start would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads or writes the user's cache, nor what this user trusts and accepted."""
    monkeypatch.setenv("PREPARE_MODELS_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("PREPARE_MODELS_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("PREPARE_MODELS_TRUSTED_KEYS", str(tmp_path / "trusted-keys.json"))
