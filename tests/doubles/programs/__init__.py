"""Doubles of NVIDIA's converters as programs that can be started."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

FOLDER = Path(__file__).parent


def install(name: str, target: Path) -> Path:
    """Write a program ``target`` that runs the double ``name`` (trtexec, tao_converter) with this interpreter."""
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(f'#!/bin/sh\nexec {shlex.join([sys.executable, str(FOLDER / f"{name}.py")])} "$@"\n')
    target.chmod(0o755)
    return target
