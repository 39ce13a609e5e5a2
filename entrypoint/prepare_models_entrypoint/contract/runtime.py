"""What can build engines in this interpreter, found out without importing it, and the CUDA device if there is one."""

from __future__ import annotations

import importlib.util
import json
import os
import platform
import re
import subprocess
import sys
from functools import lru_cache
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence, Tuple

from . import converters, packages
from .environment import BackendInfo, GpuInfo, RuntimeInfo
from .files import sha256_file

# Module and the distributions that may carry it. Full TensorRT comes first: Triton and Isaac ROS load its engines.
BACKENDS = (
    ("tensorrt", ("tensorrt", "tensorrt-cu13", "tensorrt-cu12", "tensorrt-cu11", "nvidia-tensorrt")),
    ("tensorrt_rtx", ("tensorrt-rtx-cu13", "tensorrt-rtx-cu12", "tensorrt-rtx")),
)

BOARD_VARIABLE = "PREPARE_MODELS_BOARD"  # in containers, which don't see the device tree

_DRIVER_FILE = Path("/proc/driver/nvidia/version")
_DEVICE_TREE = Path("/proc/device-tree/compatible")
_LIBRARY_PATHS = ("usr/lib/*-linux-gnu", "usr/lib64", "usr/local/lib", "opt/tensorrt/lib", "usr/local/tensorrt/lib")
_VERSION = re.compile(r"\d+(\.\w+)+")
_ANSWER_S = 60.0
_MODULE = re.compile(r"p\d{4}-\d{4}")


def installed_backend() -> Optional[BackendInfo]:
    """Return the backend of this interpreter that builds, or None."""
    found = backends()
    return found[0] if found else None


def backends() -> List[BackendInfo]:
    """Return every backend of this interpreter; the first one builds."""
    found = (_installed(module, distributions) for module, distributions in BACKENDS)
    return [backend for backend in found if backend is not None]


def _installed(module: str, distributions: Sequence[str]) -> Optional[BackendInfo]:
    spec = importlib.util.find_spec(module)
    if spec is None or not spec.origin:
        return None
    site = Path(spec.origin).parent.parent
    for distribution in distributions:
        # importlib.metadata would say the same, at the price of importing the email parser in every process
        for record in site.glob(f"{distribution.replace('-', '_')}-*.dist-info"):
            return BackendInfo(name=module, version=record.name.rpartition(".")[0].partition("-")[2])
    version = _own_word(module, spec.origin) or library_version()
    return BackendInfo(name=module, version=version) if version else None


@lru_cache(maxsize=None)
def _own_word(module: str, origin: str) -> Optional[str]:
    """Ask a module for its version in a process of its own, as importing it here would start the driver.

    Args:
        module: its name.
        origin: the file that would be imported, for which the answer is remembered.
    """
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
    return words[-1] if words and _VERSION.fullmatch(words[-1]) else None


def library_version(root: Path = Path("/")) -> Optional[str]:
    """Return the version of the TensorRT library below ``root`` by the name of its file, None without one."""
    found = (file.name for place in _LIBRARY_PATHS for file in root.glob(f"{place}/libnvinfer.so.*.*.*"))
    versions = [[int(part) for part in re.findall(r"\d+", name.partition(".so.")[2])] for name in found]
    return ".".join(map(str, max(versions))) if versions else None


def board_of(compatible: str) -> Optional[str]:
    """Return a Jetson's module, such as p3767-0000, from the words of its device tree's ``compatible``; None else."""
    if "nvidia,tegra" not in compatible:
        return None
    modules = _MODULE.findall(compatible.partition("\0")[0])
    return modules[-1] if modules else compatible.partition("\0")[0]


def probe(*, gpu: bool = True) -> RuntimeInfo:
    """Describe this process. ``gpu=False`` leaves the CUDA driver alone."""
    device, reason = _probe_in_a_copy() if gpu else (None, "not probed")
    return RuntimeInfo(
        python=platform.python_version(),
        machine=platform.machine(),
        backend=installed_backend(),
        gpu=device,
        gpu_reason=reason,
        system=platform.system().lower(),
        board=os.environ.get(BOARD_VARIABLE) or _board(),
        programs=_programs(),
        library=library_version(),
        etlt_codec=converters.has_codec(),
        packages=packages.installed(),
    )


def _board() -> Optional[str]:
    try:
        return board_of(_DEVICE_TREE.read_text(encoding="utf-8", errors="replace"))
    except OSError:
        return None


def _programs() -> Dict[str, str]:
    """Return what distinguishes versions of NVIDIA's programs: they have no option that does."""
    paths = converters.find().programs
    return {name: sha256_file(path)[:16] for name, path in paths.items() if os.path.isfile(path)}


def _probe_in_a_copy() -> Tuple[Optional[GpuInfo], Optional[str]]:
    """Ask the driver in a forked process: CUDA does not work in the children of a process that has started it."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(writer, json.dumps(_probe_gpu()).encode("utf-8"))
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as answer:
        told = answer.read()
    os.waitpid(child, 0)
    if not told:
        return None, "the NVIDIA driver crashed when it was asked for its devices"
    device, reason = json.loads(told)
    return device, reason


def _probe_gpu() -> Tuple[Optional[GpuInfo], Optional[str]]:
    import ctypes

    try:
        cuda = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return None, "no NVIDIA driver: libcuda.so.1 was not found"
    status = cuda.cuInit(0)
    if status != 0:
        return None, f"the NVIDIA driver did not start: cuInit returned {status}"
    count = ctypes.c_int()
    if cuda.cuDeviceGetCount(ctypes.byref(count)) != 0 or count.value == 0:
        return None, "the NVIDIA driver sees no CUDA device"
    return _device(cuda), None


def _device(cuda: Any) -> GpuInfo:
    import ctypes

    device, version, major, minor = (ctypes.c_int() for _ in range(4))
    name = ctypes.create_string_buffer(256)
    cuda.cuDeviceGet(ctypes.byref(device), 0)
    cuda.cuDeviceGetName(name, len(name), device)
    cuda.cuDriverGetVersion(ctypes.byref(version))
    for attribute, out in ((75, major), (76, minor)):  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, _MINOR
        cuda.cuDeviceGetAttribute(ctypes.byref(out), attribute, device)
    return GpuInfo(
        name=name.value.decode("utf-8", "replace"),
        compute_capability=f"{major.value}.{minor.value}",
        driver=_driver_version(),
        cuda_version=f"{version.value // 1000}.{version.value % 1000 // 10}",
    )


def _driver_version() -> Optional[str]:
    try:
        words: List[str] = re.findall(r"\b\d{3,}\.\d+(?:\.\d+)?\b", _DRIVER_FILE.read_text(encoding="utf-8"))
    except OSError:
        return None
    return words[0] if words else None
