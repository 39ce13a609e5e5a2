"""Defects of published set-up scripts and documents for these models: each is refused here, or can't come about.

The numbers and words are those of the list that was compiled from NVIDIA's public repositories and documentation.
"""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from google.protobuf import text_format
from onnx import TensorProto, helper
from tritonclient.grpc import model_config_pb2

from prepare_models_entrypoint.sources.ngc import address
from tests import networks
from tests.command import Workplace
from tests.doubles import programs
from tests.engine.caches import measured


def run(place: Workplace, *models: dict[str, Any], **variables: str) -> list[dict[str, Any]]:
    place.write(*models)
    reports: list[dict[str, Any]] = place.run(**variables).report["models"]
    return reports


def argmax(path: Path, kind: int) -> Path:
    """A network whose one output is the index of the largest channel, in the given integer type."""
    nodes = [
        helper.make_node("ArgMax", ["input"], ["index"], name="argmax", axis=1, keepdims=1),
        helper.make_node("Cast", ["index"], ["argmax_1"], name="cast", to=kind),
    ]
    return networks.save(
        path, nodes, [("input", TensorProto.FLOAT, (1, 3, 8, 8))], [("argmax_1", kind, (1, 1, 8, 8))]
    )  # fmt: skip


@pytest.mark.parametrize("converter", ["api", "trtexec"])
def test_1_int8_is_not_calibrated_on_noise_when_the_cache_was_never_downloaded(
    place: Workplace, converter: str
) -> None:
    networks.conv(place.folder / "model.onnx")
    trtexec = str(programs.install("trtexec", place.folder / "bin" / "trtexec"))
    model = {"name": "peoplenet", "source": "model.onnx", "precision": "int8", "converter": converter}
    for more, code in (({"calibration_cache": "absent.txt"}, "source-not-found"), ({}, "calibration-missing")):
        (report,) = run(place, {**model, **more}, PREPARE_MODELS_TRTEXEC=trtexec)
        assert (report["status"], report["error"]["code"]) == ("failed", code)
    assert place.files() <= {"report.json"}


def test_2_a_shape_with_an_undefined_variable_is_refused_where_it_is_written(place: Workplace) -> None:
    networks.conv(place.folder / "model.onnx", (1, 3, "height", "width"))
    place.write({"name": "peoplenet", "source": "model.onnx", "inputs": {"input": "1x3x$HEIGHTx960"}})
    result = place.run()
    assert result.status == 2
    assert "models[0].inputs.input" in result.stderr
    (report,) = run(place, {"name": "peoplenet", "source": "model.onnx", "inputs": {"input": "1x3x960"}})
    assert report["error"]["code"] == "inputs-mismatch"


def test_3_neither_a_build_nor_its_failure_deletes_other_models_or_the_engine_before(place: Workplace) -> None:
    networks.conv(place.folder / "a.onnx")
    networks.conv(place.folder / "b.onnx")
    run(place, {"name": "a", "source": "a.onnx"}, {"name": "b", "source": "b.onnx"})
    (place.models_dir / "foreign").mkdir()
    (place.models_dir / "foreign" / "notes.txt").write_text("mine")
    before = {name: (place.models_dir / name).read_bytes() for name in place.files() - {"report.json"}}
    (place.folder / "a.onnx").write_bytes(bytes(4096))
    (report,) = run(place, {"name": "a", "source": "a.onnx"})
    assert report["status"] == "failed"
    assert {name: (place.models_dir / name).read_bytes() for name in before} == before


def test_4_a_failed_build_is_tried_again_though_its_source_is_there(place: Workplace) -> None:
    networks.unsupported(place.folder / "model.onnx")
    for _ in range(2):
        (report,) = run(place, {"name": "refine", "source": "model.onnx"})
        assert (report["status"], report["reason"][-13:]) == ("failed", "no engine yet")
    networks.conv(place.folder / "model.onnx")
    assert run(place, {"name": "refine", "source": "model.onnx"})[0]["status"] == "built"


@pytest.mark.parametrize(("kind", "dtype"), [(TensorProto.INT32, "TYPE_INT32"), (TensorProto.INT64, "TYPE_INT64")])
def test_5_and_6_triton_gets_the_models_own_name_and_the_engines_own_types(
    place: Workplace, kind: int, dtype: str
) -> None:
    argmax(place.folder / "model.onnx", kind)
    run(place, {"name": "peoplesemseg", "source": "model.onnx"})
    config: Any = model_config_pb2.ModelConfig()
    text_format.Parse((place.models_dir / "peoplesemseg" / "config.pbtxt").read_text(), config)
    assert config.name == "peoplesemseg"
    (output,) = config.output
    assert (output.name, output.data_type) == ("argmax_1", model_config_pb2.DataType.Value(dtype))


def test_7_binding_names_of_another_model_version_are_refused_with_the_right_ones(place: Workplace) -> None:
    networks.named(place.folder / "model.onnx", ["input_2:0"], ["argmax_1"])
    (report,) = run(place, {"name": "unet", "source": "model.onnx", "outputs": ["softmax_1"]})
    assert report["error"]["code"] == "outputs-mismatch"
    assert "argmax_1" in report["error"]["hint"]
    (report,) = run(place, {"name": "unet", "source": "model.onnx", "inputs": {"input_1": "1x8"}})
    assert report["error"]["code"] == "inputs-unknown"
    assert "input_2:0" in report["error"]["message"]


def test_8_the_node_does_not_build_by_itself_with_tf32_for_fp16(place: Workplace) -> None:
    networks.conv(place.folder / "model.onnx")
    (report,) = run(place, {"name": "unet", "source": "model.onnx", "precision": "fp16"})
    assert report["precision_proof"]["delivered"] == "fp16"
    node = json.dumps(yaml.safe_load((place.models_dir / "unet" / "isaac_ros.yaml").read_text()))
    assert '"force_engine_update": false' in node
    assert str(place.models_dir / "unet" / "1" / "model.plan") in node


def test_9_no_two_models_share_an_engine_file(place: Workplace) -> None:
    networks.conv(place.folder / "ess.onnx")
    place.write({"name": "ess", "source": "ess.onnx"}, {"name": "ess", "source": "ess.onnx"})
    assert place.run().status == 2
    reports = run(place, {"name": "ess", "source": "ess.onnx"}, {"name": "light_ess", "source": "ess.onnx"})
    assert [Path(report["engine"]["path"]).parts[-3] for report in reports] == ["ess", "light_ess"]


@pytest.mark.parametrize("name", ["two words.onnx", "a;touch x.onnx", "$(touch x).onnx", "back\\slash.onnx"])
def test_10_and_15_a_command_line_is_whole_and_no_part_of_it_is_run_by_a_shell(place: Workplace, name: str) -> None:
    networks.conv(place.folder / name)
    trtexec = str(programs.install("trtexec", place.folder / "bin" / "trtexec"))
    argv = place.folder / "argv.json"
    variables = {"PREPARE_MODELS_TRTEXEC": trtexec, "TRT_DOUBLE_ARGV": str(argv)}
    (report,) = run(place, {"name": "score", "source": name, "converter": "trtexec"}, **variables)
    assert report["status"] == "built", report["error"]
    assert json.loads(argv.read_text())[0] == f"--onnx={place.folder / name}"
    assert not (place.folder / "x").exists()
    line = report["trtexec_command"]
    assert "\n" not in line
    assert f"--onnx={place.folder / name}" in shlex.split(line)


def test_11_the_forms_of_ngcs_addresses_are_the_same_model() -> None:
    api, version, file = "https://api.ngc.nvidia.com", "deployable_shuffleseg_unet_v1.0", "cache.txt"
    forms = [
        f"ngc://nvidia/tao/peoplesemsegnet:{version}/{file}",
        f"{api}/v2/models/nvidia/tao/peoplesemsegnet/versions/{version}/files/{file}",
        f"{api}/v2/models/org/nvidia/team/tao/peoplesemsegnet/{version}/files?redirect=true&path={file}",
    ]
    assert {str(address.parse(form, api=api)) for form in forms} == {forms[0]}


def test_12_the_engine_that_is_measured_is_the_one_that_was_asked_for(place: Workplace) -> None:
    networks.conv(place.folder / "model.onnx")
    run(place, {"name": "dope", "source": "model.onnx"})
    (report,) = run(place, {"name": "dope", "source": "model.onnx", "precision": "fp16"})
    assert report["status"] == "built"
    assert "precision fp32 -> fp16" in report["reason"]
    assert report["precision_proof"]["delivered"] == "fp16"


@pytest.mark.parametrize("tf32", [None, True, False])
def test_13_tf32_is_on_unless_the_manifest_says_otherwise_and_the_report_tells(
    place: Workplace, tf32: bool | None
) -> None:
    networks.conv(place.folder / "model.onnx")
    builder = {} if tf32 is None else {"builder": {"tf32": tf32}}
    (report,) = run(place, {"name": "stereo", "source": "model.onnx", **builder})
    assert ("TF32" in report["builder"]["flags"]) is (tf32 is not False)
    assert ("--noTF32" in report["trtexec_command"]) is (tf32 is False)


def test_14_a_build_asks_no_network_for_anything(place: Workplace) -> None:
    """Every connection that a Python process of the run attempts leaves a trace."""
    trace = place.folder / "connected"
    (place.folder / "sitecustomize.py").write_text(
        "import pathlib, socket\n"
        "def refuse(self, address):\n"
        "    if self.family != socket.AF_UNIX:\n"
        f"        pathlib.Path({str(trace)!r}).write_text(str(address))\n"
        "        raise OSError('refused')\n"
        "socket.socket.connect = refuse\n"
    )
    attempt = "import socket; socket.create_connection(('127.0.0.1', 9))"
    environment = place.environment(PYTHONPATH=str(place.folder))
    subprocess.run([sys.executable, "-c", attempt], env=environment, capture_output=True, check=False)
    trace.unlink()  # it is there: the trap works
    measured(networks.conv(place.folder / "model.onnx"), place.folder / "cal.bin")
    model = {"name": "dino", "source": "model.onnx", "precision": "int8", "calibration_cache": "cal.bin"}
    (report,) = run(place, model, PYTHONPATH=str(place.folder))
    assert report["status"] == "built", report["error"]
    assert not trace.exists()
