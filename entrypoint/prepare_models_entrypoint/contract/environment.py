"""What builds, and where: the part of the report that describes the process with TensorRT."""

from __future__ import annotations

from typing import Dict, List, Optional, TypedDict


class BackendInfo(TypedDict):
    """A module that builds or loads engines, such as tensorrt or tensorrt_lean, and its exact version."""

    name: str
    version: str


class GpuInfo(TypedDict):
    """A CUDA device. ``compute_capability`` such as 8.7; ``cuda_version`` is the newest that the driver supports."""

    name: str
    compute_capability: str
    driver: Optional[str]
    cuda_version: str


class _Runtime(TypedDict):
    python: str
    machine: str
    backend: Optional[BackendInfo]
    gpu: Optional[GpuInfo]
    gpu_reason: Optional[str]


class RuntimeInfo(_Runtime, total=False):
    """The process that converts: interpreter, architecture, backend, and its GPU or the reason why it has none.

    system: operating system in lower case. board: module of a Jetson, such as p3767-0000; None elsewhere.
    programs: the first 16 hexadecimal digits of the sha256 of trtexec and tao-converter, if installed.
    library: version of the TensorRT library that programs load; None if not found.
    etlt_codec: whether NVIDIA's codec for .etlt is installed.
    packages: versions of the Python packages that change networks before they reach the builder.
    others: other TensorRT modules, which only load engines here.
    """

    system: str
    board: Optional[str]
    programs: Dict[str, str]
    library: Optional[str]
    etlt_codec: bool
    packages: Dict[str, str]
    others: List[BackendInfo]
