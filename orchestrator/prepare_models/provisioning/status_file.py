"""The status of a provisioning in progress: kept on the disk, so that it exists however the process ends."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from prepare_models_entrypoint.contract.files import sha256_file, write_own
from prepare_models_entrypoint.contract.report import ErrorInfo, ModelReport

from .. import __version__
from ..errors import PrepareModelsError, UsageError
from ..manifest.model import Manifest
from ..reports.documents import timestamp
from ..running.progress import Observer
from ..support.os_errors import writing
from . import status_document as status
from .releases import Releases
from .status_document import ProvisionedModel, ProvisionStatus, load

_NEXT = {
    status.NOTHING: "nothing, unless the manifest or the machine changes",
    status.TRY_AGAIN: "try again",
    status.HOLD: "nothing, until the manifest changes or --force is given",
}


class StatusFile:
    """Writes the status at each phase, and notifies the observer. ``manifest``: path of the manifest or bundle."""

    def __init__(self, models_dir: Path, device: str, manifest: str, observer: Observer) -> None:
        self._models_dir, self._observer, self._started = models_dir, observer, time.time()
        self.document = ProvisionStatus(
            schema_version=status.SCHEMA_VERSION, tool={"name": "prepare-models", "version": __version__},
            device=device, manifest=manifest, manifest_sha256=None, models_dir=str(models_dir),
            started_at=timestamp(self._started), finished_at=None, seconds=None, outcome=status.RUNNING, error=None,
            models=[],
        )  # fmt: skip
        self._earlier: dict[str, ProvisionedModel] = {}
        with contextlib.suppress(UsageError):
            self._earlier = {model["name"]: model for model in load(models_dir)["models"]}
        self._list(_model(name) for name in self._earlier)

    def begin(self, manifest: Manifest, names: Sequence[str]) -> None:
        """Record what will be provisioned; the manifest's other models keep their previous status."""
        if manifest.path.is_file():
            self.document["manifest_sha256"] = sha256_file(manifest.path)
        known = [spec.name for spec in manifest.models if spec.name in names or spec.name in self._earlier]
        self._list(_model(name) if name in names else self._earlier[name] for name in known)

    def _list(self, models: Iterable[ProvisionedModel]) -> None:
        self.document["models"] = list(models)
        for model in self.document["models"]:
            _look(self._models_dir, model)

    def phase(self, names: Sequence[str], phase: str) -> None:
        """Record that models enter a phase."""
        for name in names:
            model = self._of(name)
            model.update({"phase": phase, "state": status.STALE if model["version"] else status.WAITING})
            self._observer.phase(name, phase)
        _write(self._models_dir, self.document)

    def is_settled(self, name: str) -> bool:
        """Return whether a model's result is known."""
        return self._of(name)["error"] is not None

    def settle(self, name: str, state: str, reason: str, error: ErrorInfo | None = None) -> None:
        """Record that a model is done. ``error``: why a new version of it was rejected, now or earlier."""
        model = self._of(name)
        model.update({"state": state, "reason": reason, "phase": None, "error": error or model["error"]})
        _expect(model, status.HOLD if error else status.NOTHING)
        _look(self._models_dir, model)

    def fail(self, name: str, error: ErrorInfo, *, log: str | None = None) -> None:
        """Record that a model failed in its current phase; it keeps serving its current version."""
        model = self._of(name)
        model.update({"state": status.FAILED, "error": error, "log": log})
        _expect(model, status.TRY_AGAIN)

    def ran(self, report: ModelReport) -> None:
        """Record what the run of a model warned of, and why it has no engine."""
        self._of(report["name"])["warnings"] = report["warnings"]
        if report["engine"] is None and report["error"] is not None:
            self.fail(report["name"], report["error"], log=report["log"])

    def stop(self, error: PrepareModelsError) -> None:
        """Record what stopped everything, and write it."""
        self.document["error"] = error.info()
        self.end(status.STOPPED)

    def end(self, outcome: str | None = None) -> None:
        """Write the final status. ``outcome``: None derives it from the models."""
        for model in self.document["models"]:
            _look(self._models_dir, model)
        good = all(model["error"] is None for model in self.document["models"])
        self.document["outcome"] = outcome or (status.GOOD if good else status.SOME_FAILED)
        self.document["finished_at"], self.document["seconds"] = timestamp(), round(time.time() - self._started, 3)
        _write(self._models_dir, self.document)

    def _of(self, name: str) -> ProvisionedModel:
        return next(model for model in self.document["models"] if model["name"] == name)


def note_rollback(models_dir: Path, name: str, why: str, *, held: bool) -> None:
    """Say in the status of the last provisioning, if there is one, that a model was switched by hand since.

    ``held``: whether the next provisioning leaves it so.
    """
    state, following = (status.ROLLED_BACK, status.HOLD) if held else (status.SWITCHED, status.TRY_AGAIN)
    try:
        document = load(models_dir)
    except UsageError:
        return
    for model in document["models"]:
        if model["name"] == name:
            model.update({"state": state, "reason": why, "error": None})
            _expect(model, following)
            _look(models_dir, model)
    _write(models_dir, document)


def _look(models_dir: Path, model: ProvisionedModel) -> None:
    """Find out what a model serves."""
    releases = Releases(models_dir / model["name"])
    current = releases.current
    record = releases.record(current) if current is not None else None
    model["version"], model["previous_version"] = current, releases.previous
    model["engine_sha256"] = releases.engine_sha256(current)
    model["build_key"] = record["build_key"] if record is not None else None


def _write(models_dir: Path, document: ProvisionStatus) -> None:
    file = models_dir / status.STATUS_FILE
    with writing(file, "give write access to its directory"):
        write_own(file, (json.dumps(document, indent=2) + "\n").encode("utf-8"))


def _model(name: str) -> ProvisionedModel:
    following = status.TRY_AGAIN
    return ProvisionedModel(
        name=name, state=status.WAITING, phase=None, reason="", version=None, engine_sha256=None, build_key=None,
        previous_version=None, error=None, warnings=[], log=None, next=following, next_told=_NEXT[following],
    )  # fmt: skip


def _expect(model: ProvisionedModel, following: str) -> None:
    """Record what the next provisioning does with a model."""
    model["next"], model["next_told"] = following, _NEXT[following]
