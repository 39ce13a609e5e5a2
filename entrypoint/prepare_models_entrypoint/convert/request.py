"""What the entrypoint and its build process say to each other: one JSON file each way."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, TypedDict

from ..contract import BuilderConfig, ShapeRange
from ..contract.files import write_atomic
from ..contract.report import BackendInfo, Binding, ErrorInfo, Precision, ProfileShapes, WarningInfo


@dataclass(frozen=True)
class BuildRequest:
    """One engine to build. ``onnx`` is the plain model file, ``plan`` the unfinished file that receives the engine.

    ``parent`` is the process id of the entrypoint, with which the build process ends.
    """

    onnx: str
    plan: str
    work_dir: str
    result: str
    precision: str
    inputs: Mapping[str, ShapeRange]
    outputs: List[str]
    builder: BuilderConfig
    parent: int = field(default_factory=os.getpid)

    def write(self, path: Path) -> None:
        """Write the request for the child to read."""
        raw = dict(self.__dict__)
        raw["inputs"] = {name: shapes.to_dict() for name, shapes in self.inputs.items()}
        raw["builder"] = self.builder.to_dict()
        write_atomic(path, json.dumps(raw).encode("utf-8"), mode=0o600)

    @classmethod
    def read(cls, path: str) -> BuildRequest:
        """Read what ``write`` wrote."""
        raw: Dict[str, Any] = json.loads(Path(path).read_text(encoding="utf-8"))
        raw["inputs"] = {name: ShapeRange.from_dict(shapes) for name, shapes in raw["inputs"].items()}
        raw["builder"] = BuilderConfig.from_dict(raw["builder"])
        return cls(**raw)


class BuildResult(TypedDict):
    """What the child found and did. ``error`` excludes everything else; ``engine_*`` describe the plan file."""

    error: Optional[ErrorInfo]
    backend: Optional[BackendInfo]
    precision: Optional[Precision]
    builder: Dict[str, Any]
    profiles: List[Dict[str, ProfileShapes]]
    io: List[Binding]
    warnings: List[WarningInfo]
    engine_bytes: int
    engine_sha256: str


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
    )
