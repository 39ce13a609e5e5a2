"""What people read on a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from prepare_models.manifest.model import ModelSpec
from prepare_models.reports import inspection, text
from prepare_models.support.page import Part
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


def run_report(*models: ModelReport) -> Any:
    counts = {status: sum(m["status"] == status for m in models) for status in ("built", "up-to-date", "failed")}
    return {"models": models, "summary": counts, "seconds": 12.345, "models_dir": "/models"}


def shown(parts: Sequence[Part]) -> list[str]:
    return "\n".join(map(str, parts)).splitlines()


def test_the_summary_of_a_run() -> None:
    spec = ModelSpec(name="seg", source="/nets/seg.onnx", line=1)
    built = report_of(spec, Path("/models/seg"), {"model": digest(b"")}, RUNTIME)
    assert shown(text.summary(run_report(built, failed_report()))) == [
        "MODEL  STATUS  PRECISION  INPUTS  OUTPUTS  SIZE  SECONDS",
        "seg    built   fp32       x 1x3   y 1x2    10 B  1.2",
        "gaze   failed  -          -       -        -     -",
        "",
        "1 built, 1 failed in 12.3 s",
        "",
        "error [outputs-mismatch] gaze, convert: found y",
        "  -> write y",
        "  build log: /cache/logs/1-gaze.log",
        "",
        "engine  /models/seg/1/model.plan",
        "report  /models/report.json",
    ]


def test_a_failure_before_any_stage_names_the_model_alone() -> None:
    report = failed_report()
    report["log"] = None
    report["error"] = ErrorInfo(code="etlt-key-missing", stage=None, message="no key", hint="", retryable=False)
    assert "error [etlt-key-missing] gaze: no key" in shown(text.summary(run_report(report)))


def test_the_plan() -> None:
    rows = [("seg", "rebuild because: precision fp32 -> fp16", "api", "x"), ("peoplenet", "up-to-date", "api", "x")]
    assert str(text.plan(rows)).splitlines() == [
        "MODEL      STATE                                    CONVERTER",
        "seg        rebuild because: precision fp32 -> fp16  api (x)",
        "peoplenet  up-to-date                               api (x)",
    ]


@pytest.mark.parametrize(("dims", "told"), [([1, 3, -1], "1x3x-1"), ([5], "5"), ([], "()")])
def test_shapes(dims: list[int], told: str) -> None:
    assert text.shape(dims) == told


ONNX: dict[str, Any] = {
    "file": "seg.onnx",
    "format": "onnx",
    "bytes": 12,
    "error": None,
    "name": "seg",
    "ir_version": 8,
    "opsets": {"ai.onnx": 17},
    "producer": "pytorch 2.4",
    "functions": [],
    "training": False,
    "nodes": 2,
    "weights": {"count": 1, "bytes": 16, "files": [], "tensors": [{"name": "w", "dtype": "float32", "shape": [4]}]},
    "layers": [{"name": "a", "type": "Relu", "precision": None, "inputs": ["x"], "outputs": ["y"]}],
    "io": [
        {
            "name": "input_2:0",
            "mode": "input",
            "dtype": "float32",
            "shape": [-1, 3, 5, 9],
            "dims": ["N", 3, 5, 9],
        },
        {"name": "argmax_1", "mode": "output", "dtype": "int32", "shape": [1, 544, 960, 1], "inferred": True},
    ],
    "note": "a note",
    "warnings": [{"code": "c", "message": "m", "hint": "h"}],
}


def test_an_inspected_network() -> None:
    assert inspection.render(ONNX, layers=True, weights=True).splitlines() == [
        "seg.onnx: onnx, 12 bytes",
        "==== ONNX Model ====",
        "  Name: seg | ONNX Opset: ai.onnx 17 | IR Version: 8",
        "  Producer: pytorch 2.4",
        "",
        "  ---- 1 Graph Input(s) ----",
        "  {input_2:0 [dtype=float32, shape=('N', 3, 5, 9)]}",
        "",
        "  ---- 1 Graph Output(s) ----",
        "  {argmax_1 [dtype=int32, shape=(1, 544, 960, 1), inferred]}",
        "",
        "  ---- 1 Initializer(s), 16 bytes ----",
        "  w [dtype=float32, shape=(4,)]",
        "",
        "  ---- 2 Node(s) ----",
        "  0: a [Relu] {x} -> {y}",
        "note: a note",
        "warning [c] seg.onnx: m",
        "  -> h",
    ]
    brief = inspection.render(ONNX, layers=False, weights=False)
    assert "0: a" not in brief
    assert "w [dtype" not in brief


SHAPE = [1, 3, 544, 960]
SEED = """\
  ---- 1 Engine Input(s) ----
  {input_2:0 [dtype=float32, shape=(1, 3, 544, 960)]}

  ---- 1 Engine Output(s) ----
  {argmax_1 [dtype=int32, shape=(1, 544, 960, 1)]}

  ---- Memory ----
  Device Memory: 21269504 bytes

  ---- 1 Profile(s) (2 Tensor(s) Each) ----
  - Profile: 0
      Tensor: input_2:0  (Input), Index: 0 | Shapes: min=(1, 3, 544, 960), opt=(1, 3, 544, 960), max=(1, 3, 544, 960)
      Tensor: argmax_1  (Output), Index: 1 | Shape: (1, 544, 960, 1)

  ---- 73 Layer(s) ----"""


def engine(**changes: Any) -> dict[str, Any]:
    document = {
        "file": "model.plan",
        "format": "plan",
        "bytes": 64,
        "error": None,
        "header": {"format": "tensorrt", "version": "8.5.2.2"},
        "runs_here": None,
        "told": "built by TensorRT 8.5.2.2",
        "io": [
            {"name": "input_2:0", "mode": "input", "dtype": "float32", "shape": SHAPE},
            {"name": "argmax_1", "mode": "output", "dtype": "int32", "shape": [1, 544, 960, 1]},
        ],
        "profiles": [{"input_2:0": {"min": SHAPE, "opt": SHAPE, "max": SHAPE}}],
        "details": {"source": "engine", "name": "", "device_memory_bytes": 21269504, "streamable_weights_bytes": None},
        "layer_count": 73,
        "note": None,
        "warnings": [],
    }
    return {**document, **changes}


def test_an_inspected_engine_reads_as_in_the_documentation_of_isaac_ros() -> None:
    lines = inspection.render(engine(), layers=False, weights=False).splitlines()
    assert lines[:5] == [
        "model.plan: plan, 64 bytes",
        "==== TensorRT Engine ====",
        "  Name: Unnamed Network 0 | Explicit Batch Engine",
        "  Version: 8.5.2.2",
        "  Runs here: not known: built by TensorRT 8.5.2.2",
    ]
    assert "\n".join(lines[6:]) == SEED


def test_an_engine_that_nothing_could_load_says_what_is_not_known() -> None:
    header = {"format": "tensorrt_rtx", "version": "1.7", "compute_capabilities": ["8.6", "8.9"], "weights_bytes": 9}
    unknown = {"io": None, "profiles": None, "details": None, "layer_count": None, "note": "no bindings"}
    assert inspection.render(engine(header=header, **unknown), layers=True, weights=True).splitlines()[3:] == [
        "  Version: 1.7 | compute capabilities 8.6, 8.9",
        "  Runs here: not known: built by TensorRT 8.5.2.2",
        "",
        "  ---- Memory ----",
        "  Device Memory: unknown without a GPU",
        "  Weights in the Plan: 9 bytes",
        "note: no bindings",
    ]


def test_a_models_directory_is_one_text_for_each_model() -> None:
    document = {"file": "models", "format": "models-dir", "models": [ONNX, {**engine(), "error": ONNX["warnings"][0]}]}
    told = inspection.render(document, layers=False, weights=False)
    assert told.startswith("models: 2 models\n\nseg.onnx: onnx")
    assert told.endswith("\n\nmodel.plan: plan, 64 bytes\nerror [c] model.plan: m\n  -> h")
