"""``check`` and ``decrypt``, and models that can't become engines: each its own code, soon, and no engine."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from prepare_models_entrypoint.contract.files import sha256_file
from tests import networks
from tests.command import Workplace
from tests.defects import DEFECTS, KEY, Maker, encrypt
from tests.engine.caches import measured
from tests.engine.graphs import quantized

FLOAT = TensorProto.FLOAT


def check(place: Workplace, **model: Any) -> dict[str, Any]:
    place.write({"name": "model", **model})
    result = place.call("check", str(place.manifest), "--json", "--executor", "local", MODEL_KEY=KEY)
    assert result.status in (0, 1), result.stderr
    report: dict[str, Any] = json.loads(result.stdout)["models"][0]
    assert not place.models_dir.exists(), "a check leaves nothing behind"
    return report


def test_a_check_tells_bindings_layers_and_needs_and_builds_nothing(place: Workplace) -> None:
    networks.conv(place.folder / "model.onnx")
    report = check(place, source="model.onnx")
    assert (report["status"], report["error"]) == ("checked", None)
    assert [binding["name"] for binding in report["io"]] == ["input", "output"]
    assert report["preflight"]["layer_types"]["convolution"] == 1
    assert report["preflight"]["memory_bytes"] > 110_000_000
    assert report["converter_reason"] == "Python module tensorrt_rtx"


def test_a_check_warns_of_what_isaac_ros_does_not_take(place: Workplace) -> None:
    networks.conv(place.folder / "model.onnx", (1, 3, "height", 32))
    shape = {"min": "1x3x16x32", "opt": "1x3x32x32", "max": "1x3x64x32"}
    report = check(place, source="model.onnx", inputs={"input": shape})
    codes = {warning["code"] for warning in report["warnings"]}
    assert codes == {"isaac-ros-dynamic-axis"}


def test_what_the_parser_remarks_about_a_model_that_it_takes_is_told(place: Workplace) -> None:
    model = onnx.load(str(networks.conv(place.folder / "model.onnx")))
    model.opset_import[0].version = 5
    onnx.save(model, str(place.folder / "model.onnx"))
    (warning,) = check(place, source="model.onnx")["warnings"]
    assert warning["code"] == "parser-warning"
    assert "at least opset 7" in warning["message"]


@pytest.mark.parametrize(("code", "make"), DEFECTS, ids=[make.__name__ for _, make in DEFECTS])
def test_each_defect_has_its_own_code_and_hint(place: Workplace, code: str, make: Maker) -> None:
    model = make(place.folder)
    error = check(place, **model)["error"]
    assert error["code"] == code
    assert error["hint"]
    assert KEY not in json.dumps(error)


@pytest.mark.parametrize(
    ("builder", "named"),
    [
        ({"timing_cache": True}, "timing_cache"),
        ({"max_tactics": 4}, "max_tactics"),
        ({"avg_timing_iterations": 4}, "avg_timing_iterations"),
        ({"tactic_dram": "1GiB"}, "tactic_dram"),
        ({"version_compatible": True}, "version_compatible"),
        ({"hardware_compatibility": "ampere+"}, "hardware_compatibility"),
        ({"dla_core": 0}, "dla_core"),
        ({"strongly_typed": False}, "strongly_typed"),
        ({"refit": "all"}, "refit"),
    ],
)
def test_a_setting_that_this_backend_would_ignore_is_refused_with_backend_and_version(
    place: Workplace, builder: dict[str, Any], named: str
) -> None:
    networks.conv(place.folder / "model.onnx")
    error = check(place, source="model.onnx", builder=builder)["error"]
    assert error["code"] == "builder-option-unavailable"
    assert f"builder.{named}:" in error["message"]
    assert "tensorrt_rtx 1." in error["message"]


def test_a_format_for_a_binding_that_is_not_there_is_refused_before_the_build(place: Workplace) -> None:
    networks.conv(place.folder / "model.onnx")
    error = check(place, source="model.onnx", builder={"io_formats": {"nope": "fp16:chw"}})["error"]
    assert error["code"] == "builder-option-unavailable"
    assert "builder.io_formats: nope" in error["message"]


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_a_calibration_cache_that_nothing_is_taken_from_is_told(place: Workplace, precision: str) -> None:
    model = onnx.load(str(measured_network(place)))
    if precision == "int8":
        quantized(model, "input")
        onnx.save(model, str(place.folder / "model.onnx"))
    asked = {"source": "model.onnx", "precision": precision, "calibration_cache": "cal.bin"}
    assert [warning["code"] for warning in check(place, **asked)["warnings"]] == ["calibration-unused"]


def measured_network(place: Workplace) -> Path:
    model = networks.conv(place.folder / "model.onnx")
    measured(model, place.folder / "cal.bin")
    return model


def test_one_shape_for_a_dynamic_model_is_its_profile(place: Workplace) -> None:
    networks.conv(place.folder / "model.onnx", ("batch", 3, 32, 32))
    place.write({"name": "model", "source": "model.onnx", "inputs": {"input": "2x3x32x32"}})
    report = place.run().model("model")
    assert report["status"] == "built", report["error"]
    assert "--optShapes=input:2x3x32x32" in report["trtexec_command"]


def test_several_profiles_and_settings_reach_the_engine(place: Workplace) -> None:
    networks.conv(place.folder / "model.onnx", ("batch", 3, 32, 32))
    one = {"input": {"min": "1x3x32x32", "opt": "1x3x32x32", "max": "2x3x32x32"}}
    two = {"input": {"min": "2x3x32x32", "opt": "4x3x32x32", "max": "8x3x32x32"}}
    builder = {"compute_capabilities": ["8.6", "8.9"], "sparsity": True, "max_aux_streams": 1}
    place.write({"name": "model", "source": "model.onnx", "profiles": [one, two], "builder": builder})
    report = place.run().model("model")
    assert report["status"] == "built", report["error"]
    assert [profile["input"]["max"][0] for profile in report["profiles"]] == [2, 8]
    assert len(report["io"][0]["profiles"]) == 2
    assert report["engine"]["header"]["compute_capabilities"] == ["8.6", "8.9"]
    assert "SPARSE_WEIGHTS" in report["builder"]["flags"]
    assert report["builder"]["max_aux_streams"] == 1
    assert "--profile=1" in report["trtexec_command"]


def test_a_plugin_library_is_loaded_only_as_the_pinned_one(place: Workplace) -> None:
    source, library = place.folder / "plugin.c", place.folder / "plugin.so"
    source.write_text("int prepare_models_test_plugin(void) { return 1; }\n")
    subprocess.run(["cc", "-shared", "-fPIC", "-o", str(library), str(source)], check=True)
    networks.conv(place.folder / "model.onnx")
    plugin = {"file": "plugin.so", "sha256": sha256_file(library)}
    assert check(place, source="model.onnx", plugins=[plugin])["error"] is None
    for wrong in ({**plugin, "sha256": "0" * 64}, {**plugin, "file": "absent.so"}):
        assert check(place, source="model.onnx", plugins=[wrong])["error"]["code"] == "plugin-invalid"
    library.write_text("no library")
    broken = {"file": "plugin.so", "sha256": sha256_file(library)}
    assert check(place, source="model.onnx", plugins=[broken])["error"]["code"] == "plugin-invalid"


def test_decrypt_writes_the_plain_model_for_its_owner_alone(place: Workplace) -> None:
    plain = networks.conv(place.folder / "plain.onnx")
    encrypt(plain, place.folder / "model.etlt")
    (place.folder / "key").write_text(KEY + "\n", encoding="utf-8")
    (place.folder / ".plain-elsewhere.onnx.x.prepare-models-partial").write_bytes(b"half, of a process that was killed")
    (place.folder / "out.onnx").symlink_to("plain-elsewhere.onnx")
    result = place.call("decrypt", "model.etlt", "--key-file", "key", "-o", "out.onnx")
    assert result.status == 0, result.stderr
    assert (place.folder / "plain-elsewhere.onnx").read_bytes() == plain.read_bytes()
    assert (place.folder / "out.onnx").is_symlink()
    assert not list(place.folder.glob(".*partial"))
    assert (place.folder / "out.onnx").stat().st_mode & 0o777 == 0o600
    assert sha256_file(plain) in result.stdout
    assert KEY not in result.stdout + result.stderr


def test_decrypt_with_a_wrong_key_leaves_no_file(place: Workplace) -> None:
    encrypt(networks.conv(place.folder / "plain.onnx"), place.folder / "model.etlt", key="another")
    (place.folder / "key").write_text(KEY, encoding="utf-8")
    result = place.call("decrypt", "model.etlt", "--key-file", "key", "-o", "out.onnx")
    assert result.status == 1
    assert "etlt-key-wrong" in result.stderr
    assert sorted(file.name for file in place.folder.iterdir() if file.is_file()) == ["key", "model.etlt", "plain.onnx"]


def test_a_check_tells_what_a_cache_covers_and_what_the_engine_would_get(place: Workplace) -> None:
    networks.heavy(place.folder / "model.onnx", layers=4)
    cache = measured(place.folder / "model.onnx", place.folder / "cal.bin")
    cache.write_text("".join(cache.read_text().splitlines(keepends=True)[:-2]), encoding="utf-8")
    judged = check(place, source="model.onnx", precision="int8", calibration_cache="cal.bin")["precision_proof"]
    place.write({"name": "model", "source": "model.onnx", "precision": "int8", "calibration_cache": "cal.bin"})
    built = place.run().model("model")["precision_proof"]
    assert judged["calibration"] == built["calibration"]
    assert (judged["delivered"], built["delivered"]) == ("int8", "int8")


def test_a_model_of_folded_constants_is_sanitized_on_request(place: Workplace) -> None:
    nodes = [
        helper.make_node("Add", ["a", "b"], ["c"], name="constant_sum"),
        helper.make_node("Mul", ["input", "c"], ["output"], name="mul"),
    ]
    weights = {"a": np.ones(8, np.float32), "b": np.ones(8, np.float32)}
    value = (FLOAT, (1, 8))
    networks.save(place.folder / "model.onnx", nodes, [("input", *value)], [("output", *value)], weights)
    plain = check(place, source="model.onnx")["preflight"]["layers"]
    folded = check(place, source="model.onnx", onnx={"sanitize": True})["preflight"]["layers"]
    assert folded < plain
