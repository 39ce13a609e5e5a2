"""A double of an executor, for how runs are put together; what executors do is tested with the real ones."""

from __future__ import annotations

from pathlib import Path

from prepare_models.executors import Fetcher, Task
from prepare_models.manifest import ModelSpec
from prepare_models.running.connection import NetworkSpec
from prepare_models_entrypoint.contract.fetch import FetchJob
from prepare_models_entrypoint.contract.report import FAILED, ErrorInfo, ModelReport, RuntimeInfo, WarningInfo

from ..unit.records import RUNTIME, digest, report_of


class ReportingExecutor:
    """Stands in for a backend: answers with the reports that the contract allows, and builds nothing."""

    name = "local"

    def unavailable(self) -> str | None:
        return None

    def fix(self) -> str:
        raise NotImplementedError

    def describe(self) -> RuntimeInfo:
        return RUNTIME

    def locked_as(self) -> tuple[str, dict[str, str]]:
        raise NotImplementedError

    def run(self, task: Task) -> ModelReport:
        spec = task.planned.spec
        if spec.key is not None:
            spec.key.read()
        report = report_of(spec, task.planned.output_dir, {"model": digest(b"model")}, RUNTIME)
        if spec.name == "fresh":
            report["warnings"] = [WarningInfo(code="rtx-engine", message="m", hint="h")]
            return report
        report["status"], report["engine"] = FAILED, None
        report["stages"][0]["status"] = "failed"
        report["error"] = ErrorInfo(code="build-failed", stage="convert", message="m", hint="h", retryable=False)
        return report

    def check(self, spec: ModelSpec, folder: Path) -> ModelReport:
        raise NotImplementedError

    def verify(self, spec: ModelSpec, output_dir: Path, folder: Path) -> ModelReport:
        raise NotImplementedError

    def fetcher(self, job: FetchJob, network: NetworkSpec) -> Fetcher:
        raise NotImplementedError

    def stop(self) -> None:
        raise NotImplementedError
