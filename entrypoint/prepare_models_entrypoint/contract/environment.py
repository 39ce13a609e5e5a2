"""What builds, and where: the part of the report that describes the process with TensorRT.

What a field means is said in ``reports/fields.json`` of the orchestrator.
"""

from __future__ import annotations

from typing import Dict, List, Optional, TypedDict


class BackendInfo(TypedDict):
    """A module that builds or loads engines, such as tensorrt or tensorrt_lean, and its exact version."""

    name: str
    version: str


class GpuInfo(TypedDict):
    """A CUDA device."""

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
    """The process that converts: interpreter, architecture, backend, and its GPU or the reason why it has none."""

    system: str
    board: Optional[str]
    programs: Dict[str, str]
    library: Optional[str]
    etlt_codec: bool
    packages: Dict[str, str]
    others: List[BackendInfo]
