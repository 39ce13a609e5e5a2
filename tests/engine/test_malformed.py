"""Models that break ONNX's rules, and that TensorRT-RTX builds all the same: refused, with the node named."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from prepare_models_entrypoint.onnx_graph import rules
from tests.command import Workplace
from tests.engine.attempts import attempt

FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64
value, node = helper.make_tensor_value_info, helper.make_node
W = np.ones((4, 4, 3, 3), np.float32)
TWICE = np.array([1, 1, 2, 2], np.float32)
X = value("x", FLOAT, [1, 4, 8, 8])


def model(
    *nodes: onnx.NodeProto, opset: int = 17, x: Any = X, y: int = FLOAT, shape: Any = None, **constants: Any
) -> onnx.ModelProto:
    weights = [numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()]
    graph = helper.make_graph(list(nodes), "g", [x], [value("y", y, shape)], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def one(
    operator: str, *constants: Any, opset: int = 17, skip: int = 0, x: Any = X, y: int = FLOAT, **attributes: Any
) -> onnx.ModelProto:
    """A model of one operator ``bad`` that reads ``x``, nothing for ``skip`` inputs, and constants."""
    given = {f"c{index}": array for index, array in enumerate(constants)}
    bad = node(operator, ["x", *[""] * skip, *given], ["y"], name="bad", **attributes)
    return model(bad, opset=opset, x=x, y=y, **given)


def recurrent(**attributes: Any) -> onnx.ModelProto:
    bad = node("LSTM", ["x", "w", "r"], ["y"], name="bad", hidden_size=5, **attributes)
    weights, recurrence = np.ones((1, 20, 4), np.float32), np.ones((1, 20, 5), np.float32)
    return model(bad, x=value("x", FLOAT, [3, 1, 4]), w=weights, r=recurrence)


def changed(proto: onnx.ModelProto, change: Callable[[onnx.ModelProto], object]) -> onnx.ModelProto:
    change(proto)
    return proto


def branch(bad: onnx.NodeProto) -> onnx.ModelProto:
    then = helper.make_graph([bad], "then", [], [value("y", FLOAT, None)])
    other = helper.make_graph([node("Identity", ["x"], ["z"])], "else", [], [value("z", FLOAT, None)])
    condition = node("ReduceMax", ["x"], ["most"], keepdims=0)
    positive = node("Greater", ["most", "zero"], ["c"])
    choose = node("If", ["c"], ["y"], name="choose", then_branch=then, else_branch=other)
    return model(condition, positive, choose, w=W, zero=np.float32(0))


GROUP = {"name": "group", "i": 2, "type": onnx.AttributeProto.INT}
GRID, ROIS = np.zeros((1, 8, 8, 2), np.float32), (np.zeros((2, 4), np.float32), np.zeros(2, np.int64))
BYTES = value("x", TensorProto.UINT8, [4])
# What the model is, and what the message says after the node's name. TensorRT-RTX builds each without a word, or dies.
NODES: dict[str, tuple[Callable[[], onnx.ModelProto], str]] = {
    "padding of Conv": (lambda: one("Conv", W, auto_pad="NONSENSE"), "auto_pad is 'NONSENSE'"),
    "padding of ConvTranspose": (lambda: one("ConvTranspose", W, auto_pad="same"), "auto_pad is 'same'"),
    "padding in small letters": (lambda: one("MaxPool", kernel_shape=[2, 2], auto_pad="valid"), "auto_pad is 'valid'"),
    "too few pads": (lambda: one("Conv", W, pads=[1, 1]), "pads has incorrect size"),
    "too many strides": (lambda: one("Conv", W, strides=[1, 1, 1]), "strides has incorrect size"),
    "kernel of another size": (lambda: one("Conv", W, kernel_shape=[5, 5]), "kernel_shape is [5, 5]"),
    "ceiling of 7": (lambda: one("MaxPool", kernel_shape=[2, 2], ceil_mode=7), "ceil_mode is 7"),
    "order of 9": (lambda: one("MaxPool", kernel_shape=[2, 2], storage_order=9), "storage_order is 9"),
    "counting of 5": (lambda: one("AveragePool", kernel_shape=[2, 2], count_include_pad=5), "count_include_pad is 5"),
    "transposed by 7": (
        lambda: model(node("Flatten", ["x"], ["f"]), node("Gemm", ["f", "w"], ["y"], name="bad", transB=7),
                      w=np.ones((5, 256), np.float32)),
        "transB is 7",
    ),
    "rounding of Resize": (lambda: one("Resize", TWICE, skip=1, nearest_mode="up"), "nearest_mode is 'up'"),
    "mode of DepthToSpace": (lambda: one("DepthToSpace", blocksize=2, mode="RCD"), "mode is 'RCD'"),
    "padding of GridSample": (lambda: one("GridSample", GRID, padding_mode="no"), "padding_mode is 'no'"),
    "mode of RoiAlign": (lambda: one("RoiAlign", *ROIS, mode="min"), "mode is 'min'"),
    "direction of BitShift": (
        lambda: one("BitShift", np.uint8(1), x=BYTES, y=TensorProto.UINT8, direction="up"), "direction is 'up'",
    ),
    "direction of LSTM": (lambda: recurrent(direction="both"), "direction is 'both'"),
    "activation of LSTM": (lambda: recurrent(activations=["Swish", "Tanh", "Tanh"]), "activations is 'Swish'"),
    "layout of LSTM": (lambda: recurrent(layout=5), "layout is 5"),
    "short permutation": (lambda: one("Transpose", perm=[0, 1]), "perm is [0, 1], for 4 axes"),
    "permutation from the end": (lambda: one("Transpose", perm=[0, 1, 2, -1]), "not a permutation"),
    "place outside": (lambda: one("Gather", np.array([0, 99]), axis=1), "indices 0 to 99 of an axis of 4"),
    "split of less": (
        lambda: model(node("Split", ["x", "s"], ["y", "z"], axis=1, name="bad"), s=np.array([1, 1])),
        "Mismatch between the sum of 'split'",
    ),
    "expansion that does not fit": (lambda: one("Expand", np.array([1, 4, 8, 7])), "Incompatible dimensions"),
    "attribute of another type": (lambda: one("Elu", alpha="x"), "Mismatched attribute type"),
    "unknown attribute": (lambda: one("Conv", W, nonsense=3), "Unrecognized attribute: nonsense"),
    "attribute without a type": (
        lambda: changed(one("Conv", W), lambda made: made.graph.node[0].attribute.add(name="group", i=1)),
        "Field 'type'",
    ),
    "attribute twice": (
        lambda: changed(one("Conv", W, group=1), lambda made: made.graph.node[0].attribute.add(**GROUP)),
        "'group' appeared multiple times",
    ),
    "too many inputs": (lambda: one("Relu", TWICE), "input size 2 not in range"),
    "no output": (
        lambda: model(node("Relu", ["x"], ["y"]), node("Relu", ["x"], [], name="bad")), "output size 0 not in range",
    ),
    "operator that is no more": (lambda: one("Upsample", TWICE, mode="nearest"), "deprecated"),
    "another type than declared": (lambda: one("Relu", y=INT64), "Inferred elem type differs"),
    "in a branch": (
        lambda: branch(node("Conv", ["x", "w"], ["y"], name="bad", auto_pad="NONSENSE")), "auto_pad is 'NONSENSE'",
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", NODES)
def test_a_node_that_breaks_the_rules_is_named(tmp_path: Path, kind: str) -> None:
    make, told = NODES[kind]
    for check_only in (True, False):
        error = attempt(make(), tmp_path, check_only=check_only)["error"]
        assert error is not None
        assert (error["code"], "bad" in error["message"], told in error["message"]) == ("onnx-node-invalid", True, True)


def two_values(proto: onnx.ModelProto) -> None:
    proto.graph.initializer[0].float_data.extend([1.0] * 144)


GRAPHS: dict[str, tuple[Callable[[], onnx.ModelProto], str, str]] = {
    "version 0": (lambda: one("Relu", opset=0), "onnx-invalid", "version 0"),
    "version 999": (lambda: one("Relu", opset=999), "onnx-invalid", "version 999"),
    "two versions": (
        lambda: changed(one("Relu"), lambda made: made.opset_import.add(domain="ai.onnx", version=11)),
        "onnx-invalid", "11, 17",
    ),
    "a constant of more bytes": (
        lambda: changed(one("Conv", W), lambda made: made.graph.initializer[0].dims.__setitem__(0, 2)),
        "onnx-node-invalid", "'c0' of shape [2, 4, 3, 3]",
    ),
    "a constant of no known type": (
        lambda: changed(one("Conv", W), lambda made: setattr(made.graph.initializer[0], "data_type", 99)),
        "onnx-node-invalid", "'c0' has the element type 99",
    ),
    "a constant of two values": (lambda: changed(one("Conv", W), two_values), "onnx-node-invalid", "'c0'"),
}  # fmt: skip


@pytest.mark.parametrize("kind", GRAPHS)
def test_a_graph_that_breaks_the_rules_is_refused(tmp_path: Path, kind: str) -> None:
    make, code, told = GRAPHS[kind]
    error = attempt(make(), tmp_path)["error"]
    assert (error["code"], told in error["message"]) == (code, True)


# Against the letter of the rules, and yet without a doubt about what is meant.
TAKEN: dict[str, Callable[[], onnx.ModelProto]] = {
    "nodes in another order": lambda: model(node("Relu", ["a"], ["y"]), node("Sigmoid", ["x"], ["a"])),
    "nodes of one name": lambda: model(node("Relu", ["x"], ["a"], name="n"), node("Relu", ["a"], ["y"], name="n")),
    "another shape than declared": lambda: model(node("Relu", ["x"], ["y"]), shape=[2, 4, 8, 8]),
    "an operator of a later version": lambda: one("LayerNormalization", np.ones(8, np.float32), opset=13),
}


@pytest.mark.parametrize("kind", TAKEN)
def test_what_is_beyond_doubt_is_built(tmp_path: Path, kind: str) -> None:
    assert attempt(TAKEN[kind](), tmp_path, check_only=False)["error"] is None


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # of numpy, where onnx makes its models
def test_the_rules_object_to_none_of_onnx_s_own_models() -> None:
    from onnx.backend.test.case.node import collect_testcases

    models = [case.model for case in collect_testcases(None) if case.model is not None]
    assert len(models) > 1000
    for each in models:
        rules.check(each)


def test_run_and_check_name_the_node_in_every_precision(place: Workplace) -> None:
    onnx.save(one("Conv", W, auto_pad="NONSENSE"), place.folder / "net.onnx")
    place.write(
        *({"name": each, "source": "net.onnx", "precision": each, "verify": {}} for each in ("fp32", "fp16", "auto"))
    )
    for result in (place.run(), place.call("check", str(place.manifest), "--json")):
        errors = [each["error"] for each in result.report["models"]]
        assert [error["code"] for error in errors] == ["onnx-node-invalid"] * 3
        assert all("node 'bad' (Conv)" in error["message"] for error in errors)
