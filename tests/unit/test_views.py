"""What people read on a terminal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from prepare_models.manifest import ModelSpec
from prepare_models.views import text
from prepare_models_entrypoint.contract.report import FAILED, ErrorInfo, ModelReport, blank

from .records import RUNTIME, digest, report_of


def failed_report() -> ModelReport:
    report = blank("gaze", "/nets/gaze.onnx", precision="fp32", converter="auto")
    report["status"] = FAILED
    report["error"] = ErrorInfo(
        code="outputs-mismatch", stage="convert", message="found y", hint="write y", retryable=False
    )
    report["log"] = "/cache/logs/1-gaze.log"
    return report


def run_report(*models: ModelReport) -> dict[str, Any]:
    counts = {status: sum(m["status"] == status for m in models) for status in ("built", "up-to-date", "failed")}
    return {"models": models, "summary": counts, "seconds": 12.345, "models_dir": "/models"}


def test_the_summary_of_a_run() -> None:
    spec = ModelSpec(name="seg", source="/nets/seg.onnx", line=1)
    built = report_of(spec, Path("/models/seg"), {"model": digest(b"")}, RUNTIME)
    assert text.summary(run_report(built, failed_report())).splitlines() == [
        "MODEL  STATUS  PRECISION  INPUTS  OUTPUTS  SIZE    SECONDS",
        "seg    built   fp32       x 1x3   y 1x2    0.0 MB  1.2",
        "gaze   failed  -          -       -        -       -",
        "",
        "1 built, 1 failed in 12.3 s",
        "",
        "gaze: convert failed [outputs-mismatch]: found y",
        "  -> write y",
        "  build log: /cache/logs/1-gaze.log",
        "",
        "engine  /models/seg/1/model.plan",
        "report  /models/report.json",
    ]


def test_a_failure_before_any_stage_names_the_run() -> None:
    report = failed_report()
    report["log"] = None
    report["error"] = ErrorInfo(code="etlt-key-missing", stage=None, message="no key", hint="", retryable=False)
    assert "gaze: run failed [etlt-key-missing]: no key\n\nreport" in text.summary(run_report(report))


def test_the_plan() -> None:
    rows = [("seg", "rebuild because: precision fp32 -> fp16", "api (x)"), ("peoplenet", "up-to-date", "api (x)")]
    assert text.plan(rows).splitlines() == [
        "MODEL      STATE                                    CONVERTER",
        "seg        rebuild because: precision fp32 -> fp16  api (x)",
        "peoplenet  up-to-date                               api (x)",
    ]


@pytest.mark.parametrize(("dims", "told"), [([1, 3, -1], "1x3x-1"), ([5], "5"), ([], "()")])
def test_shapes(dims: list[int], told: str) -> None:
    assert text.shape(dims) == told


def test_an_inspected_network() -> None:
    document = {
        "file": "seg.onnx",
        "format": "onnx",
        "bytes": 12,
        "ir_version": 8,
        "opsets": {"ai.onnx": 17},
        "producer": "pytorch 2.4",
        "io": [
            {"name": "input_2:0", "mode": "input", "dtype": "float32", "shape": [1, 3, 544, 960]},
            {"name": "argmax_1", "mode": "output", "dtype": "int32", "shape": [1, 544, 960, 1]},
        ],
        "note": None,
    }
    assert text.inspection(document).splitlines() == [
        "seg.onnx: onnx, 12 bytes",
        "ir_version 8, opsets ai.onnx:17, producer pytorch 2.4",
        "",
        "---- 1 input(s) ----",
        "input_2:0 [dtype=float32, shape=1x3x544x960]",
        "",
        "---- 1 output(s) ----",
        "argmax_1 [dtype=int32, shape=1x544x960x1]",
    ]


def test_an_inspected_engine() -> None:
    document = {
        "file": "model.plan",
        "format": "plan",
        "bytes": 64,
        "header": {"format": "tensorrt_rtx", "compute_capabilities": ["8.6", "8.9"]},
        "io": None,
        "profiles": [{"x": {"min": [1], "opt": [2], "max": [4]}}],
        "note": "no GPU: bindings are not known",
    }
    assert text.inspection(document).splitlines() == [
        "model.plan: plan, 64 bytes",
        "header: format tensorrt_rtx, compute_capabilities 8.6 8.9",
        "",
        "---- profile 0 ----",
        "x: min=1, opt=2, max=4",
        "",
        "no GPU: bindings are not known",
    ]
