"""Models that carry fp8 already: built as they are, in half precision around it, or refused with the reason."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.command import Workplace
from tests.engine.attempts import attempt

FLOAT, HALF, FP8 = TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.FLOAT8E4M3FN
value, node = helper.make_tensor_value_info, helper.make_node


def quantized(operator: str, *, half: bool = False, stored: bool = False, opset: int = 19) -> onnx.ModelProto:
    """Q/DQ nodes of fp8 around an operator, and an Exp behind it. ``stored``: the weights are fp8 in the file."""
    random, kind = np.random.default_rng(0), np.float16 if half else np.float32
    shape = (16, 16) if operator == "MatMul" else (8, 3, 3, 3)
    weights = (random.standard_normal(shape) * 0.1).astype(kind)
    nodes = [
        node("QuantizeLinear", ["x", "scale", "zero"], ["xq"], name="quantize"),
        node("DequantizeLinear", ["xq", "scale", "zero"], ["xd"], name="dequantize"),
        node("QuantizeLinear", ["w", "step", "zero"], ["wq"], name="quantize_weights"),
        node("DequantizeLinear", ["wq", "step", "zero"], ["wd"], name="dequantize_weights"),
        node(operator, ["xd", "wd"], ["product"], name="product"),
        node("Exp", ["product"], ["y"], name="last"),
    ]
    constants = [
        numpy_helper.from_array(np.array(0.02, kind), "scale"),
        numpy_helper.from_array(np.array(0.01, kind), "step"),
        helper.make_tensor("zero", FP8, [], b"\0", raw=True),
    ]
    if stored:
        del nodes[2]
        values = random.integers(0x20, 0x48, shape, dtype=np.uint8) | random.integers(0, 2, shape, dtype=np.uint8) << 7
        constants.append(helper.make_tensor("wq", FP8, shape, values.tobytes(), raw=True))
    else:
        constants.append(numpy_helper.from_array(weights, "w"))
    sizes = ([4, 16], [4, 16]) if operator == "MatMul" else ([1, 3, 8, 8], [1, 8, 6, 6])
    io = [value(name, HALF if half else FLOAT, size) for name, size in zip("xy", sizes, strict=True)]
    graph = helper.make_graph(nodes, "g", io[:1], io[1:], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)


@pytest.mark.parametrize(("stored", "opset"), [(False, 21), (True, 19)])
@pytest.mark.parametrize("operator", ["MatMul", "Conv"])
@pytest.mark.parametrize(
    ("precision", "delivered"), [("fp32", "fp8"), ("fp16", "fp16"), ("bf16", "bf16"), ("fp8", "fp8")]
)
def test_a_model_with_fp8_is_built_and_said_to_be_what_it_is(
    tmp_path: Path, operator: str, precision: str, delivered: str, opset: int, *, stored: bool
) -> None:
    proto = quantized(operator, stored=stored, opset=opset)
    onnx.checker.check_model(proto, full_check=True)
    found = attempt(proto, tmp_path, check_only=False, precision=precision)
    assert found["error"] is None
    assert found["precision_proof"]["layers"] == {delivered: 1}
    assert found["precision_proof"]["delivered"] == delivered
    assert [each["dtype"] for each in found["io"]] == ["float32", "float32"]


@pytest.mark.parametrize(("precision", "told"), [("fp16", "1 fp8"), ("int8", "1 fp8")])
def test_what_a_model_of_fp8_can_not_give_is_refused(tmp_path: Path, precision: str, told: str) -> None:
    for check_only in (True, False):
        error = attempt(quantized("MatMul", half=True), tmp_path, check_only=check_only, precision=precision)["error"]
        assert (error["code"], told in error["message"]) == ("precision-not-delivered", True)


def cast(*nodes: Any, **constants: Any) -> onnx.ModelProto:
    graph = helper.make_graph(
        list(nodes), "g", [value("x", FLOAT, [4, 16])], [value("y", FLOAT, [4, 16])], list(constants.values())
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)


@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16", "fp8"])
def test_fp8_outside_of_quantization_is_refused(tmp_path: Path, precision: str) -> None:
    down, up = node("Cast", ["x"], ["c"], to=FP8, name="down"), node("Cast", ["c"], ["y"], to=FLOAT, name="up")
    error = attempt(cast(down, up), tmp_path, precision=precision)["error"]
    assert (error["code"], "outside of quantization" in error["message"]) == ("onnx-unsupported-operator", True)


def test_fp8_is_checked_built_and_verified_by_the_command(place: Workplace) -> None:
    onnx.save(quantized("Conv"), str(place.folder / "net.onnx"))
    names = ("fp16", "bf16", "fp8", "auto")
    place.write(*({"name": each, "source": "net.onnx", "precision": each, "verify": {}} for each in names))
    checked = place.call("check", str(place.manifest), "--json").report["models"]
    assert [(each["name"], each["status"]) for each in checked] == [(each, "checked") for each in names]
    built = {each["name"]: each for each in place.run().report["models"]}
    assert {each["status"] for each in built.values()} == {"built"}
    verdicts = {name: each["verification"]["verdict"] for name, each in built.items()}
    assert verdicts == {"fp16": "passed", "bf16": "passed", "fp8": "not-compared", "auto": "passed"}
