"""What the entrypoint and its build process say to each other: one JSON file each way."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Dict, List, Optional, TypedDict

from ..contract import ModelJob
from ..contract.files import write_atomic
from ..contract.report import BackendInfo, Binding, ErrorInfo, Precision, ProfileShapes, WarningInfo


@dataclass(frozen=True)
class BuildRequest:
    """One engine to build.

    source: the model file, plain ONNX except for tao-converter. plan: the unfinished file that receives the engine.
    program: path of trtexec or tao-converter, None for the Python API. cache_file: the calibration cache.
    timing_dir: where timing caches are kept. has_gpu: whether a CUDA device is present.
    key_fd: descriptor from which the key of an .etlt is read. check_only: judge the model, build nothing.
    parent: process id of the entrypoint, with which the build process ends.
    """

    model: ModelJob
    source: str
    plan: str
    work_dir: str
    result: str
    program: Optional[str] = None
    cache_file: Optional[str] = None
    timing_dir: Optional[str] = None
    has_gpu: bool = False
    key_fd: Optional[int] = None
    check_only: bool = False
    parent: int = field(default_factory=os.getpid)

    def write(self, path: Path) -> None:
        """Write the request for the child to read."""
        raw = {**self.__dict__, "model": self.model.to_dict()}
        write_atomic(path, json.dumps(raw).encode("utf-8"), mode=0o600)

    @classmethod
    def read(cls, path: str) -> BuildRequest:
        """Read what ``write`` wrote."""
        raw: Dict[str, Any] = json.loads(Path(path).read_text(encoding="utf-8"))
        raw["model"] = ModelJob.from_dict(raw["model"])
        return cls(**raw)


class BuildResult(TypedDict):
    """What the child found and did. ``error`` excludes everything else; ``engine_*`` describe the plan file.

    command: the converter's argument vector without secrets, None for the Python API.
    preflight: what a check found. children_rss_bytes: peak memory of programs that the child ran.
    """

    error: Optional[ErrorInfo]
    backend: Optional[BackendInfo]
    precision: Optional[Precision]
    builder: Dict[str, Any]
    profiles: List[Dict[str, ProfileShapes]]
    io: List[Binding]
    warnings: List[WarningInfo]
    engine_bytes: int
    engine_sha256: str
    command: Optional[List[str]]
    preflight: Optional[Dict[str, Any]]
    children_rss_bytes: int


def empty_result() -> BuildResult:
    """Return a result in which nothing happened yet."""
    return BuildResult(
        error=None,
        backend=None,
        precision=None,
        builder={},
        profiles=[],
        io=[],
        warnings=[],
        engine_bytes=0,
        engine_sha256="",
        command=None,
        preflight=None,
        children_rss_bytes=0,
    )
