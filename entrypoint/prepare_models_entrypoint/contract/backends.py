"""The TensorRT modules of this interpreter, found without importing them: some build engines, others only load them."""

from __future__ import annotations

import importlib.util
import os
import re
import sys
from functools import lru_cache
from pathlib import Path
from typing import List, NamedTuple, Optional, Tuple

from .environment import BackendInfo, RuntimeInfo
from .versions import Version, version_of


class Module(NamedTuple):
    """A Python module of TensorRT, TensorRT-RTX, or one of their runtimes.

    product: its name for users. plans: the format of the engines that it loads. builds: whether it also builds them;
    a module that doesn't loads only version-compatible engines. distributions: those that may contain it.
    """

    name: str
    product: str
    plans: str
    builds: bool
    distributions: Tuple[str, ...]


FULL = "tensorrt"
# Full TensorRT comes first: Triton and Isaac ROS load its engines. A lean runtime needs no runtime inside the engine.
MODULES = (
    Module(
        FULL, "TensorRT", FULL, True,
        ("tensorrt", "tensorrt-cu13", "tensorrt-cu12", "tensorrt-cu11", "nvidia-tensorrt"),
    ),
    Module(
        "tensorrt_rtx", "TensorRT-RTX", "tensorrt_rtx", True,
        ("tensorrt-rtx-cu13", "tensorrt-rtx-cu12", "tensorrt-rtx"),
    ),
    Module(
        "tensorrt_lean", "TensorRT's lean runtime", FULL, False,
        ("tensorrt-lean", "tensorrt-lean-cu13", "tensorrt-lean-cu12", "tensorrt-lean-cu11"),
    ),
    Module(
        "tensorrt_dispatch", "TensorRT's dispatch runtime", FULL, False,
        ("tensorrt-dispatch", "tensorrt-dispatch-cu13", "tensorrt-dispatch-cu12", "tensorrt-dispatch-cu11"),
    ),
)  # fmt: skip
PRODUCTS = {module.name: module.product for module in MODULES}
_BY_NAME = {module.name: module for module in MODULES}

TYPED_SINCE: Version = (11,)  # the first TensorRT that takes precision only from the graph
_TAKEN = "PREPARE_MODELS_TENSORRT"  # the module that this process imports, if not the one that builds
_LIBRARY_PATHS = ("usr/lib/*-linux-gnu", "usr/lib64", "usr/local/lib", "opt/tensorrt/lib", "usr/local/tensorrt/lib")
_VERSION = r"\d+(\.\w+)+"
_ANSWER_S = 60.0


def installed_backend() -> Optional[BackendInfo]:
    """Return the module of this interpreter that builds, or None."""
    return next((each for each in installed() if _BY_NAME[each["name"]].builds), None)


def installed() -> List[BackendInfo]:
    """Return every module of this interpreter."""
    found = (_installed(module) for module in MODULES)
    return [backend for backend in found if backend is not None]


def loader(found: RuntimeInfo, plans: str) -> Optional[BackendInfo]:
    """Return the module of an environment that loads engines of a format, or None."""
    modules = [found["backend"], *found.get("others", ())]
    return next((each for each in modules if each is not None and _BY_NAME[each["name"]].plans == plans), None)


def loads_compatible_alone(name: str) -> bool:
    """Return whether a module loads only version-compatible engines, as lean and dispatch runtimes do."""
    return not _BY_NAME[name].builds


def chooses_by_flags(backend: Optional[str], version: Optional[str]) -> bool:
    """Return whether builder flags choose the precision, rather than the types in the graph."""
    return backend == FULL and version_of(version or "") < TYPED_SINCE


def take(name: str) -> None:
    """Make this process, which loads an engine, import this module, even if another one builds."""
    os.environ[_TAKEN] = name


def name_here() -> Optional[str]:
    """Return the name of the module that this process imports, or None."""
    backend = installed_backend()
    return os.environ.get(_TAKEN) or (backend["name"] if backend else None)


def _installed(module: Module) -> Optional[BackendInfo]:
    spec = importlib.util.find_spec(module.name)
    if spec is None or not spec.origin:
        return None
    site = Path(spec.origin).parent.parent
    for distribution in module.distributions:
        # importlib.metadata would give the same, but imports the email parser in every process
        for record in site.glob(f"{distribution.replace('-', '_')}-*.dist-info"):
            return BackendInfo(name=module.name, version=record.name.rpartition(".")[0].partition("-")[2])
    version = _reported_version(module.name, spec.origin) or (library_version() if module.name == FULL else None)
    return BackendInfo(name=module.name, version=version) if version else None


@lru_cache(maxsize=None)
def _reported_version(module: str, origin: str) -> Optional[str]:
    """Return the version that a module reports in a separate process: importing it here would start the driver.

    ``origin``: the file that would be imported, for which the answer is remembered.
    """
    import subprocess

    del origin
    path = [place for place in sys.path if os.path.isabs(place)]  # a relative one is the current directory
    code = f"import sys; sys.path[:] = {path!r}; import {module}; print({module}.__version__)"
    try:
        answer = subprocess.run(
            [sys.executable, "-I", "-c", code],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            check=False,
            timeout=_ANSWER_S,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    words = answer.stdout.decode("utf-8", "replace").split()
    return words[-1] if words and re.fullmatch(_VERSION, words[-1]) else None


def library_version() -> Optional[str]:
    """Return the version in the file name of the TensorRT library; None if there is no library."""
    found = (file.name for place in _LIBRARY_PATHS for file in Path("/").glob(f"{place}/libnvinfer.so.*.*.*"))
    versions = [[int(part) for part in re.findall(r"\d+", name.partition(".so.")[2])] for name in found]
    return ".".join(map(str, max(versions))) if versions else None
