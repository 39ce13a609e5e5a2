"""The consumers and their releases, read from the folders next to this package; their code is in the entrypoint."""

from __future__ import annotations

from pathlib import Path
from typing import Dict, Tuple

from .codec import ContractError
from .versions import version_of

RTX_ENGINE = "rtx-engine"  # code of the warning about engines that these consumers can't load
RTX_HINT = "for Isaac ROS and Triton, run in an environment with the full tensorrt package and a GPU"
NOT_OF_RTX = ("isaac-ros", "triton")
_FOLDER = Path(__file__).parents[1] / "consumers"


def of_rtx(version: object) -> str:
    """Return a sentence on where engines of this TensorRT-RTX version load."""
    return (
        f"a TensorRT-RTX {version} plan loads in exactly that runtime, "
        "not in TensorRT, Triton's tensorrt backend or Isaac ROS' TensorRTNode"
    )


def releases_by_consumer() -> Dict[str, Tuple[str, ...]]:
    """Return the releases of each consumer, oldest first; empty if releases don't differ."""
    folders = sorted(path for path in _FOLDER.iterdir() if (path / "rules.py").is_file())
    return {folder.name.replace("_", "-"): releases(folder) for folder in folders}


def releases(folder: Path) -> Tuple[str, ...]:
    """Return the releases for which a consumer's folder has data."""
    names = [file.stem for file in (folder / "releases").glob("*.json")]
    return tuple(sorted(names, key=version_of))


def check(text: str) -> str:
    """Return ``text`` if it names a consumer, such as ``triton`` or ``isaac-ros@5.0``.

    Raises:
        ContractError: there is no such consumer or release; the message lists the known ones.
    """
    name, at, release = text.partition("@")
    there = releases_by_consumer()
    if name not in there:
        raise ContractError(f"unknown consumer {name!r}; the known ones are {', '.join(there)}")
    if at and release not in there[name]:
        known = ", ".join(f"{name}@{each}" for each in there[name]) or f"{name} without a release"
        raise ContractError(f"{text!r} is not known; there are {known}")
    return text
