"""Models directories as a run leaves them, with networks of different inputs, for the rules of consumers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from prepare_models_entrypoint.contract.report import Binding
from prepare_models_entrypoint.publish import of_consumers
from tests.entrypoint.model_folders import Repository, record, tensor

IMAGE = [tensor("x:0", "input", (1, 3, 8, 8)), tensor("y", "output", (1, 8, 8, 1), "int32")]
BATCH = [
    tensor("x", "input", (-1, 3, 8, 8), "float32", ((1, 3, 8, 8), (8, 3, 8, 8))),
    tensor("y", "output", (-1, 5)),
    tensor("z", "output", (-1, 2)),
]
NHWC = [tensor("x", "input", (1, 8, 16, 3)), tensor("y", "output", (1, 5))]
SIZES = [
    tensor("x", "input", (-1, 3, -1, -1), "float32", ((1, 3, 8, 8), (4, 3, 16, 32))),
    tensor("y", "output", (-1, 5)),
]


class Left(Repository):
    """A models directory as a run leaves it."""

    def run(self, io: Sequence[Binding] = IMAGE, name: str = "seg", **changes: Any) -> Path:
        folder = self.model(io, name=name, **changes)
        report = record(io, b"", name, **changes)
        for file, text in of_consumers(report, str(folder)).items():
            if text is not None:
                (folder / file).write_text(text, encoding="utf-8")
        return folder


def edit(file: Path, old: str, new: str) -> None:
    text = file.read_text(encoding="utf-8")
    assert old in text
    file.write_text(text.replace(old, new), encoding="utf-8")
