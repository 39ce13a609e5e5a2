"""The manifest of a single model given without one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field
from pathlib import Path

from prepare_models_entrypoint.contract.files import write_atomic
from prepare_models_entrypoint.contract.precision import AUTO
from prepare_models_entrypoint.contract.source import Source, split_pin
from prepare_models_entrypoint.contract.values import Value

from ..errors import ManifestError, Problem, UsageError
from ..support.os_errors import unwritable
from . import draft
from .draft import Draft
from .load import NO_FILE, of_text
from .model import Manifest

_SAMPLED = ("int8", "fp8", AUTO)  # precisions with scales from samples
_ITS_MODEL = "models[0]"

ShapeText = str | Sequence[int]


class SingleModel(Value):
    """A model and how it is converted; None or empty values get the manifest's defaults.

    source: path, URL or ``catalog:NAME``, with ``#sha256=`` if pinned.
    shapes: by input, one shape such as ``1x3x640x640``, or ``min``, ``opt`` and ``max`` for a dynamic one.
    images: directory of samples.
    """

    source: str
    name: str | None = None
    precision: str | None = None
    shapes: Mapping[str, ShapeText | Mapping[str, ShapeText]] = field(default_factory=dict)
    images: Path | None = None
    key_file: Path | None = None
    key_env: str | None = None

    def draft(self, base: Path) -> Draft:
        """Return a draft of the model for a manifest in the directory ``base``.

        Raises:
            UsageError: its source needs a digest, or there are no samples.
        """
        source, sha256 = split_pin(self.source)
        entry = draft.entry_of(self.source, base, name=self.name)
        if Source.of(source).scheme == "http" and sha256 is None:
            hint = f"pin it: {source}#sha256=DIGEST, with the digest that its publisher names"
            raise UsageError("an http:// source needs its sha256, as anyone in between may change its bytes", hint=hint)
        if self.key_env:
            entry["key"] = {"env": self.key_env}
        elif self.key_file:
            entry["key"] = {"file": draft.path_in(self.key_file, base)}
        if self.precision:
            entry["precision"] = self.precision
        if self.shapes:
            entry["inputs"] = {name: _plain(shape) for name, shape in self.shapes.items()}
        if self.images:
            if not self.images.expanduser().is_dir():
                raise UsageError(
                    f"{self.images} is not a directory", hint="give one with typical samples: --images DIR"
                )
            use = "calibration" if self.precision in _SAMPLED else "verify"
            entry[use] = {"images": draft.path_in(self.images, base)}
        return Draft(entry)


def load(drafted: Draft, target: Path | None) -> Manifest:
    """Return a manifest with this model. ``target``: file to which it is written, if any.

    Raises:
        UsageError: a value is invalid.
    """
    try:
        return of_text(draft.manifest([drafted]), target or NO_FILE)
    except ManifestError as error:  # its line numbers are of a manifest that the user didn't write
        raise UsageError("\n".join(map(_told_of, error.problems))) from None


def keep(drafted: Draft, target: Path) -> None:
    """Write a manifest with this model.

    Raises:
        UsageError: another one already exists.
        HostError: it can't be written.
    """
    content = draft.manifest([drafted]).encode("utf-8")
    try:
        if target.exists() and target.read_bytes() != content:
            raise UsageError(f"{target} exists with other content", hint="choose another with --write-manifest")
        write_atomic(target, content)
    except OSError as error:
        raise unwritable(target, error, "choose another with --write-manifest") from None


def _plain(shape: ShapeText | Mapping[str, ShapeText]) -> object:
    if isinstance(shape, Mapping):
        return {end: _plain(each) for end, each in shape.items()}
    return shape if isinstance(shape, str) else "x".join(map(str, shape))


def _told_of(problem: Problem) -> str:
    setting = problem.path.removeprefix(f"{_ITS_MODEL}.")
    return problem.message if setting in (_ITS_MODEL, "source") else f"{setting}: {problem.message}"
