"""``prepare-models validate``."""

from __future__ import annotations

import argparse
import shlex
import sys
from dataclasses import dataclass, field
from pathlib import Path

from ... import errors
from ...lock import document, pins
from ...manifest.load import load
from ...reports.text import write
from ...support.page import show
from .. import printing
from ..options import add, manifest, share

EXAMPLE = """\
example:
  prepare-models validate models.yaml
  prepare-models validate --require-lock */models.yaml

exit status: 0 all are good, 1 a lock differs or is missing, 2 a manifest has problems
"""


@dataclass
class _Finding:
    """What is wrong with a manifest, and with the lock next to it."""

    manifest: Path
    models: int = 0
    problems: list[errors.Problem] = field(default_factory=list)
    drift: list[str] = field(default_factory=list)
    told: str = ""
    failure: errors.PrepareModelsError | None = None

    @property
    def status(self) -> int:
        return errors.EXIT_USAGE if self.problems else errors.EXIT_MODEL_FAILED if self.drift else errors.EXIT_OK

    def to_dict(self) -> dict[str, object]:
        problems = [problem._asdict() for problem in self.problems]
        return {"manifest": str(self.manifest), "models": self.models, "problems": problems, "drift": self.drift}


def add_arguments(validate: argparse.ArgumentParser) -> None:
    """Add what ``validate`` takes."""
    add(validate, "manifests", "default: ./models.yaml", manifest, nargs="*", default=[Path("models.yaml")])
    add(validate, "--require-lock", "refuse a manifest without a lock")
    share(validate, "--json", "findings")


def main(arguments: argparse.Namespace) -> int:
    """Read manifests and locks, and print what is wrong; needs neither TensorRT nor a network."""
    found = [_examine(file, require_lock=arguments.require_lock) for file in arguments.manifests]
    printing.result(arguments, {"manifests": [each.to_dict() for each in found]})
    for each in found if not arguments.json else ():
        if each.failure is None:
            write(each.told)
        else:
            show(*each.failure.shown(), stream=sys.stderr)
    return max(each.status for each in found)


def _examine(file: Path, *, require_lock: bool) -> _Finding:
    found = _Finding(file)
    try:
        loaded, known = load(file), document.read(document.path_of(file))
        found.models = len(loaded.models)
        count = f"{found.models} model{'s' if found.models > 1 else ''}"
        found.told = f"{file}: {count}, {'as locked' if known else 'no lock'}"
        if known is not None:
            found.drift = pins.drift_of_sources(loaded, known)
        elif require_lock:
            found.drift = [f"{document.path_of(file)} doesn't exist"]
            raise errors.LockError(found.drift, hint=f"write it: prepare-models lock {shlex.quote(str(file))}")
        pins.refuse(found.drift, file)
    except errors.PrepareModelsError as error:
        found.failure = error
        if isinstance(error, errors.HostError):  # a file in the lock doesn't exist here
            found.drift = [error.message]
        elif isinstance(error, errors.ManifestError):
            found.problems = error.problems
        elif not found.drift:
            found.problems = [errors.Problem(1, "", error.message)]
    return found
