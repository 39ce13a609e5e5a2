"""What can build engines in this interpreter, found without importing it, and the GPU if there is one."""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path
from typing import Any, List, Optional, Tuple

from . import backends, converters, packages
from .environment import GpuInfo, RuntimeInfo, board_of
from .files import sha256_file

BOARD_VARIABLE = "PREPARE_MODELS_BOARD"  # in containers, which don't see the device tree

_DRIVER_FILE = Path("/proc/driver/nvidia/version")
_DEVICE_TREE = Path("/proc/device-tree/compatible")


def probe(*, gpu: bool = True) -> RuntimeInfo:
    """Describe this process. ``gpu=False`` does not touch the CUDA driver."""
    device, reason = _probe_in_a_copy() if gpu else (None, "not probed")
    backend, programs = backends.installed_backend(), converters.find().programs
    return RuntimeInfo(
        python=sys.version.split()[0],
        machine=os.uname().machine,
        backend=backend,
        gpu=device,
        gpu_reason=reason,
        system=sys.platform,
        board=os.environ.get(BOARD_VARIABLE) or _board(),
        # NVIDIA's programs have no option that prints their version.
        programs={name: sha256_file(path)[:16] for name, path in programs.items() if os.path.isfile(path)},
        library=backends.library_version(),
        etlt_codec=converters.has_codec(),
        packages=packages.installed(),
        others=[each for each in backends.installed() if each != backend],
    )


def _board() -> Optional[str]:
    try:
        return board_of(_DEVICE_TREE.read_text(encoding="utf-8", errors="replace"))
    except OSError:
        return None


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
        data = answer.read()
    os.waitpid(child, 0)
    if not data:
        return None, "the NVIDIA driver crashed when it was asked for its devices"
    device, reason = json.loads(data)
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
