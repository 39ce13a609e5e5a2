"""What a converter is, a module ``by_NAME`` of this package; what it is asked to do, and what it reports."""

from __future__ import annotations

import importlib
import os
from dataclasses import field
from pathlib import Path
from typing import Callable, Dict, List, Optional, Protocol, TypedDict, cast

from ..contract import schema
from ..contract.builder import BuilderConfig
from ..contract.environment import BackendInfo
from ..contract.job import ModelJob
from ..contract.report import Binding, Confinement, EngineDetails, ErrorInfo, PrecisionProof, ProfileShapes, WarningInfo
from ..contract.values import Value

# Phases that a build process reports: it has found nothing to refuse before parsing; the verdict is there; the whole
# plan is written, so whoever publishes it can flush it to the disk.
PARSE, JUDGED, SYNC = "parse", "judged", "sync"
Progress = Callable[[str, int, int], None]


class BuildRequest(Value):
    """One engine to build.

    source: the model file, plain ONNX except for a converter of encrypted ones. plan: the unfinished engine file.
    converter: its name. program: path of the converter, None for the Python API. cache_file: the calibration cache.
    timing_dir: where timing caches and the locks of GPUs are kept. expected_s: seconds that an earlier build took.
    capability: the GPU's, such as 8.7; None without one.
    key_fd: descriptor from which the key of an .etlt is read. check_only: check the model without building.
    graph: file that receives the backend's ONNX graph, with all changes.
    verdict: file that receives what another process says about the model meanwhile; None: the build process judges it.
    parent: process id of the entrypoint, with which the build process ends.
    """

    model: ModelJob
    source: Path
    plan: Path
    work_dir: Path
    result: Path
    converter: str = "api"
    program: Optional[str] = None
    cache_file: Optional[Path] = None
    timing_dir: Optional[Path] = None
    expected_s: Optional[float] = None
    capability: Optional[str] = None
    key_fd: Optional[int] = None
    check_only: bool = False
    graph: Optional[Path] = None
    verdict: Optional[Path] = None
    parent: int = field(default_factory=os.getpid)


class Verdict(TypedDict):
    """What a process says about a model: what is wrong with it, or None."""

    error: Optional[ErrorInfo]


class Preflight(TypedDict):
    """What a check found in a model. Sizes are in bytes; None if unknown.

    layer_types: number of layers by type. memory_bytes: estimate for the build. plugins: library files.
    rehearsed: whether the builder was asked for its objections.
    """

    layers: int
    layer_types: Dict[str, int]
    memory_bytes: int
    memory_available_bytes: Optional[int]
    disk_bytes: int
    disk_free_bytes: int
    plugins: List[str]
    rehearsed: bool


class BuildResult(TypedDict):
    """What the child found and did. ``error`` excludes everything else; ``engine_*`` describe the plan file.

    rewritten: whether the backend got a different graph from the source's.
    command: the converter's argument vector without secrets; None for the Python API.
    preflight: what a check found. children_rss_bytes: peak memory of programs that the child ran.
    details: the layers of the network. confinement: None until the child has confined itself.
    """

    error: Optional[ErrorInfo]
    backend: Optional[BackendInfo]
    precision_proof: Optional[PrecisionProof]
    builder: Dict[str, object]
    profiles: List[Dict[str, ProfileShapes]]
    io: List[Binding]
    warnings: List[WarningInfo]
    engine_bytes: int
    engine_sha256: str
    rewritten: bool
    command: Optional[List[str]]
    preflight: Optional[Preflight]
    children_rss_bytes: int
    details: Optional[EngineDetails]
    confinement: Optional[Confinement]


def empty_result() -> BuildResult:
    """Return the result of a build that has not begun."""
    return schema.empty(BuildResult)


class Converter(Protocol):
    """One way from a model file to an engine."""

    def convert(self, request: BuildRequest, result: BuildResult, progress: Progress) -> None:
        """Write ``request.plan``, and record in ``result`` what was found and done; for a check, build nothing.

        ``progress``: called with phase, steps done and number of steps (0 of 0: unknown).

        Raises:
            ConvertError: the engine can't be built as asked.
        """

    def takes(self, builder: BuilderConfig) -> bool:
        """Return whether this converter has an option for each setting."""

    def line(self, model: ModelJob, result: BuildResult) -> Optional[str]:
        """Return the command line that builds the same engine without this tool, or None if there is none."""


def load_converter(name: str) -> Converter:
    """Return the converter with this name, such as tao-converter."""
    return cast("Converter", importlib.import_module(f"{__package__}.by_{name.replace('-', '_')}"))
