"""Model directories as people have them: files, and the record of an engine that is a few bytes."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

from prepare_models_entrypoint.consumers.lint import of_directory
from prepare_models_entrypoint.contract.report import Binding, Engine, ModelReport, ProfileShapes, blank

Range = Tuple[Sequence[int], Sequence[int]]


def tensor(name: str, mode: str, shape: Sequence[int], dtype: str = "float32", *ranges: Range) -> Binding:
    """Return a binding; ``ranges``: smallest and largest shape of each profile."""
    profiles = [ProfileShapes(min=list(low), opt=list(low), max=list(high)) for low, high in ranges]
    return Binding(name=name, mode=mode, dtype=dtype, shape=list(shape), profiles=profiles, source="engine")


def record(io: Sequence[Binding], plan: bytes, name: str = "seg", **changes: Any) -> ModelReport:
    report = blank(name, "seg.onnx", precision="fp32", converter="auto")
    report["io"] = list(io)
    report["engine"] = Engine(
        path="", bytes=len(plan), sha256=hashlib.sha256(plan).hexdigest(),
        header={"format": "tensorrt", "version": "10.13.0"},
    )  # fmt: skip
    report.update(changes)  # type: ignore[typeddict-item]  # keys of a report, by the test that gives them
    return report


class Repository:
    """A models directory below a test's own folder."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def model(
        self,
        io: Sequence[Binding] = (),
        *,
        name: str = "seg",
        files: Optional[Mapping[str, str]] = None,
        plans: Sequence[str] = ("1/model.plan",),
        **changes: Any,
    ) -> Path:
        """Write a model: an engine under each of ``plans``, its record where there are bindings, and other files."""
        folder = self.root / name
        plan = f"plan of {name}".encode()
        for path in plans:
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(plan)
        for path, text in (files or {}).items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(text, encoding="utf-8")
        if io:
            (folder / "report.json").write_text(json.dumps(record(io, plan, name, **changes)), encoding="utf-8")
        return folder

    def lint(self, *consumers: str, name: str = "seg", kind: str = "warnings") -> List[Dict[str, str]]:
        """Return what lint finds in a model."""
        document = of_directory(self.root, consumers)
        assert document["error"] is None
        found: List[Dict[str, str]] = next(model[kind] for model in document["models"] if model["name"] == name)
        return found

    def codes(self, *consumers: str, name: str = "seg", kind: str = "warnings") -> List[str]:
        return sorted({each["code"] for each in self.lint(*consumers, name=name, kind=kind)})
