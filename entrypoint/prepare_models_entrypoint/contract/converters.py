"""Which converters an environment has, and which one is used for a model. Both sides import this."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Optional, Tuple

from .environment import Converters

# Where NVIDIA's images and JetPack put the programs; the link of the Isaac ROS images comes first.
TRTEXEC_PATHS = ("/usr/src/tensorrt/bin/trtexec", "/opt/tensorrt/bin/trtexec")
TAO_LINK = "/opt/nvidia/tao/tao-converter"
TAO_PATHS = {
    "x86_64": "/opt/nvidia/tao/tao-converter-x86-tensorrt8.0/tao-converter",
    "aarch64": "/opt/nvidia/tao/jp5/tao-converter",
}
TRTEXEC_VARIABLE = "PREPARE_MODELS_TRTEXEC"
TAO_VARIABLE = "PREPARE_MODELS_TAO_CONVERTER"


@dataclass(frozen=True)
class Choice:
    """The converter for a model, and why this one. ``converter`` is None where none can do it."""

    converter: Optional[str]
    reason: str


def is_encrypted(name: str) -> bool:
    """Tell from the name of a file, in small or capital letters, whether it is an encrypted TAO model."""
    return name.lower().endswith(".etlt")


def find(*, root: Path = Path("/"), machine: Optional[str] = None) -> Converters:
    """Return the programs that this environment has. ``root`` and ``machine`` stand in for this computer's own."""
    tao_paths = (TAO_LINK, TAO_PATHS.get(machine or platform.machine(), TAO_LINK))
    return Converters(
        trtexec=_program("trtexec", TRTEXEC_VARIABLE, TRTEXEC_PATHS, root),
        tao_converter=_program("tao-converter", TAO_VARIABLE, tao_paths, root),
        etlt_codec=has_codec(),
    )


def _program(name: str, variable: str, paths: Tuple[str, ...], root: Path) -> Optional[str]:
    chosen = os.environ.get(variable)
    if chosen:
        return chosen
    for path in paths:
        file = root / path.lstrip("/")
        if os.access(str(file), os.X_OK) and file.is_file():
            return str(file)
    return shutil.which(name)


def has_codec() -> bool:
    """Tell whether NVIDIA's codec for .etlt is installed."""
    try:
        return importlib.util.find_spec("eff_tao_encryption") is not None
    except (ImportError, ValueError):
        return False


def choose(
    wanted: str, *, encrypted: bool, payload: Optional[str], bindings: Optional[str], found: Converters
) -> Choice:
    """Choose the converter for a model.

    Args:
        wanted: the manifest's ``converter``.
        encrypted: whether the model is an .etlt.
        payload: onnx or uff; None where the file was not read yet.
        bindings: name of the TensorRT module of this Python, None without one.
        found: programs of the environment.
    """
    if wanted != "auto":
        return _explicit(wanted, encrypted=encrypted, bindings=bindings, found=found)
    if encrypted and payload == "uff":
        if found["tao_converter"]:
            return Choice("tao-converter", "a UFF network, which only tao-converter reads")
        return Choice(None, "it holds a UFF network, and tao-converter (TensorRT 8) is not here")
    if encrypted and not found["etlt_codec"] and found["tao_converter"]:
        return Choice("tao-converter", "the one program here that can decrypt an .etlt")
    if bindings:
        return Choice("api", f"Python module {bindings}")
    if found["trtexec"]:
        return Choice("trtexec", "no Python module of TensorRT here")
    return Choice(None, "neither a Python module of TensorRT nor trtexec is here")


def _explicit(wanted: str, *, encrypted: bool, bindings: Optional[str], found: Converters) -> Choice:
    if wanted == "api":
        return (
            Choice("api", "the manifest says so") if bindings else Choice(None, "no Python module of TensorRT is here")
        )
    program = found["trtexec"] if wanted == "trtexec" else found["tao_converter"]
    if wanted == "tao-converter" and not encrypted:
        return Choice(None, "tao-converter reads .etlt files only")
    if program is None:
        where = ", ".join(TRTEXEC_PATHS if wanted == "trtexec" else (TAO_LINK, *TAO_PATHS.values()))
        return Choice(None, f"{wanted} is neither on PATH nor at {where}")
    return Choice(wanted, "the manifest says so")
