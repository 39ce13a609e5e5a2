"""What builds in this Python need, checked without importing any of it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

from prepare_models_entrypoint.contract import backends, converters, known_faults, packages

from .environments import unavailable
from .facts import Machine
from .findings import FAIL, LOCAL, OK, WARN, Finding

# Packages of an extra of this distribution, beyond those of every installation.
EXTRAS = {
    "calibrate": ("onnxruntime", "pillow"),
    "verify": ("onnxruntime", "pillow", "polygraphy"),
    "sanitize": ("onnx-graphsurgeon", "onnxruntime", "polygraphy"),
    "modelopt": ("nvidia-modelopt",),
}
_CODEC = "pip install cryptography and then pip install --no-deps nvidia-eff-tao-encryption"


def examine(machine: Machine, install: str) -> Iterator[Finding]:
    """Yield the findings. ``install``: the command that installs the extra ``local``."""
    installed, found = packages.installed(), converters.find()
    yield from _backend(machine, install)
    if "onnx" in installed:
        yield Finding("onnx here", OK, f"onnx {installed['onnx']}", of=LOCAL)
    else:
        yield Finding("onnx here", WARN, "onnx is not installed: models can't be changed", install, of=LOCAL)
    yield _codec(found.codec)
    programs = [f"{name} {path}" for name, path in found.programs.items()]
    yield Finding("converters here", OK, ", ".join(programs) or "no trtexec, no tao-converter", of=LOCAL)
    there = [name for name, needed in EXTRAS.items() if set(needed) <= set(installed)]
    absent = [name for name in EXTRAS if name not in there]
    text = f"installed: {', '.join(there) or 'none'}; not installed: {', '.join(absent) or 'none'}"
    yield Finding("extras here", OK, text, of=LOCAL)


def _backend(machine: Machine, install: str) -> Iterator[Finding]:
    backend, why_not = backends.installed_backend(), unavailable()
    if why_not is not None:
        yield Finding("TensorRT here", FAIL, why_not, install, of=LOCAL)
        return
    name, version = (backend["name"], backend["version"]) if backend else ("trtexec", backends.library_version() or "")
    text = f"{name} {version}".strip()
    if name == "tensorrt_rtx":
        text += ", which builds without a GPU, for RTX GPUs only: not for Isaac ROS and Triton"
        yield Finding("TensorRT here", OK, text, of=LOCAL)
        return
    if not (machine.gpus or machine.jetson):
        text += f", which builds on a GPU, and there is none: {machine.gpu_reason}"
        yield Finding("TensorRT here", FAIL, text, machine.gpu_fix, of=LOCAL)
    else:
        yield Finding("TensorRT here", OK, text, of=LOCAL)
    for fault in known_faults.of_version(version, machine.capabilities):
        yield Finding("known faults", WARN, fault["message"], fault["hint"], of=LOCAL)


def _codec(installed: bool) -> Finding:
    if installed:
        return Finding(".etlt here", OK, "NVIDIA's codec is installed", of=LOCAL)
    possible = os.uname().machine == "x86_64" and sys.version_info[:2] in ((3, 10), (3, 12))
    fix = _CODEC if possible else "decrypt .etlt models on x86_64 with Python 3.10 or 3.12, or in an image"
    text = "NVIDIA's codec is not installed: .etlt models can't be decrypted"
    return Finding(".etlt here", WARN, text, fix, of=LOCAL)
