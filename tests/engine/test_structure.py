"""Judging a model without reading its weights: the verdict is the parser's on the whole file."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from prepare_models_entrypoint.contract import skeleton
from prepare_models_entrypoint.onnx_graph import model_file, weights
from tests import networks
from tests.engine import verdicts

FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64
ROUNDS = 60


def values(*shape: int, kind: Any = np.float32) -> Any:
    return (np.random.default_rng(0).random(shape, np.float32) * 9 + 1).astype(kind)


# Operator, its other inputs with their shapes and types, its large constants: each is something else to a parser.
OPERATORS: dict[str, tuple[list[Any], dict[str, Any], dict[str, Any]]] = {
    "Conv": ([("x", FLOAT, (1, 64, 8, 8))], {"w": values(256, 64, 3, 3)}, {}),
    "ConvTranspose": ([("x", FLOAT, (1, 64, 8, 8))], {"w": values(64, 256, 3, 3)}, {}),
    "Gemm": ([("x", FLOAT, (1, 64))], {"w": values(20000, 64), "b": values(20000)}, {"transB": 1}),
    "MatMul": ([("x", FLOAT, (1, 256))], {"w": values(256, 256)}, {}),
    "Mul": ([("x", INT64, (1, 9000))], {"w": values(1, 9000, kind=np.int64)}, {}),
    "Add": ([("x", TensorProto.FLOAT16, (1, 65536))], {"w": values(1, 65536, kind=np.float16)}, {}),
    "BatchNormalization": ([("x", FLOAT, (1, 20000, 2, 2))], {name: values(20000) for name in "sbmv"}, {}),
    "PRelu": ([("x", FLOAT, (1, 20000, 2))], {"w": values(20000, 1)}, {}),
    "LSTM": (
        [("x", FLOAT, (5, 1, 64))],
        {"w": values(1, 512, 64), "r": values(1, 512, 128)},
        {"hidden_size": 128},
    ),
    "Where": ([("c", TensorProto.BOOL, (1, 20000)), ("x", FLOAT, (1, 20000))], {"w": values(1, 20000)}, {}),
}


def write(path: Path, operator: str, *, shift: int = 0) -> Path:
    """Write a network of one operator; ``shift`` bytes before the weights, so that they lie at any address."""
    inputs, weights, attributes = OPERATORS[operator]
    names = [name for name, *_ in inputs] + list(weights)
    body = helper.make_graph(
        [helper.make_node(operator, names, ["y"], name="node", **attributes)], "g" * (shift + 1),
        [helper.make_tensor_value_info(*value) for value in inputs],
        [helper.make_tensor_value_info("y", inputs[-1][1], None)],
        initializer=[numpy_helper.from_array(array, name) for name, array in weights.items()],
    )  # fmt: skip
    model = helper.make_model(body, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path.write_bytes(model.SerializeToString())
    return path


@pytest.mark.parametrize("operator", OPERATORS)
def test_weights_left_in_the_file_change_no_verdict_wherever_they_lie(tmp_path: Path, operator: str) -> None:
    models = [write(tmp_path / f"{shift}.onnx", operator, shift=shift) for shift in range(8)]
    for whole, checked, is_mapped, *_ in verdicts.of(models):
        assert checked == whole
        assert is_mapped


def test_weights_left_in_the_file_give_the_same_engine(tmp_path: Path) -> None:
    models = [write(tmp_path / f"{operator}.onnx", operator, shift=1) for operator in OPERATORS]
    for whole, in_place, is_mapped, *_ in verdicts.of(models, "--build"):
        assert in_place == whole
        assert is_mapped


def test_a_damaged_model_is_refused_in_the_words_of_the_whole_file(tmp_path: Path) -> None:
    whole_file = networks.conv(tmp_path / "whole.onnx", channels=700).read_bytes()
    chance, models = random.Random(7), [tmp_path / f"{index}.onnx" for index in range(ROUNDS)]
    for model in models:
        data = bytearray(whole_file)
        at = chance.choice([chance.randrange(200), len(data) - chance.randrange(1, 200)])
        data[at] = chance.randrange(256)
        model.write_bytes(data)
    found = verdicts.of(models)
    assert [checked for _, checked, *_ in found] == [whole for whole, *_ in found]
    assert {is_mapped for _, _, is_mapped, *_ in found} == {True, False}


def test_a_check_needs_no_memory_for_the_weights(tmp_path: Path) -> None:
    models = [networks.heavy(tmp_path / f"{layers}.onnx", layers=layers) for layers in (1, 100)]
    weights = models[1].stat().st_size
    assert weights > 100 << 20
    (*_, small, small_check), (*_, large, large_check) = verdicts.of(models)
    assert large - small > 0.9 * weights
    assert large_check - small_check < 0.1 * weights


def test_a_skeleton_has_everything_but_the_large_weights(tmp_path: Path) -> None:
    model = onnx.load(str(networks.heavy(tmp_path / "model.onnx", layers=2)))
    model.graph.initializer.append(numpy_helper.from_array(values(3), "small"))
    data = model.SerializeToString()
    found = skeleton.of(data)
    assert found is not None
    assert {name: data[at : at + size] for name, (at, size) in found.weights.items()} == {
        tensor.name: tensor.raw_data for tensor in model.graph.initializer[:2]
    }
    for tensor in model.graph.initializer[:2]:
        tensor.ClearField("raw_data")
    assert onnx.ModelProto.FromString(found.model) == model


@pytest.mark.parametrize("defect", ["two graphs", "truncated", "a name twice", "no name", "other values"])
def test_what_has_no_skeleton_or_keeps_its_weights(tmp_path: Path, defect: str) -> None:
    model = onnx.load(str(networks.heavy(tmp_path / "model.onnx", layers=2)))
    first, second = model.graph.initializer
    if defect == "a name twice":
        second.name = first.name
    elif defect == "no name":
        first.name = second.name = ""
    elif defect == "other values":
        for tensor in (first, second):
            tensor.float_data.extend(numpy_helper.to_array(tensor).ravel())
            tensor.ClearField("raw_data")
    data = model.SerializeToString()
    data = {"two graphs": data + data, "truncated": data[:-9]}.get(defect, data)
    found = skeleton.of(data)
    if defect in ("two graphs", "truncated"):
        assert found is None
    else:
        assert found is not None
        assert len(found.weights) == (1 if defect == "a name twice" else 0)


def test_a_model_is_loaded_without_its_weights_and_saved_with_them(tmp_path: Path) -> None:
    source = networks.heavy(tmp_path / "model.onnx", layers=2)
    loaded, whole = model_file.load(source), onnx.load(str(source))
    assert loaded.ByteSize() < 2000 < whole.ByteSize()
    assert loaded.graph.node == whole.graph.node
    for tensor, expected in zip(loaded.graph.initializer, whole.graph.initializer, strict=True):
        assert np.array_equal(weights.array(tensor), numpy_helper.to_array(expected))
    model_file.save(loaded, tmp_path / "copy.onnx")
    assert onnx.load(str(tmp_path / "copy.onnx")) == whole
