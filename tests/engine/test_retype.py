"""fp16 and bf16 by rewriting: what a model declares stays, its values fit, and what they need stays in fp32."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from prepare_models_entrypoint.onnx_graph import affine, graph, model_file, types
from prepare_models_entrypoint.onnx_graph.prepare import prepare
from prepare_models_entrypoint.onnx_graph.retype import Retyped, retype
from tests import rounding

FLOAT, HALF, UINT8, INT64 = TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.UINT8, TensorProto.INT64
N = helper.make_node
IMAGE = helper.make_tensor_value_info("x", FLOAT, [1, 3, 8, 8])
RNG = np.random.default_rng(0)


def weight(name: str, *shape: int, scale: float = 0.2) -> TensorProto:
    return numpy_helper.from_array((RNG.standard_normal(shape) * scale).astype(np.float32), name)


def number(name: str, value: float, *shape: int) -> TensorProto:
    return numpy_helper.from_array(np.full(shape, value, np.float32), name)


def output(name: str, *shape: int, kind: int = FLOAT) -> Any:
    return helper.make_tensor_value_info(name, kind, shape or None)


def made(
    nodes: list[Any], outputs: list[Any], stored: list[Any], *, inputs: Any = (IMAGE,), opset: int = 17, ir: int = 8,
    functions: Any = (),
) -> onnx.ModelProto:  # fmt: skip
    imports = [helper.make_opsetid("", opset), *(helper.make_opsetid(each.domain, 1) for each in functions)]
    body = helper.make_graph(nodes, "g", list(inputs), outputs, stored)
    return helper.make_model(body, opset_imports=imports, ir_version=ir, functions=list(functions))


def narrowed(model: onnx.ModelProto, target: str = "fp16", **options: Any) -> Retyped:
    """Rewrite a copy of a model, and hold it against what every rewriting promises."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    copy = prepare(copy)
    affine.fold(copy)
    result = retype(copy, target, **options)
    stored = {tensor.name for tensor in model.graph.initializer}
    assert list(result.model.graph.output) == list(model.graph.output)
    assert list(result.model.graph.input) == [value for value in model.graph.input if value.name not in stored]
    onnx.checker.check_model(result.model, full_check=target == "fp16")
    names = [node.name for node in graph.nodes(result.model)]
    assert len(set(names)) == len(names)
    return result


def error(model: onnx.ModelProto, result: Retyped, **feeds: Any) -> float:
    """Return the largest error of any output over its range, with each narrow tensor rounded."""
    feeds = feeds or {"x": RNG.uniform(0, 1, (1, 3, 8, 8)).astype(np.float32)}
    expected = rounding.session(model).run(None, feeds)
    found = rounding.session(rounding.rounded(result.model)).run(None, feeds)
    assert all(np.isfinite(values).all() for values in found)
    return max(float(np.abs(a - b).max() / np.abs(a).max()) for a, b in zip(expected, found, strict=True))


def reasons(result: Retyped) -> dict[str, str]:
    return {node.name: node.reason for node in result.kept if not node.harmless}


CONV = N("Conv", ["x", "w"], ["c"], name="conv")
W = weight("w", 4, 3, 3, 3)
W2 = weight("w2", 4, 4, 1, 1)
C = output("c", 1, 4, 6, 6)
Y = output("y", 1, 4, 6, 6)
SCALES = numpy_helper.from_array(np.array([1, 1, 2, 2], np.float32), "s2")
SWISH = helper.make_function(
    "local", "Swish", ["X"], ["Z"], [N("Sigmoid", ["X"], ["s"]), N("Mul", ["X", "s"], ["Z"])],
    [helper.make_opsetid("", 17)],
)  # fmt: skip

MODELS: dict[str, onnx.ModelProto] = {
    "resize last": made(
        [CONV, N("Resize", ["c", "", "s2"], ["y"], mode="linear")], [output("y", 1, 4, 12, 12)], [W, SCALES]
    ),
    "resize of opset 10": made(
        [CONV, N("Resize", ["c", "s2"], ["y"], mode="nearest")], [output("y", 1, 4, 12, 12)], [W, SCALES], opset=10
    ),
    "empty roi": made(
        [
            N("Constant", [], ["roi"], value=numpy_helper.from_array(np.zeros(0, np.float32))),
            CONV,
            N("Resize", ["c", "roi", "s2"], ["y"], mode="nearest"),
        ],
        [output("y", 1, 4, 12, 12)],
        [W, SCALES],
        opset=11,
    ),
    "cast to float": made(
        [N("Cast", ["i"], ["f"], to=FLOAT), N("Transpose", ["f"], ["x"], perm=[0, 3, 1, 2]), CONV], [C], [W],
        inputs=[helper.make_tensor_value_info("i", UINT8, [1, 8, 8, 3])],
    ),
    "output read inside": made([CONV, N("Conv", ["c", "w2"], ["y"])], [C, Y], [W, W2]),
    "unnamed readers": made(
        [N("Conv", ["x", "w"], ["a"]), N("Conv", ["x", "wb"], ["b"]), N("Add", ["a", "b"], ["y"])],
        [Y], [W, weight("wb", 4, 3, 3, 3)],
    ),
    "names like ours": made(
        [N("Neg", ["x"], ["x_fp16"], name="c_fp16"), N("Conv", ["x_fp16", "w"], ["w_fp16"], name="x_fp16"),
         N("Conv", ["x", "w"], ["c"], name="x_fp16_2"), N("Sub", ["c", "w_fp16"], ["y"])], [Y, C], [W],
    ),
    "value_float": made(
        [N("Constant", [], ["k"], value_float=0.5), N("Mul", ["x", "k"], ["a"]), N("Conv", ["a", "w"], ["y"])], [Y], [W]
    ),
    "value_floats": made(
        [CONV, N("Constant", [], ["k"], value_floats=[0.5]), N("Mul", ["c", "k"], ["y"])], [Y], [W]
    ),
    "sparse constant": made(
        [CONV, N("Constant", [], ["k"], sparse_value=helper.make_sparse_tensor(
            helper.make_tensor("v", FLOAT, [1], [2.0]), helper.make_tensor("at", INT64, [1], [0]), [1])),
         N("Mul", ["c", "k"], ["y"])], [Y], [W],
    ),
    "constant of shape": made(
        [CONV, N("Shape", ["c"], ["s"]), N("ConstantOfShape", ["s"], ["z"], value=number("", 2.0, 1)),
         N("Mul", ["c", "z"], ["y"])], [Y], [W],
    ),
    "old initializers": made(
        [N("Conv", ["x", "w"], ["c"]), N("Clip", ["c"], ["q"], min=0.0, max=6.0), N("Conv", ["q", "w2"], ["y"])],
        [Y], [W, W2], inputs=[IMAGE, *(output(w.name, *w.dims) for w in (W, W2))], opset=7, ir=3,
    ),
    "function": made(
        [CONV, N("Swish", ["c"], ["y"], domain="local")], [Y], [W], functions=[SWISH]
    ),
    "body that reads around it": made(
        [CONV, N("ReduceMax", ["c"], ["m"], keepdims=0), N("Greater", ["m", "k"], ["b"]),
         N("If", ["b"], ["y"],
           then_branch=helper.make_graph([N("Conv", ["c", "w2"], ["t"])], "t", [], [output("t")]),
           else_branch=helper.make_graph([N("Relu", ["c"], ["t"])], "e", [], [output("t")]))],
        [Y], [W, W2, number("k", 0.0)],
    ),
    "body that returns what is around it": made(
        [CONV, N("Relu", ["c"], ["r"]), N("ReduceMax", ["c"], ["m"], keepdims=0), N("Greater", ["m", "k"], ["b"]),
         N("If", ["b"], ["y"],
           then_branch=helper.make_graph([N("Identity", ["r"], ["t"])], "t", [], [output("t")]),
           else_branch=helper.make_graph([N("Neg", ["c"], ["u"])], "e", [], [output("u")]))],
        [Y], [W, number("k", 0.0)],
    ),
    "sequence": made(
        [CONV, N("SequenceConstruct", ["c", "c"], ["q"]), N("ConcatFromSequence", ["q"], ["t"], axis=0),
         N("Relu", ["t"], ["y"])], [output("y", 2, 4, 6, 6)], [W],
    ),
    "index arithmetic": made(
        [CONV, N("Shape", ["c"], ["s"]), N("Cast", ["s"], ["f"], to=FLOAT), N("Mul", ["f", "s2"], ["g"]),
         N("Cast", ["g"], ["h"], to=INT64), N("Resize", ["c", "", "", "h"], ["y"], mode="nearest")],
        [output("y", 1, 4, 12, 12)], [W, SCALES],
    ),
}  # fmt: skip


# ONNX casts to bf16 from opset 13 on.
NARROWED = [(name, "fp16") for name in MODELS]
NARROWED += [(name, "bf16") for name, model in MODELS.items() if model.opset_import[0].version >= 13]


@pytest.mark.parametrize(("name", "target"), NARROWED)
def test_a_model_becomes_narrow_and_computes_the_same(name: str, target: str) -> None:
    model = MODELS[name]
    result = narrowed(model, target)
    assert reasons(result) == {}
    kinds = types.of(result.model)
    kind = HALF if target == "fp16" else TensorProto.BFLOAT16
    convolutions = [node for node in result.model.graph.node if node.op_type == "Conv"]
    assert all(kinds.get(name) == kind for node in convolutions for name in node.input)
    feeds = {"i": RNG.integers(0, 255, (1, 8, 8, 3)).astype(np.uint8)} if name == "cast to float" else {}
    assert error(model, result, **feeds) < (0.005 if target == "fp16" else 0.02)


def test_a_weight_that_is_read_in_two_types_exists_twice() -> None:
    model = made(
        [CONV, N("Conv", ["x2", "w"], ["d"], name="second"), N("Sub", ["c", "d"], ["y"])], [Y], [W],
        inputs=[IMAGE, helper.make_tensor_value_info("x2", FLOAT, [1, 3, 8, 8])],
    )  # fmt: skip
    result = narrowed(model, keep={"second": "the manifest asks for it"})
    assert reasons(result) == {"second": "the manifest asks for it"}
    assert {tensor.name: tensor.data_type for tensor in result.model.graph.initializer} == {"w": FLOAT, "w_fp16": HALF}


def test_a_model_that_is_fp16_already_is_left_alone() -> None:
    half = numpy_helper.from_array(numpy_helper.to_array(W).astype(np.float16), "w")
    inputs = [helper.make_tensor_value_info("x", HALF, [1, 3, 8, 8])]
    model = made([CONV], [output("c", 1, 4, 6, 6, kind=HALF)], [half], inputs=inputs)
    result = narrowed(model)
    assert result.already
    assert result.model.graph.node == model.graph.node


# Nodes behind a convolution "c" of values up to about 3, and the names of those that stay in fp32.
CONSTANTS: dict[str, tuple[list[Any], list[Any], set[str]]] = {
    "what fits is not cut": ([N("Mul", ["c", "k"], ["y"], name="m")], [number("k", 20000.0, 1)], set()),
    "too large": ([N("Mul", ["c", "k"], ["y"], name="m")], [number("k", 1e5, 1)], {"m"}),
    "large, and what reads it": (
        [N("Mul", ["c", "k"], ["a"], name="m"), N("Transpose", ["a"], ["b"], name="t", perm=[0, 1, 3, 2]),
         N("Clip", ["b", "low", "high"], ["d"], name="clip"), N("Relu", ["d"], ["y"], name="r")],
        [number("k", 1e5, 1), number("low", -6e4), number("high", 6e4)], {"m", "t", "clip"},
    ),
    "a mask": (
        [N("Greater", ["c", "z"], ["g"]), N("Cast", ["g"], ["f"], to=FLOAT), N("Mul", ["f", "k"], ["n"], name="m"),
         N("Sub", ["c", "n"], ["b"], name="s"), N("Softmax", ["b"], ["y"], name="sm")],
        [number("k", 3.4e38, 1), number("z", 100.0, 1)], {"m", "s", "sm"},
    ),
    "divided by what is large": ([N("Div", ["c", "k"], ["y"], name="d")], [number("k", 1e6, 1)], {"d"}),
    "a tiny epsilon": (
        [N("Abs", ["c"], ["a"]), N("Add", ["a", "k"], ["b"], name="add"), N("Sqrt", ["b"], ["s"], name="sqrt"),
         N("Div", ["c", "s"], ["d"], name="div"), N("Relu", ["d"], ["y"], name="r")],
        [number("k", 1e-12, 1)], {"add", "sqrt", "div"},
    ),
    "an epsilon that fits": (
        [N("Abs", ["c"], ["a"]), N("Add", ["a", "k"], ["b"]), N("Sqrt", ["b"], ["y"])], [number("k", 1e-5, 1)], set()
    ),
    "infinite": (
        [N("Greater", ["c", "z"], ["g"]), N("Where", ["g", "c", "k"], ["a"], name="w"), N("Softmax", ["a"], ["y"])],
        [number("k", -np.inf, 1), number("z", -1.0, 1)], {"w"},
    ),
    "bounds that no number reaches": (
        [N("Clip", ["c", "low", "high"], ["a"]), N("Min", ["a", "high"], ["b"]), N("Max", ["b", "low"], ["y"])],
        [number("low", -1e9), number("high", 3.4e38)], set(),
    ),
    "a bound that every number reaches": (
        [N("Max", ["c", "k"], ["y"], name="m")], [number("k", 1e6, 1)], {"m"}
    ),
    "a bias that is nothing": (
        [N("Conv", ["c", "v", "k"], ["a"]), N("Clip", ["a", "low"], ["b"]),
         N("MatMul", ["b", "m"], ["d"]), N("Add", ["l", "d"], ["y"])],
        [weight("v", 4, 4, 1, 1), number("k", 1e-8, 4), number("low", 0.0), weight("m", 6, 6), number("l", 1e-9, 6)],
        set(),
    ),
    "small weights among large ones": (
        [N("Mul", ["c", "k"], ["y"], name="m")],
        [numpy_helper.from_array(np.array([1e-9, 1, 2, 3], np.float32).reshape(4, 1, 1), "k")], set(),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CONSTANTS)
def test_what_does_not_fit_stays_with_the_nodes_that_need_it(name: str) -> None:
    nodes, stored, kept = CONSTANTS[name]
    model = made([CONV, *nodes], [Y], [W, *stored])
    result = narrowed(model, samples=True)
    assert set(reasons(result)) == kept
    assert error(model, result) < 0.005


def test_bf16_has_the_range_of_fp32() -> None:
    nodes, stored, _ = CONSTANTS["too large"]
    assert reasons(narrowed(made([CONV, *nodes], [Y], [W, *stored]), "bf16")) == {}


@pytest.mark.parametrize("between", [[], [N("Mul", ["c", "k4"], ["d"], name="m")]])
def test_a_batch_normalization_with_a_large_variance_is_folded_or_brought_to_harmless_values(
    between: list[Any],
) -> None:
    source = "d" if between else "c"
    norm = N("BatchNormalization", [source, "gain", "zero", "zero", "variance"], ["y"], name="bn")
    values = {"gain": 1.0, "zero": 0.0, "variance": 9.8e7}
    stored = [W, number("k4", 1e4), *(number(name, value, 4) for name, value in values.items())]
    model = made([CONV, *between, norm], [Y], stored)
    result = narrowed(model, samples=True)
    assert reasons(result) == {}
    assert error(model, result) < 0.005


NORM = [
    N("Mul", ["x", "x"], ["q"], name="square"),
    N("ReduceSum", ["q"], ["s"], name="sum"),
    N("Sqrt", ["s"], ["r"], name="root"),
    N("Div", ["x", "r"], ["y"], name="div"),
]
VARIANCE = [
    N("ReduceMean", ["x"], ["m"], name="mean", axes=[1]),
    N("Mul", ["m", "m"], ["m2"], name="mean squared"),
    N("Mul", ["x", "x"], ["q"], name="square"),
    N("ReduceMean", ["q"], ["e"], name="mean of squares", axes=[1]),
    N("Sub", ["e", "m2"], ["v"], name="variance"),
    N("Sqrt", ["v"], ["y"], name="root"),
]


COVARIANCE = [
    N("Transpose", ["x"], ["t"], perm=[0, 1, 3, 2]), N("MatMul", ["x", "t"], ["m"], name="product"),
    N("Div", ["m", "k"], ["y"], name="root"),
]  # fmt: skip
ANGLE = [N("Mul", ["x", "k"], ["a"], name="wave"), N("Sin", ["a"], ["y"], name="root")]
INDEX = [
    N("Mul", ["x", "k"], ["a"], name="steps"), N("Floor", ["a"], ["f"], name="floor"),
    N("Cast", ["f"], ["i"], to=INT64, name="root"), N("Cast", ["i"], ["y"], to=FLOAT),
]  # fmt: skip


REMAINDER = [
    N("Div", ["x", "k"], ["a"], name="steps"), N("Floor", ["a"], ["f"], name="floor"),
    N("Mul", ["f", "k"], ["b"], name="whole"), N("Sub", ["x", "b"], ["y"], name="root"),
]  # fmt: skip
NEAREST = [
    N("Mul", ["x", "x"], ["q"], name="square"), N("ReduceSum", ["q", "last"], ["s"], name="sum"),
    N("MatMul", ["x", "codes"], ["p"], name="products"), N("Sub", ["s", "p"], ["d"], name="distances"),
    N("ArgMin", ["d"], ["i"], axis=3, name="root"), N("Cast", ["i"], ["y"], to=FLOAT),
]  # fmt: skip
CERTAIN = [
    N("Sub", ["x", "three hundred"], ["a"], name="shift"), N("Sigmoid", ["a"], ["s"], name="sigmoid"),
    N("Sub", ["one", "s"], ["r"], name="rest"),
    N("Log", ["r"], ["y"], name="root"),
]  # fmt: skip
SCALED = [N("Mul", ["x", "big"], ["a"], name="up"), N("Div", ["a", "big"], ["y"], name="root")]
SUMMED = [N("CumSum", ["x", "last"], ["c"], name="root"), N("Div", ["c", "big"], ["y"], name="mean")]


@pytest.mark.parametrize(("nodes", "shape"), [
    (NORM, (1, 3, 8, 8)), (VARIANCE, (1, 1, 8, 8)), (COVARIANCE, (1, 3, 8, 8)), (ANGLE, (1, 3, 8, 8)),
    (INDEX, (1, 3, 8, 8)), (REMAINDER, (1, 3, 8, 8)), (NEAREST, (1, 3, 8, 1)), (CERTAIN, (1, 3, 8, 8)),
    (SCALED, (1, 3, 8, 8)), (SUMMED, (1, 3, 8, 8)),
])  # fmt: skip
def test_what_fp16_often_ruins_stays_in_fp32_where_no_samples_show_the_range(
    nodes: list[Any], shape: tuple[int, ...]
) -> None:
    numbers = {"k": 7.3, "one": 1.0, "three hundred": 300.0, "big": 4000.0}
    stored = [number(name, value) for name, value in numbers.items()]
    stored += [
        numpy_helper.from_array(np.array([3], np.int64), "last"),
        numpy_helper.from_array((np.eye(8) - np.eye(8)[::-1])[:, :5].astype(np.float32), "codes"),
    ]
    model = made(nodes, [output("y", *shape)], stored)
    careful = narrowed(model)
    assert set(reasons(careful)) == {node.name for node in nodes if node.name and node.op_type != "Transpose"}
    (warning,) = careful.warnings
    assert (warning["code"], "root" in warning["message"]) == ("precision-precaution", True)
    feeds = {"x": (RNG.standard_normal((1, 3, 8, 8)) + 300).astype(np.float32)}
    assert error(model, careful, **feeds) < 0.005
    assert narrowed(model, samples=True).kept == []


def test_a_softmax_in_single_steps_leaves_the_layers_behind_it_in_fp16() -> None:
    nodes = [
        N("ReduceMax", ["x"], ["most"], axes=[3], name="most"), N("Sub", ["x", "most"], ["a"], name="left"),
        N("Exp", ["a"], ["e"], name="exp"), N("ReduceSum", ["e", "last"], ["s"], name="sum"),
        N("Div", ["e", "s"], ["p"], name="shares"), N("MatMul", ["p", "codes"], ["y"], name="mixed"),
    ]  # fmt: skip
    stored = [numpy_helper.from_array(np.array([3], np.int64), "last"), weight("codes", 8, 5)]
    assert reasons(narrowed(made(nodes, [output("y", 1, 3, 8, 5)], stored))).keys() == {"exp", "sum", "shares"}


def test_a_mean_that_is_a_sum_and_a_division_leaves_the_layers_before_it_in_fp16() -> None:
    nodes = [
        CONV, N("Relu", ["c"], ["r"], name="relu"), N("ReduceSum", ["r", "places"], ["s"], name="sum"),
        N("Div", ["s", "many"], ["y"], name="mean"),
    ]  # fmt: skip
    stored = [W, number("many", 3136), numpy_helper.from_array(np.array([2, 3], np.int64), "places")]
    assert reasons(narrowed(made(nodes, [output("y", 1, 4, 1, 1)], stored))).keys() == {"sum", "mean"}


def test_what_may_overflow_is_named() -> None:
    nodes = [CONV, N("Mul", ["c", "c"], ["e"], name="square"), N("Pow", ["e", "k"], ["y"], name="steep")]
    (warning,) = narrowed(made(nodes, [Y], [W, number("k", 3.0, 1)])).warnings
    assert warning["code"] == "precision-suspects"
    assert all(name in warning["message"] for name in ("square", "steep"))


def test_arithmetic_on_whole_numbers_stays_exact() -> None:
    nodes = [N("Cast", ["i"], ["f"], to=FLOAT), N("Mul", ["f", "k"], ["y"], name="m")]
    inputs = [helper.make_tensor_value_info("i", INT64, [1, 4])]
    result = narrowed(made(nodes, [output("y", 1, 4)], [number("k", 0.001, 1)], inputs=inputs))
    assert [(node.name, node.harmless) for node in result.kept] == [("m", True)]


def test_large_weights_are_never_in_memory(tmp_path: Path) -> None:
    model = made([CONV], [output("c", 1, 1024, 6, 6)], [weight("w", 1024, 3, 3, 3, scale=0.05)])
    onnx.save(model, str(tmp_path / "model.onnx"))
    loaded = model_file.load(tmp_path / "model.onnx")
    result = retype(prepare(loaded), "fp16")
    assert result.model.ByteSize() < 2000
    model_file.save(result.model, tmp_path / "narrow.onnx")
    (saved,) = onnx.load(str(tmp_path / "narrow.onnx")).graph.initializer
    expected = numpy_helper.to_array(model.graph.initializer[0]).astype(np.float16)
    assert np.array_equal(numpy_helper.to_array(saved), expected)
