"""TensorRT 8 to 10, where builder flags choose the precision: a double of 10.3's module around real engines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests import networks, planted
from tests.command import Workplace
from tests.engine.caches import measured

DOUBLE = Path(__file__).parents[1] / "doubles" / "tensorrt10"


def build(place: Workplace, **model: Any) -> dict[str, Any]:
    place.write({"name": "model", **model})
    result = place.run(PYTHONPATH=str(DOUBLE))
    assert result.status in (0, 1), result.stderr
    report = result.model("model")
    assert report["runtime"]["backend"] == {"name": "tensorrt", "version": "10.3.0"}
    return report


def test_fp16_is_a_flag(place: Workplace) -> None:
    networks.conv(place.folder / "model.onnx")
    report = build(place, source="model.onnx", precision="fp16")
    assert report["status"] == "built", report["error"]
    assert "FP16" in report["builder"]["flags"]
    assert report["precision_proof"]["how"] == "builder flag FP16"
    assert report["precision_proof"]["delivered"] is None, "what the builder made of the flag only a GPU could tell"
    assert "precision-unproven" in {warning["code"] for warning in report["warnings"]}
    assert "--fp16" in report["trtexec_command"]


def test_auto_sets_the_flag_of_what_it_chose(place: Workplace) -> None:
    planted.network(place.folder / "model.onnx", 0, overflows=False)
    verify = {"random": {"ranges": {"x": [-2, 2]}}}
    report = build(place, source="model.onnx", precision="auto", verify=verify)
    assert report["status"] == "built", report["error"]
    assert "FP16" in report["builder"]["flags"]
    proof = report["precision_proof"]
    assert [row["precision"] for row in proof["choices"] if row["verdict"] == "chosen"] == ["fp16"]
    assert (proof["requested"], proof["how"]) == ("auto", "builder flag FP16")
    assert report["verification"]["verdict"] == "not-compared"


def test_a_cache_of_an_older_tensorrt_is_taken_without_samples(place: Workplace) -> None:
    measured(networks.conv(place.folder / "model.onnx"), place.folder / "cal.bin")
    before = (place.folder / "cal.bin").read_bytes()
    assert before.startswith(b"TRT-8601-")
    report = build(place, source="model.onnx", precision="int8", calibration_cache="cal.bin")
    assert report["status"] == "built", report["error"]
    assert {"INT8", "FP16"} <= set(report["builder"]["flags"])
    calibration = report["precision_proof"]["calibration"]
    assert (calibration["wanted"], calibration["covered"]) == (1, 1)
    assert (place.folder / "cal.bin").read_bytes() == before, "the vendor's file is not touched"
    assert f"--int8 --fp16 --calib={place.folder}/cal.bin" in report["trtexec_command"]


def test_a_cache_that_the_builder_refuses_fails_instead_of_a_new_calibration(place: Workplace) -> None:
    cache = measured(networks.conv(place.folder / "model.onnx"), place.folder / "cal.bin")
    cache.write_bytes(cache.read_bytes() + b"refuse_me: 3c010a14\n")
    report = build(place, source="model.onnx", precision="int8", calibration_cache="cal.bin")
    assert report["error"]["code"] == "calibration-cache-refused"
    assert not (place.models_dir / "model").exists()


def test_int8_without_scales_is_refused_before_the_build(place: Workplace) -> None:
    networks.conv(place.folder / "model.onnx")
    assert build(place, source="model.onnx", precision="int8")["error"]["code"] == "calibration-missing"


def test_timings_of_several_builds_come_together_in_one_file(place: Workplace) -> None:
    networks.conv(place.folder / "one.onnx")
    networks.heavy(place.folder / "two.onnx", layers=2)
    for source in ("one.onnx", "two.onnx"):
        assert build(place, source=source)["status"] == "built"
    (cache,) = (place.cache_dir / "timing").glob("*.cache")
    assert "10.3.0" in cache.name
    assert len(cache.read_bytes().split()) == 2


def test_builds_at_the_same_time_lose_no_timings_of_each_other(place: Workplace) -> None:
    names = [f"net{index}" for index in range(6)]
    for index, name in enumerate(names):
        networks.heavy(place.folder / f"{name}.onnx", layers=index + 1)
    place.write(*({"name": name, "source": f"{name}.onnx"} for name in names))
    built = place.run("--jobs", "6", PYTHONPATH=str(DOUBLE))
    assert [model["status"] for model in built.report["models"]] == ["built"] * len(names)
    (cache,) = (place.cache_dir / "timing").glob("*.cache")
    assert len(cache.read_bytes().split()) == len(names)


def test_no_timings_are_kept_where_the_manifest_says_so(place: Workplace) -> None:
    networks.conv(place.folder / "model.onnx")
    assert build(place, source="model.onnx", builder={"timing_cache": False})["status"] == "built"
    assert not (place.cache_dir / "timing").exists()


def test_what_is_known_against_a_version_is_said_by_plan_once_by_a_run_and_in_the_reports(place: Workplace) -> None:
    names = ("one", "two")
    for name in names:
        networks.conv(place.folder / f"{name}.onnx", ("N", 3, 8, 8))
    profile = {"input": {"min": "1x3x8x8", "opt": "2x3x8x8", "max": "4x3x8x8"}}
    place.write(*({"name": name, "source": f"{name}.onnx", "inputs": profile} for name in names))
    planned = place.call("plan", str(place.manifest), "--executor", "local", PYTHONPATH=str(DOUBLE))
    assert planned.stdout.count("warning [tensorrt-known-fault] this TensorRT: TensorRT 10.3.0: transformers") == 1
    result = place.run(PYTHONPATH=str(DOUBLE))
    assert result.status == 0, result.stderr
    assert result.stderr.count("issues/4419") == 1
    for name in names:
        faults = [each for each in result.model(name)["warnings"] if each["code"] == "tensorrt-known-fault"]
        assert ["issues/4419" in each["message"] for each in faults] == [True]
    again = place.run(PYTHONPATH=str(DOUBLE))
    assert "issues/4419" not in again.stderr


def test_layers_that_overflow_are_pinned_to_fp32(place: Workplace) -> None:
    for seed, kind in enumerate(planted.KINDS):
        planted.network(place.folder / "model.onnx", seed, overflows=True)
        report = build(place, source="model.onnx", precision="fp16", verify={})
        assert report["status"] == "built", report["error"]
        kept = {layer["name"]: layer["reason"] for layer in report["precision_proof"]["kept"]}
        assert any(name.startswith("planted_") for name in kept), kind
        assert all("65504" in reason or "fp16" in reason for reason in kept.values()), kept
        assert "OBEY_PRECISION_CONSTRAINTS" in report["builder"]["flags"]
        assert report["trtexec_command"] is None, "no option of the program says what was done"


def test_samples_decide_only_where_they_are_asked_to(place: Workplace) -> None:
    planted.network(place.folder / "model.onnx", 0, overflows=True)
    report = build(place, source="model.onnx", precision="fp16", keep_fp32="none", verify={})
    assert report["precision_proof"]["kept"] == []
    assert "OBEY_PRECISION_CONSTRAINTS" not in report["builder"]["flags"]
