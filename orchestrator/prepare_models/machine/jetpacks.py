"""What each JetPack contains (``jetpacks.json``, TensorRT 8.4 to 11.4), and which modules have a DLA that it uses."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

from prepare_models_entrypoint.contract.values import Value

from .facts import Machine, Version
from .platforms import dotted, version


class JetPack(Value):
    """One release.

    l4t: first and last Jetson Linux; empty if unknown. newer: a TensorRT that it supports besides its own.
    """

    jetpack: str
    l4t: tuple[str, ...]
    python: str
    cuda: str
    tensorrt: str
    newer: str = ""


class Dla(Value):
    """TensorRT versions, first to last (empty: all later ones), that build for the DLA of some modules."""

    tensorrt: tuple[str, str]
    modules: tuple[str, ...]


@lru_cache(maxsize=1)
def releases() -> tuple[JetPack, ...]:
    """Return every release, oldest first."""
    return tuple(JetPack(**{**row, "l4t": tuple(row["l4t"])}) for row in _document()["releases"])


@lru_cache(maxsize=1)
def dla() -> tuple[Dla, ...]:
    """Return which TensorRT builds for which modules' DLA."""
    return tuple(Dla((row["tensorrt"][0], row["tensorrt"][1]), tuple(row["modules"])) for row in _document()["dla"])


def of(l4t: Version) -> JetPack | None:
    """Return the JetPack of a release of Jetson Linux, or None if unknown."""
    known = [row for row in releases() if row.l4t]
    return next((row for row in known if version(row.l4t[0]) <= l4t <= version(row.l4t[1])), None)


def has_dla(board: str, tensorrt: str) -> bool | None:
    """Return whether a TensorRT builds for the DLA of a module; None for an unknown module."""
    if not board:
        return None
    wanted = version(tensorrt)
    return any(
        version(row.tensorrt[0]) <= wanted
        and (not row.tensorrt[1] or wanted <= version(row.tensorrt[1]))
        and any(board == module or board.startswith(f"{module}-") for module in row.modules)
        for row in dla()
    )


def told(machine: Machine) -> str:
    """Return what is known about a Jetson's release and its DLA, as a sentence."""
    if machine.l4t is None:
        return "unknown release"
    found = of(machine.l4t)
    if found is None:
        return f"L4T {dotted(machine.l4t)} belongs to no known JetPack"
    parts = [f"JetPack {found.jetpack}: TensorRT {found.tensorrt}, CUDA {found.cuda}, Python {found.python}"]
    newest = releases()[-1]
    if found.jetpack.startswith("7.2"):
        parts.append(f"TensorRT {newest.newer} from JetPack {newest.jetpack} on")
    uses = has_dla(machine.board, found.tensorrt)
    if uses is not None:
        parts.append("with DLA" if uses else "without DLA")
    if not uses and newest.newer and found.jetpack.startswith("7.2") and has_dla(machine.board, newest.newer):
        parts.append(f"which TensorRT {newest.newer} has")
    return "; ".join(parts)


def _document() -> dict[str, list[Any]]:
    file = Path(__file__).with_name("jetpacks.json")
    document: dict[str, list[Any]] = json.loads(file.read_text(encoding="utf-8"))
    return document
