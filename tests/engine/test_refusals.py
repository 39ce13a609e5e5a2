"""What the backend refuses: who is blamed, in which words, and whether the hint helps when it is followed."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import yaml
from onnx import helper, numpy_helper

from prepare_models_entrypoint.onnx_graph import sites
from tests.command import Workplace
from tests.doubles import programs
from tests.engine.attempts import attempt
from tests.engine.refused_models import FLOAT, IMAGE, KINDS, PLUGIN, UNSUPPORTED, W, model, node, value, wired


@pytest.mark.parametrize("kind", KINDS)
def test_a_refusal_blames_whom_it_should_and_says_what_helps(tmp_path: Path, kind: str) -> None:
    make, code, told = KINDS[kind]
    error = attempt(make(), tmp_path)["error"]
    assert error is not None
    text = f"{error['message']} {error['hint']}"
    assert (error["code"], told in text) == (code, True), text
    assert "log" not in error["hint"]
    assert "for a reason that is not known" not in error["message"]
    built = attempt(make(), tmp_path, check_only=False)["error"]
    assert (built["code"], built["message"]) == (error["code"], error["message"])


@pytest.mark.parametrize("precision", ["int8", "auto"])
def test_what_no_parser_takes_is_refused_before_samples_are_measured(tmp_path: Path, precision: str) -> None:
    make, code, told = KINDS["scatter adds"]
    error = attempt(make(), tmp_path, precision=precision, calibration={"images": str(tmp_path / "missing")})["error"]
    assert (error["code"], told in error["message"]) == (code, True), error


def settings(hint: str) -> list[dict[str, Any]]:
    """Return what a hint says to write under ``onnx:``, as it stands there."""
    found = [yaml.safe_load(text) for text in re.findall(r"onnx: (\{.*?\}+)(?=[,; ]|$)", hint)]
    return [each for each in found if "outputs" in each]


# What the parser refuses before it comes to a node, or the builder without naming one.
NOWHERE = ("an input of nine dimensions", "strided and dilated", "fp8 output")
SQUARE = {"min": [3, 3], "opt": [3, 3], "max": [3, 3]}
ASKED: dict[str, Any] = {"EyeLike of varying size": {"inputs": {"x": SQUARE}}}
FOLLOWED = [kind for kind, (_, code, _) in KINDS.items() if code in (UNSUPPORTED, PLUGIN)]


@pytest.mark.parametrize("kind", FOLLOWED)
def test_a_hint_that_names_tensors_works_to_the_letter(tmp_path: Path, kind: str) -> None:
    make, _, _ = KINDS[kind]
    hint = attempt(make(), tmp_path)["error"]["hint"]
    if "good" not in {each.name for each in make().graph.node} or kind in NOWHERE:
        assert not settings(hint)
        return
    (changes,) = settings(hint)
    again = attempt(make(), tmp_path, check_only=False, onnx=changes, **ASKED.get(kind, {}))
    assert again["error"] is None
    assert [each["name"] for each in again["io"] if each["mode"] == "output"] == changes["outputs"] == ["before"]


@pytest.mark.parametrize(("kind", "input_", "given"), [("axes are an input", "a", [0]), ("axis of Squeeze", "a", [0]),
                                                       ("branches of different rank", "c", [1])])  # fmt: skip
def test_values_for_the_inputs_that_a_hint_names_work(
    tmp_path: Path, kind: str, input_: str, given: list[float]
) -> None:
    found = attempt(KINDS[kind][0](), tmp_path, check_only=False, onnx={"constants": {input_: given}})
    assert found["error"] is None


def chain(operator: str, **attributes: Any) -> onnx.ModelProto:
    nodes = [
        node("Conv", ["x", "w"], ["a"], name="first"),
        node(operator, ["a"], ["b"], name="bad", **attributes),
        node("Conv", ["b", "v"], ["y"], name="last"),
    ]
    square = np.ones((4, 4, 3, 3), np.float32)
    return model(nodes, [value("x", FLOAT, IMAGE)], [value("y", FLOAT, None)], w=W, v=square)


@pytest.fixture
def trtexec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The double of trtexec of TensorRT 11, which builds what it is given, strongly typed."""
    monkeypatch.setenv("TRT_DOUBLE_TRT_VERSION", "11.1.0")
    return programs.install("trtexec", tmp_path / "bin" / "trtexec")


@pytest.mark.parametrize(("operator", "precision"), [("Celu", "bf16"), ("Mish", "bf16")])
def test_nodes_that_trtexec_refuses_in_less_stay_in_fp32(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trtexec: Path, operator: str, precision: str
) -> None:
    monkeypatch.setattr(sites, "FULL_IN_TENSORRT", {"fp16": (), "bf16": ()})
    found = attempt(chain(operator), tmp_path, check_only=False, precision=precision, program=trtexec)
    assert found["error"] is None
    kept = [(each["name"], each["reason"]) for each in found["precision_proof"]["kept"]]
    assert kept == [("bad", f"the builder refuses it in {precision}")]
    assert found["engine_bytes"] == (tmp_path / "model.plan").stat().st_size


def test_what_trtexec_refuses_in_fp32_too_is_judged_by_that(tmp_path: Path, trtexec: Path) -> None:
    make = KINDS["strided and dilated"][0]
    errors = [
        attempt(make(), tmp_path, check_only=False, precision=precision, program=trtexec)["error"]
        for precision in ("fp16", "fp32")
    ]
    assert errors[0] == errors[1]
    assert errors[0]["code"] == UNSUPPORTED
    assert not (tmp_path / "model.plan").exists()


def test_a_model_that_is_refused_in_fp32_too_is_judged_by_that(tmp_path: Path) -> None:
    found = attempt(KINDS["strided and dilated"][0](), tmp_path, precision="fp16")
    assert found["error"] == attempt(KINDS["strided and dilated"][0](), tmp_path)["error"]


def test_a_sparse_constant_is_written_out(place: Workplace) -> None:
    places, values = (
        numpy_helper.from_array(np.array([0, 3]), "i"),
        numpy_helper.from_array(np.ones(2, np.float32), "w"),
    )
    proto = wired([node("MatMul", ["x", "w"], ["y"], name="product")])
    proto.graph.sparse_initializer.append(helper.make_sparse_tensor(values, places, [2, 2]))
    onnx.save(proto, str(place.folder / "model.onnx"))
    for precision in ("fp32", "fp16"):
        report = place.build(source="model.onnx", precision=precision)
        assert report["status"] == "built", report["error"]
        told = "sparse form are written out: w (compared with" in json.dumps(report["warnings"])
        assert told == (precision == "fp32")  # any other precision rewrites the graph anyway
