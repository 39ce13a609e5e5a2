from __future__ import annotations

from pathlib import Path

import pytest

from tests.command import Workplace

from .bundles import site  # noqa: F401  # a fixture


@pytest.fixture
def place(tmp_path: Path) -> Workplace:
    return Workplace(tmp_path)
