"""How files get to containers and back: the daemon sees this machine's files, or they are copied."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from prepare_models_entrypoint.contract import downloads
from prepare_models_entrypoint.contract.files import sha256_file
from prepare_models_entrypoint.contract.job import JobKind
from prepare_models_entrypoint.contract.report import ErrorInfo, ModelReport

from ..running.publishing import publish
from ..store.local import FILES, PLAN

if TYPE_CHECKING:
    from .work import Step, Work

INSIDE = "/run/prepare-models"
_MADE = "made"  # in a step's folder: what came from the model's directory in the container


class Files(Protocol):
    """What depends on whether files are shared or copied."""

    def downloads(self, work: Work) -> list[Path]:
        """Return the paths of the download store that a container sees."""

    def back(self, step: Step) -> Mapping[str, Path]:
        """Return which directories of the container are copied back, and where to."""

    def deliver(self, step: Step, report: ModelReport) -> ErrorInfo | None:
        """Move what was built to its place; return the error, if any."""


class SharedFiles:
    """Paths of this machine are bound into the container."""

    def downloads(self, work: Work) -> list[Path]:
        """Return the whole store."""
        return [work.cache / "downloads"]

    def back(self, step: Step) -> Mapping[str, Path]:
        """Return nothing: the files are already here."""
        del step
        return {}

    def deliver(self, step: Step, report: ModelReport) -> ErrorInfo | None:
        """Do nothing: the entrypoint has put everything in place."""
        del step, report
        return None


class CopiedFiles:
    """Files that a container needs are sent to it; its results come back and are published on this machine."""

    def downloads(self, work: Work) -> list[Path]:
        """Return only this model's files."""
        spec = work.spec
        digests = filter(None, (spec.sha256, spec.calibration_sha256, *spec.pins.sha256.values()))
        blobs = [downloads.blob(work.cache / "downloads", digest) for digest in digests]
        return [blob for blob in dict.fromkeys(blobs) if blob.is_file()]

    def back(self, step: Step) -> Mapping[str, Path]:
        """Return report, logs and engine. No timing caches: those of concurrent builds can't be merged."""
        work = step.work
        made = {JobKind.RUN: step.folder / _MADE, JobKind.REWRITE: work.output_dir}
        written = {str(work.output_dir): made[step.kind]} if step.kind.writes else {}
        return {f"{INSIDE}/out": step.out, str(work.cache / "logs"): work.cache / "logs", **written}

    def deliver(self, step: Step, report: ModelReport) -> ErrorInfo | None:
        """Publish what came back."""
        made = step.folder / _MADE
        files = {file.name: file for file in made.rglob("*") if file.is_file() and file.name in FILES}
        plan, engine = files.get(PLAN), report["engine"]
        if plan is None or engine is None or sha256_file(plan) != engine["sha256"]:
            return ErrorInfo(
                code="docker-lost", stage="inspect", message="the engine file changed on its way from the container",
                hint="run again", retryable=True,
            )  # fmt: skip
        return publish(files, report, step.work.output_dir)
