"""Real engines on a real GPU: what was asked is what was built, loaded, measured and compared."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper

from prepare_models_entrypoint.contract.environment import RuntimeInfo
from tests import networks, planted
from tests.command import Workplace
from tests.engine import quickstart
from tests.engine.caches import measured

Report = Mapping[str, Any]
SHAPE = (1, 3, 64, 64)
QUICKSTART = {"input_2:0": "1x3x544x960"}


@pytest.fixture(scope="module")
def reports(workshop: Workplace) -> dict[str, Report]:
    """All engines of this module in one run, two at a time on one GPU."""
    folder = workshop.folder
    networks.conv(folder / "conv.onnx", SHAPE, channels=64)
    networks.conv(folder / "dynamic.onnx", ("N", 3, 64, 64), channels=64)
    networks.heavy(folder / "heavy.onnx", layers=4)
    measured(folder / "conv.onnx", folder / "conv.cache")
    plain = {"source": "conv.onnx", "verify": {}}
    wide = {"input": {"min": "1x3x64x64", "opt": "4x3x64x64", "max": "8x3x64x64"}}
    wider = {"input": {"min": "1x3x64x64", "opt": "16x3x64x64", "max": "32x3x64x64"}}
    workshop.write(
        {"name": "fp32", **plain},
        {"name": "fp16", "source": str(quickstart.MODEL), "inputs": QUICKSTART, "precision": "fp16", "verify": {}},
        {"name": "tf32", "source": str(quickstart.MODEL), "inputs": QUICKSTART, "verify": {}},
        {
            "name": "exact",
            "source": str(quickstart.MODEL),
            "inputs": QUICKSTART,
            "builder": {"tf32": False},
            "verify": {},
        },
        {"name": "int8", **plain, "precision": "int8", "calibration_cache": "conv.cache"},
        {"name": "dynamic", "source": "dynamic.onnx", "profiles": [wide, wider], "verify": {}},
        {
            "name": "half",
            **plain,
            "precision": "fp16",
            "allow_fallback": True,
            "builder": {"io_formats": {"input": "fp16:chw"}},
        },
        {"name": "refit", **plain, "builder": {"refit": "all"}},
        {"name": "compatible", **plain, "builder": {"version_compatible": True, "exclude_lean_runtime": True}},
        {"name": "heavy", "source": "heavy.onnx", "verify": {}},
    )
    result = workshop.run("--jobs", "2")
    return {model["name"]: model for model in result.report["models"]}


def delivered(report: Report) -> Report:
    """Return the report of an engine that was loaded, inspected and compared on the GPU."""
    assert report["error"] is None, report["error"]
    assert report["status"] == "built"
    assert all(binding["source"] == "engine" for binding in report["io"])
    assert (report["verification"]["verdict"], report["verification"]["candidate"]) == ("passed", "engine")
    return report


def available(report: Report) -> Report:
    """Return the report of an engine that this backend has; else it was refused for exactly that, before the build."""
    error = report["error"]
    if error is not None and error["code"] in ("builder-option-unavailable", "precision-unavailable"):
        pytest.skip(error["message"])
    return delivered(report)


def test_names_and_shapes_come_from_the_engine(reports: dict[str, Report]) -> None:
    bindings = [(b["name"], b["mode"], b["dtype"], b["shape"]) for b in delivered(reports["fp32"])["io"]]
    assert bindings == [
        ("input", "input", "float32", [1, 3, 64, 64]),
        ("output", "output", "float32", [1, 64, 64, 64]),
    ]


def test_layers_have_names_and_show_the_precision(reports: dict[str, Report]) -> None:
    details = delivered(reports["fp16"])["details"]
    assert details["source"] == "engine"
    assert any("conv" in layer["name"] for layer in details["layers"])
    assert reports["fp16"]["precision_proof"]["delivered"] == "fp16"
    assert reports["fp16"]["precision_proof"]["source"] in ("engine", "graph")


def test_tf32_is_said_and_can_be_avoided(reports: dict[str, Report]) -> None:
    usual, exact = (delivered(reports[name])["verification"] for name in ("tf32", "exact"))
    assert "which multiplies in TF32" in usual["statement"]
    assert "TF32" not in exact["statement"]
    assert exact["outputs"][0]["thresholds"]["argmax"] == 0.999
    assert exact["outputs"][0]["argmax"] > usual["outputs"][0]["argmax"]


def test_int8_is_proven_or_refused(reports: dict[str, Report]) -> None:
    report = reports["int8"]
    if report["error"] is None:
        assert delivered(report)["precision_proof"]["delivered"] == "int8"
    else:
        assert report["error"]["code"] == "precision-not-delivered"
        assert report["engine"] is None


def test_two_profiles_reach_the_server(reports: dict[str, Report], workshop: Workplace) -> None:
    profiles = next(b for b in delivered(reports["dynamic"])["io"] if b["name"] == "input")["profiles"]
    assert [(p["min"][0], p["opt"][0], p["max"][0]) for p in profiles] == [(1, 4, 8), (1, 16, 32)]
    config = (workshop.models_dir / "dynamic" / "config.pbtxt").read_text(encoding="utf-8")
    assert config.count("profile: ") == 2


def test_latency_is_measured(reports: dict[str, Report]) -> None:
    latency = delivered(reports["fp32"])["verification"]["latency"]
    assert 0 < latency["median_ms"] <= latency["p99_ms"]
    assert latency["iterations"] >= 10


def test_bindings_in_fp16_are_fed_and_compared(reports: dict[str, Report]) -> None:
    report = available(reports["half"])
    assert next(b["dtype"] for b in report["io"] if b["name"] == "input") == "float16"


def test_a_version_compatible_engine_loads(reports: dict[str, Report]) -> None:
    available(reports["compatible"])


def test_an_engine_that_can_be_refitted_loads(reports: dict[str, Report]) -> None:
    available(reports["refit"])


def test_timings_of_earlier_builds_are_used(here: RuntimeInfo, workshop: Workplace, reports: dict[str, Report]) -> None:
    assert here["backend"] is not None
    if here["backend"]["name"] == "tensorrt_rtx":
        pytest.skip("TensorRT-RTX chooses kernels when an engine is loaded")
    delivered(reports["heavy"])
    kept = [file for file in workshop.cache_dir.rglob("*") if "timing" in str(file) and file.is_file()]
    assert [file for file in kept if file.stat().st_size > 0]
    again = workshop.run("heavy", "--force").model("heavy")
    assert delivered(again)["engine"]["bytes"] > 0


def test_a_second_run_has_nothing_to_do(workshop: Workplace, reports: dict[str, Report]) -> None:
    good = [name for name, report in reports.items() if report["error"] is None]
    again = workshop.run(*good)
    assert {name: again.model(name)["status"] for name in good} == dict.fromkeys(good, "up-to-date")


@pytest.mark.parametrize("seed", range(len(planted.KINDS)))
def test_values_that_overflow_stay_in_fp32_on_the_gpu(place: Workplace, seed: int) -> None:
    planted.network(place.folder / "net.onnx", seed, overflows=True)
    report = place.build(source="net.onnx", precision="fp16", allow_fallback=True, verify={})
    assert delivered(report)["precision_proof"]["kept"]


def test_a_plugin_of_the_standard_library(here: RuntimeInfo, place: Workplace) -> None:
    assert here["backend"] is not None
    if here["backend"]["name"] == "tensorrt_rtx":
        pytest.skip("TensorRT-RTX has no plugin library")
    node = helper.make_node(
        "EfficientNMS_TRT", ["boxes", "scores"], ["num", "det", "score", "label"], name="nms",
        plugin_version="1", background_class=-1, max_output_boxes=10, score_threshold=0.3, iou_threshold=0.5,
        score_activation=0, box_coding=0, class_agnostic=0,
    )  # fmt: skip
    networks.save(
        place.folder / "net.onnx", [node],
        [("boxes", TensorProto.FLOAT, (1, 100, 4)), ("scores", TensorProto.FLOAT, (1, 100, 3))],
        [("num", TensorProto.INT32, (1, 1)), ("det", TensorProto.FLOAT, (1, 10, 4)),
         ("score", TensorProto.FLOAT, (1, 10)), ("label", TensorProto.INT32, (1, 10))],
    )  # fmt: skip
    report = place.build(source="net.onnx")
    assert report["error"] is None, report["error"]
    assert [b["name"] for b in report["io"] if b["mode"] == "output"] == ["num", "det", "score", "label"]


@pytest.mark.parametrize("fact", ["backend_version", "target"])
def test_an_engine_of_another_tensorrt_or_gpu_is_built_anew(place: Workplace, fact: str) -> None:
    networks.conv(place.folder / "conv.onnx", SHAPE)
    delivered(place.build(source="conv.onnx", verify={}))
    record = place.models_dir / "model" / "report.json"
    report = json.loads(record.read_text(encoding="utf-8"))
    report["identity"][fact] = "something else"
    record.write_text(json.dumps(report), encoding="utf-8")
    again = place.run().model("model")
    assert again["status"] != "up-to-date"
    assert delivered({**again, "status": "built"})["identity"][fact] != "something else"


def test_int8_by_samples(place: Workplace) -> None:
    networks.conv(place.folder / "conv.onnx", SHAPE, channels=64)
    samples = place.folder / "samples"
    samples.mkdir()
    random = np.random.default_rng(0)
    for number in range(8):
        np.save(samples / f"{number}.npy", random.standard_normal(SHAPE).astype(np.float32))
    report = place.build(source="conv.onnx", precision="int8", calibration={"images": "samples"}, verify={})
    if report["error"] is None:
        assert delivered(report)["precision_proof"]["delivered"] == "int8"
    else:
        assert report["error"]["code"] == "precision-not-delivered"
