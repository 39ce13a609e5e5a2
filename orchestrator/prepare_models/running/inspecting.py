"""What the entrypoint reports about model files and models directories, as documents and as values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import field
from pathlib import Path
from typing import Any

from prepare_models_entrypoint.contract.report import WarningInfo
from prepare_models_entrypoint.contract.values import Value

from ..errors import InspectionError
from . import child

Document = Mapping[str, Any]  # described in docs/inspect.md and docs/lint.md


class Tensor(Value):
    """An input or output of a file.

    shape: sizes, names of dynamic axes, and None for an axis without either; in an engine -1 is a dynamic axis.
    None if the rank is unknown.
    """

    name: str
    dtype: str
    shape: tuple[int | str | None, ...] | None


class Inspection(Value):
    """What a file is.

    format: onnx, etlt, plan or models-dir. bytes: its size. inputs, outputs: empty if unknown.
    models: engines of a models directory. warnings: problems with a file that could be read.
    document: everything, as ``inspect --json`` prints it.
    """

    file: str
    format: str
    bytes: int
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    warnings: tuple[WarningInfo, ...]
    models: tuple[Inspection, ...] = ()
    document: Document = field(default_factory=dict, repr=False)


class LintedModel(Value):
    """One model: the consumers by whose rules it was checked, findings, and notes, which don't count as findings."""

    name: str
    consumers: tuple[str, ...]
    warnings: tuple[WarningInfo, ...]
    notes: tuple[WarningInfo, ...]


class LintReport(Value):
    """What consumers will object to. ``document``: everything, as ``lint --json`` prints it."""

    models: tuple[LintedModel, ...]
    document: Document = field(default_factory=dict, repr=False)

    @property
    def ok(self) -> bool:
        """Return whether there are no findings."""
        return not any(model.warnings for model in self.models)


def inspect(
    files: Sequence[Path], *, layers: bool = False, weights: bool = False, key_file: Path | None = None
) -> list[Document]:
    """Return a document for each file or models directory, in order; that of an unreadable file has an ``error``.

    ``layers``, ``weights``: also list layers, or the weights of an ONNX model. ``key_file``: holds the key of an .etlt.
    """
    flags = [flag for flag, wanted in (("--layers", layers), ("--weights", weights)) if wanted]
    key = ("--key-file", str(key_file)) if key_file else ()
    documents: list[Document] = child.ask("inspect", *flags, *key, "--", *map(str, files))["files"]
    return documents


def inspection(document: Document) -> Inspection:
    """Return a document as a value.

    Raises:
        InspectionError: the file could not be read; ``code`` says why.
    """
    raise_error(document)
    return Inspection(
        document["file"],
        document["format"],
        document["bytes"],
        tuple(_tensors(document, "input")),
        tuple(_tensors(document, "output")),
        tuple(document["warnings"]),
        tuple(map(inspection, document.get("models", ()))),
        document,
    )


def lint(models_dir: Path, consumers: Iterable[str] = ()) -> Document:
    """Return what consumers will object to in a Triton model repository: ``models``, or the ``error``.

    ``consumers``: those whose rules apply, such as isaac-ros@5.0; empty: those in the models' records.
    """
    words = [word for consumer in consumers for word in ("--consumer", consumer)]
    return child.ask("lint", *words, "--", str(models_dir))


def lint_report(document: Document) -> LintReport:
    """Return a document as a value.

    Raises:
        InspectionError: there was nothing to lint; ``code`` says why.
    """
    raise_error(document)
    models = (
        LintedModel(each["name"], tuple(each["consumers"]), tuple(each["warnings"]), tuple(each["notes"]))
        for each in document["models"]
    )
    return LintReport(tuple(models), document)


def raise_error(document: Document) -> None:
    """Raise the error of a document, if it has one."""
    if document["error"] is not None:
        raise InspectionError(document["error"])


def _tensors(document: Document, mode: str) -> Iterable[Tensor]:
    for binding in document.get("io") or ():
        if binding["mode"] == mode:
            dims = binding["dims"] if binding.get("dims") is not None else binding["shape"]
            yield Tensor(binding["name"], binding["dtype"], None if dims is None else tuple(dims))
