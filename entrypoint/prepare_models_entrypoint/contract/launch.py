"""How processes of the entrypoint are started, from either side."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import List

NICE_VARIABLE = "PREPARE_MODELS_NICE"  # 1 has a process and its children give way to other programs

_SCRIPT = Path(__file__).absolute().parents[1] / "launch" / "start.py"


def command(module: str, *arguments: str) -> List[str]:
    """Return the argument vector that calls ``main`` of a module. Nothing is imported from the current directory."""
    return [sys.executable, str(_SCRIPT), module, *arguments]
