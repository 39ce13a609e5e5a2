"""A double of a backend, for how runs are put together; what executors do is tested with the real ones."""

from __future__ import annotations

from prepare_models.executors.local import LocalPython
from prepare_models.executors.work import Work
from prepare_models_entrypoint.contract.environment import RuntimeInfo
from prepare_models_entrypoint.contract.report import FAILED, ErrorInfo, ModelReport, WarningInfo

from ..unit.records import RUNTIME, digest, report_of


class ReportingExecutor(LocalPython):
    """Stands in for a backend: answers with the reports that the contract allows, and builds nothing."""

    def describe(self) -> RuntimeInfo:
        return RUNTIME

    def run(self, work: Work) -> ModelReport:
        spec = work.spec
        if spec.key is not None:
            spec.key.read()
        report = report_of(spec, work.output_dir, {"model": digest(b"model")}, RUNTIME)
        if spec.name == "fresh":
            report["warnings"] = [WarningInfo(code="rtx-engine", message="m", hint="h")]
            return report
        report["status"], report["engine"] = FAILED, None
        report["stages"][0]["status"] = "failed"
        report["error"] = ErrorInfo(code="build-failed", stage="convert", message="m", hint="h", retryable=False)
        return report
