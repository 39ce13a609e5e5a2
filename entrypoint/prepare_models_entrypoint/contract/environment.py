"""What builds, and where: the part of the report that describes the process with TensorRT.

What a field means is said in ``reports/fields.json`` of the orchestrator.
"""

from __future__ import annotations

import re
from typing import Dict, List, Optional, TypedDict

_MODULE = r"p\d{4}-\d{4}"


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


def board_of(compatible: str) -> Optional[str]:
    """Return a Jetson's module, such as p3767-0000, from the words of its device tree's ``compatible``, or None."""
    if "nvidia,tegra" not in compatible:
        return None
    modules = re.findall(_MODULE, compatible.partition("\0")[0])
    return modules[-1] if modules else compatible.partition("\0")[0]
