"""Spectra, loops, branches and defaults as exporters write them: built and the same, or refused by node."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from prepare_models_entrypoint.onnx_graph import loops
from prepare_models_entrypoint.onnx_graph.prepare import prepare
from tests.engine.attempts import attempt

FLOAT, INT64, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL
value, node = helper.make_tensor_value_info, helper.make_node
Y = value("y", FLOAT, None)


def model(nodes: list[Any], inputs: list[Any], opset: int = 20, **constants: Any) -> onnx.ModelProto:
    weights = [numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()]
    graph = helper.make_graph(nodes, "g", inputs, [Y], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def dft(axis: int, parts: int, *, length: int | None = None, opset: int = 20, **settings: Any) -> onnx.ModelProto:
    """A DFT of [3, 4, 6, parts]."""
    inputs, constants = ["x"], {}
    if length is not None:
        inputs, constants = ["x", "length"], {"length": np.int64(length)}
    if opset >= 20:
        inputs = [*inputs, *([""] * (2 - len(inputs))), "axis"]
        constants["axis"] = np.int64(axis)
    else:
        settings["axis"] = axis
    nodes = [node("DFT", inputs, ["y"], name="dft", **settings)]
    return model(nodes, [value("x", FLOAT, [3, 4, 6, parts])], opset, **constants)


def body(name: str, operator: str, made: str, *inputs: str, **settings: Any) -> onnx.GraphProto:
    return helper.make_graph([node(operator, list(inputs), [made], **settings)], name, [], [value(made, FLOAT, None)])


def either() -> onnx.ModelProto:
    then, other = body("t", "DFT", "a", "x", axis=1), body("e", "DFT", "b", "x", axis=1, inverse=1)
    nodes = [node("If", ["c"], ["y"], name="choose", then_branch=then, else_branch=other)]
    return model(nodes, [value("x", FLOAT, [2, 8, 1]), value("c", BOOL, [])], 17)


def window() -> onnx.ModelProto:
    nodes = [node("HannWindow", ["length"], ["w"]), node("STFT", ["x", "step", "w", "length"], ["y"], name="stft")]
    return model(nodes, [value("x", FLOAT, [1, 640, 1])], 17, length=np.int64(64), step=np.int64(16))


def rounds(*start: str, limit: str = "limit", **constants: Any) -> onnx.ModelProto:
    """A loop that ends by its condition."""
    nodes = [node("Add", ["a", "x"], ["b"]), node("Less", ["i", limit], ["more"])]
    inner = helper.make_graph(
        nodes, "body", [value("i", INT64, []), value("c", BOOL, []), value("a", FLOAT, [2])],
        [value("more", BOOL, []), value("b", FLOAT, [2])],
    )  # fmt: skip
    loop = node("Loop", [*start, "x"], ["y"], body=inner, name="loop")
    return model([loop], [value("x", FLOAT, [2])], 17, limit=np.int64(3), **constants)


def collected(*start: str, ends: bool = True, **constants: Any) -> onnx.ModelProto:
    """A loop that collects a row in each round, as TensorFlow's loops over time do. ``ends``: by its condition."""
    go_on = node("Less", ["i", "limit"], ["more"]) if ends else node("Identity", ["c"], ["more"])
    nodes = [node("Add", ["a", "x"], ["b"]), go_on, node("Mul", ["b", "b"], ["row"])]
    inner = helper.make_graph(
        nodes, "body", [value("i", INT64, []), value("c", BOOL, []), value("a", FLOAT, [2])],
        [value("more", BOOL, []), value("b", FLOAT, [2]), value("row", FLOAT, [2])],
    )  # fmt: skip
    loop = node("Loop", [*start, "x"], ["last", "rows"], body=inner, name="loop")
    total = node("ReduceSum", ["rows", "first"], ["y"], keepdims=0, name="total")
    if ends:
        constants["limit"] = np.int64(3)
    return model([loop, total], [value("x", FLOAT, [2])], 17, first=np.array([0]), **constants)


def rate() -> onnx.ModelProto:
    """A sampling rate that has a default; with another, the shape of the result differs."""
    weights = {"k": np.ones((4, 1, 8), np.float32), "high": np.int64(16000), "sr": np.int64(16000)}
    then, other = body("t", "Conv", "a", "x", "k", strides=[8]), body("e", "Conv", "b", "x", "k", strides=[4])
    nodes = [
        node("Equal", ["sr", "high"], ["is_high"]),
        node("If", ["is_high"], ["y"], name="choose", then_branch=then, else_branch=other),
    ]
    return model(nodes, [value("x", FLOAT, [1, 1, 64]), value("sr", INT64, [])], 17, **weights)


MATRIX, LOOPS = "DFT became a matrix product", "loops have a trip count and a condition: loop"
LARGEST = np.int64(2**63 - 1)

# What the model is, what the manifest says of its graph, and what the report tells of the rewriting.
BUILT: dict[str, tuple[Callable[[], onnx.ModelProto], dict[str, Any], str]] = {
    **{
        f"axis {axis}, {parts} parts, {kind}": (
            lambda axis=axis, parts=parts, settings=settings: dft(axis, parts, **settings),  # type: ignore[misc]
            {},
            MATRIX,
        )
        for axis in (0, 1, 2, -2)
        for parts, kind, settings in (
            (1, "forward", {}),
            (2, "forward", {}),
            (1, "one-sided", {"onesided": 1}),
            (1, "one-sided of 7", {"onesided": 1, "length": 7}),
            (2, "inverse", {"inverse": 1}),
            (2, "inverse of 5", {"inverse": 1, "length": 5}),
            (2, "inverse from a half", {"inverse": 1, "onesided": 1}),
            (1, "opset 17", {"opset": 17}),
        )
    },
    "in branches": (either, {}, MATRIX),
    "in the branch that is left": (either, {"constants": {"c": [1]}}, MATRIX),
    "window that is computed": (window, {}, "STFT became a convolution"),
    "no count": (lambda: rounds("", "yes", yes=np.bool_(True)), {}, LOOPS),
    "no condition": (lambda: rounds("n", "", n=np.int64(5)), {}, ""),
    "largest count": (lambda: rounds("n", "yes", n=LARGEST, yes=np.bool_(True)), {}, LOOPS),
    "neither": (lambda: rounds("", ""), {}, LOOPS),
    "collected over a range": (
        lambda: collected("n", "yes", ends=False, n=np.int64(5), yes=np.bool_(True)),
        {},
        "",
    ),
    "inverse from a half of 7": (lambda: dft(1, 2, inverse=1, onesided=1, length=7), {}, MATRIX),
    "default": (rate, {}, ""),
    "default, replaced": (rate, {"constants": {"sr": [8000]}}, "1 of 1 If are decided by onnx.constants"),
}


@pytest.mark.parametrize("kind", BUILT)
def test_what_is_lowered_is_compared_with_its_source(tmp_path: Path, kind: str) -> None:
    make, changes, told = BUILT[kind]
    found = attempt(make(), tmp_path, onnx=changes)
    assert found["error"] is None
    rewritten = [each["message"] for each in found["warnings"] if each["code"] == "model-rewritten"]
    assert bool(rewritten) == bool(told)
    assert all(message.endswith("(compared with the source model in ONNX Runtime)") for message in rewritten)
    assert not told or any(message.startswith(told) for message in rewritten)


SHORT = np.hanning(48).astype(np.float32)
# What the model is, the error's code, and what its message names.
REFUSED: dict[str, tuple[Callable[[], onnx.ModelProto], str, str]] = {
    "one-sided of complex values": (lambda: dft(1, 2, onesided=1), "onnx-node-invalid", "node name: dft"),
    "window of another length": (
        lambda: model(
            [node("STFT", ["x", "step", "w", "length"], ["y"], name="stft")],
            [value("x", FLOAT, [1, 640, 1])],
            17,
            w=SHORT,
            step=np.int64(16),
            length=np.int64(64),
        ),
        "onnx-node-invalid",
        "node name: stft",
    ),
    "collected without a count": (
        lambda: collected("", "yes", yes=np.bool_(True)),
        "onnx-unsupported-operator",
        "Loop at node 'loop'",
    ),
    "collected until a condition ends it": (
        lambda: collected("n", "yes", n=np.int64(9), yes=np.bool_(True)),
        "onnx-unsupported-operator",
        "'loop'",
    ),
    "collected with a count that is never reached": (
        lambda: collected("n", "yes", n=LARGEST, yes=np.bool_(True)),
        "onnx-unsupported-operator",
        "'loop'",
    ),
    "collected with neither": (lambda: collected("", ""), "onnx-unsupported-operator", "Loop at node 'loop'"),
    "inverse of another length": (
        lambda: dft(1, 2, inverse=1, onesided=1, length=5),
        "onnx-unsupported-operator",
        "node 'dft'",
    ),
    "axis that is an input": (
        lambda: model(
            [node("DFT", ["x", "", "a"], ["y"], name="dft")], [value("x", FLOAT, [2, 8, 1]), value("a", INT64, [])]
        ),
        "onnx-unsupported-operator",
        "node 'dft'",
    ),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_can_not_be_lowered_is_named(tmp_path: Path, kind: str) -> None:
    make, code, named = REFUSED[kind]
    error = attempt(make(), tmp_path)["error"]
    assert error["code"] == code
    assert named in error["message"]


def test_spectra_stay_in_fp32_whether_the_parser_takes_them_or_not(tmp_path: Path) -> None:
    product = node("MatMul", ["s", "m"], ["y"], name="product")
    weights = {"step": np.int64(16), "w": np.ones(64, np.float32), "m": np.ones((2, 4), np.float32)}
    stft = model(
        [node("STFT", ["x", "step", "w"], ["s"], name="stft"), product], [value("x", FLOAT, [1, 640, 1])], 17, **weights
    )
    transform = node("DFT", ["x"], ["s"], name="dft", axis=1)
    lowered = model([transform, product], [value("x", FLOAT, [1, 64, 1])], 17, **weights)
    for proto, name in ((stft, "stft"), (lowered, "dft/MatMul")):
        found = attempt(proto, tmp_path, precision="fp16")
        assert found["error"] is None
        assert found["precision_proof"]["layers"].get("fp16") == 1
        assert name in [each["name"] for each in found["precision_proof"]["kept"]]


@pytest.mark.parametrize(
    ("outside", "inside", "is_counted"),
    [
        ("", "t = Constant <value = bool {1}> ()", True),
        ("t = Constant <value = bool {1}> ()", "", True),
        ("", "k = Constant <value_int = 1> () t = Cast <to = 9> (k)", True),
        ("", "t = Constant <value = bool {0}> ()", False),
    ],
)
def test_the_count_decides_where_the_condition_is_a_true_constant(outside: str, inside: str, is_counted: bool) -> None:
    made = onnx.parser.parse_model(
        f"""<ir_version: 8, opset_import: ["" : 17]> g (float[4] x) => (float[3,4] y) <int64 n = {{3}}>
        {{ {outside} y = Loop (n, "") <body = b (int64 i, bool c) => (bool d, float[4] s)
        {{ {inside} d = Identity(t) s = Mul(x, x) }}> }}"""
    )
    assert bool(loops.uncounted(prepare(made))) is not is_counted
