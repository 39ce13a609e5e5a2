"""The known converters, which of them an environment has, and which one is used for a model.

A converter is a row of ``KINDS`` here and a module ``by_NAME`` of ``prepare_models_entrypoint.converters``, which has
the functions of ``Converter`` in ``converters/request.py``.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
from pathlib import Path
from typing import Callable, Dict, Mapping, NamedTuple, Optional, Sequence, Tuple

# Where NVIDIA's images and JetPack put the programs; the symlink in Isaac ROS images comes first.
TRTEXEC_PATHS = ("/usr/src/tensorrt/bin/trtexec", "/opt/tensorrt/bin/trtexec")
TAO_LINK = "/opt/nvidia/tao/tao-converter"
TAO_PATHS = {
    "x86_64": "/opt/nvidia/tao/tao-converter-x86-tensorrt8.0/tao-converter",
    "aarch64": "/opt/nvidia/tao/jp5/tao-converter",
}


class Found(NamedTuple):
    """What an environment has. programs: paths by name of converter. codec: whether .etlt can be decrypted."""

    programs: Mapping[str, str] = {}
    codec: bool = False

    @property
    def reads_onnx(self) -> bool:
        """Whether a program builds from plain models."""
        return any(kind.name in self.programs for kind in KINDS if not kind.encrypted)


class Case(NamedTuple):
    """What a converter is chosen for.

    encrypted: whether the model is an .etlt. payload: onnx or uff; None if the file has not been read yet.
    bindings: name of the TensorRT module of this Python, None without one. found: programs of the environment.
    """

    encrypted: bool
    payload: Optional[str]
    bindings: Optional[str]
    found: Found

    @property
    def is_uff(self) -> bool:
        """Whether only tao-converter reads the model."""
        return self.encrypted and self.payload == "uff"


class Converter(NamedTuple):
    """A way from a model to an engine.

    program: whether it is a program rather than this Python's module; it is the file in ``variable`` if that is set,
    else it is searched for by name on PATH, at ``paths`` and at this architecture's path in ``machines``.
    encrypted: it takes only .etlt files, as they are.
    auto: returns why the manifest's ``auto`` selects it, or an empty text if it doesn't.
    """

    name: str
    auto: Callable[[Case], str] = lambda _: ""
    program: bool = True
    variable: str = ""
    paths: Sequence[str] = ()
    machines: Mapping[str, str] = {}
    encrypted: bool = False


def _auto_api(case: Case) -> str:
    return f"Python module {case.bindings}" if case.bindings and not case.is_uff else ""


def _auto_trtexec(case: Case) -> str:
    return "no Python module of TensorRT here" if "trtexec" in case.found.programs and not case.is_uff else ""


def _auto_tao(case: Case) -> str:
    if "tao-converter" not in case.found.programs:
        return ""
    if case.is_uff:
        return "a UFF network, which only tao-converter reads"
    return "" if case.found.codec else "the one program here that can decrypt an .etlt"


KINDS = (
    Converter("api", _auto_api, program=False),
    Converter("trtexec", _auto_trtexec, variable="PREPARE_MODELS_TRTEXEC", paths=TRTEXEC_PATHS),
    Converter(
        "tao-converter", _auto_tao, variable="PREPARE_MODELS_TAO_CONVERTER", paths=(TAO_LINK,), machines=TAO_PATHS,
        encrypted=True,
    ),
)  # fmt: skip
CONVERTERS = tuple(kind.name for kind in KINDS)
_BY_NAME = {kind.name: kind for kind in KINDS}


class Choice(NamedTuple):
    """The converter for a model, and the reason. ``converter`` is None if no converter can do it."""

    converter: Optional[str]
    reason: str


def kind_of(name: str) -> Converter:
    """Return the converter with this name."""
    return _BY_NAME[name]


def is_encrypted(name: str) -> bool:
    """Return whether a file's name, in any case, is that of an encrypted TAO model."""
    return name.lower().endswith(".etlt")


def find(*, root: Path = Path("/"), machine: Optional[str] = None) -> Found:
    """Return the programs that this environment has. ``root`` and ``machine`` replace this computer's own."""
    paths = {kind.name: _program(kind, root, machine or os.uname().machine) for kind in KINDS if kind.program}
    programs: Dict[str, str] = {name: path for name, path in paths.items() if path}
    return Found(programs, has_codec())


def _program(kind: Converter, root: Path, machine: str) -> Optional[str]:
    chosen = os.environ.get(kind.variable) if kind.variable else None
    if chosen:
        return chosen
    own = (kind.machines[machine],) if machine in kind.machines else ()
    for path in (*kind.paths, *own):
        file = root / path.lstrip("/")
        if os.access(str(file), os.X_OK) and file.is_file():
            return str(file)
    return shutil.which(kind.name)


def has_codec() -> bool:
    """Return whether NVIDIA's codec for .etlt is installed."""
    try:
        return importlib.util.find_spec("eff_tao_encryption") is not None
    except (ImportError, ValueError):
        return False


def choose(wanted: str, case: Case) -> Choice:
    """Choose the converter for a model; ``wanted`` is the manifest's ``converter``."""
    if wanted != "auto":
        return _explicit(kind_of(wanted), case)
    for kind in sorted(KINDS, key=lambda kind: not kind.encrypted):
        reason = kind.auto(case) if case.encrypted or not kind.encrypted else ""
        if reason:
            return Choice(kind.name, reason)
    if case.is_uff:
        return Choice(None, "it holds a UFF network, and tao-converter (TensorRT 8) is not here")
    return Choice(None, "neither a Python module of TensorRT nor trtexec is here")


def _explicit(kind: Converter, case: Case) -> Choice:
    if not kind.program and not case.bindings:
        return Choice(None, "no Python module of TensorRT is here")
    if kind.encrypted and not case.encrypted:
        return Choice(None, f"{kind.name} reads .etlt files only")
    if kind.program and kind.name not in case.found.programs:
        places: Tuple[str, ...] = (*kind.paths, *kind.machines.values())
        where = f"neither on PATH nor at {', '.join(places)}" if places else "not on PATH"
        return Choice(None, f"{kind.name} is {where}")
    return Choice(kind.name, "the manifest says so")
