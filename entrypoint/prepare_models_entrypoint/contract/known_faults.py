"""Versions of TensorRT that are known to give wrong results or to fail: ``known_faults.json``, each with its reference.

NVIDIA lists them, or users reported them and NVIDIA confirmed it (``confirmed``). A row applies to versions ``first``
to ``last``. If it names precisions, compute capabilities, builder options (with their values; none: any) or dynamic
shapes, it applies only to these.
"""

from __future__ import annotations

import json
from dataclasses import field
from functools import lru_cache
from pathlib import Path
from typing import List, Mapping, Optional, Sequence, Tuple

from .environment import RuntimeInfo
from .job import ModelSettings
from .precision import AUTO
from .report import WarningInfo
from .values import Value
from .versions import version_of

CODE = "tensorrt-known-fault"


class Fault(Value):
    """One row of the table."""

    id: str
    first: str
    last: str
    what: str
    hint: str
    confirmed: str
    sources: Sequence[str]
    precisions: Sequence[str] = ()
    capabilities: Sequence[str] = ()
    settings: Mapping[str, Sequence[object]] = field(default_factory=dict)
    dynamic: bool = False

    def of_version(self, version: str) -> bool:
        """Return whether a version has the fault; a shortened 10.16 has it if any 10.16.x does."""
        found = version_of(version)[:3]
        low, high = (version_of(text)[: len(found)] for text in (self.first, self.last))
        return bool(found) and low <= found[: len(low)] and found[: len(high)] <= high

    def of_gpu(self, capabilities: Sequence[str]) -> bool:
        """Return whether one of the GPUs has the fault; unknown GPUs have only the faults of all GPUs."""
        return not self.capabilities or any(each in self.capabilities for each in capabilities)

    @property
    def of_any_model(self) -> bool:
        """Return whether the fault applies whatever the model."""
        return not (self.precisions or self.settings or self.dynamic)

    def of_model(self, model: ModelSettings) -> bool:
        """Return whether a build with these settings is affected."""
        options = model.builder.to_dict()
        given = all(
            (value := options.get(name)) is not None and value is not False and (not values or value in values)
            for name, values in self.settings.items()
        )
        dynamic = bool(model.inputs or model.profiles) or not self.dynamic
        precision = not self.precisions or model.precision in (*self.precisions, AUTO)  # auto may become any of them
        return given and dynamic and precision

    def warning(self, version: str) -> WarningInfo:
        """Return the warning about a version."""
        text = f"TensorRT {version}: {self.what} ({self.confirmed}: {', '.join(self.sources)})"
        return WarningInfo(code=CODE, message=text, hint=self.hint)


@lru_cache(maxsize=None)
def table() -> "Tuple[Fault, ...]":
    """Return every row."""
    rows = json.loads(Path(__file__).with_suffix(".json").read_text(encoding="utf-8"))
    return tuple(Fault(**row) for row in rows)


def of_build(model: ModelSettings, runtime: RuntimeInfo) -> List[WarningInfo]:
    """Return warnings about the known faults that affect a model's build in an environment."""
    backend, gpu = runtime["backend"], runtime["gpu"]
    version = backend["version"] if backend is not None and backend["name"] == "tensorrt" else None
    if backend is None:
        version = runtime.get("library")
    capabilities = [gpu["compute_capability"]] if gpu is not None else []
    return (
        [fault.warning(version) for fault in faults(version, capabilities) if fault.of_model(model)] if version else []
    )


def of_version(version: str, capabilities: Sequence[str]) -> List[WarningInfo]:
    """Return warnings about the known faults of a version on some GPUs, whatever the model."""
    return [fault.warning(version) for fault in faults(version, capabilities) if fault.of_any_model]


def faults(version: Optional[str], capabilities: Sequence[str]) -> List[Fault]:
    """Return the rows that apply to a version on some GPUs."""
    return [fault for fault in table() if version and fault.of_version(version) and fault.of_gpu(capabilities)]
