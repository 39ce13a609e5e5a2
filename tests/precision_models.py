"""Well-formed models that rewriting to another precision tends to break, each for a reason of its own."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper, parser

FLOAT, HALF, INT64, BOOL = TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.INT64, TensorProto.BOOL
node = helper.make_node
RANDOM = np.random.default_rng(5)
SQUARE = (RANDOM.standard_normal((8, 8)) * 0.3).astype(np.float32)


def value(name: str, shape: Any = (2, 8), kind: int = FLOAT) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)


def tensor(name: str, values: Any, dtype: Any = np.float32) -> TensorProto:
    return numpy_helper.from_array(np.asarray(values, dtype), name)


def model(nodes: Any, *weights: TensorProto, x: Any = None, y: Any = None, opset: int = 17, **more: Any) -> Any:
    graph = helper.make_graph(list(nodes), "odd", x or [value("x")], y or [value("y")], list(weights))
    opsets = [helper.make_opsetid("", opset), *more.pop("opsets", [])]
    return helper.make_model(graph, opset_imports=opsets, ir_version=more.pop("ir", 8), **more)


def body(nodes: Any, inputs: Any, outputs: Any, *weights: TensorProto) -> onnx.GraphProto:
    return helper.make_graph(list(nodes), "body", list(inputs), list(outputs), list(weights))


def sandwiched(*nodes: Any, weights: Any = (), **more: Any) -> Any:
    """Put nodes from ``h`` to ``g`` between two matrix products."""
    ends = [node("MatMul", ["x", "w_in"], ["h"]), *nodes, node("MatMul", ["g", "w_out"], ["y"])]
    return model(ends, tensor("w_in", SQUARE), tensor("w_out", SQUARE), *weights, **more)


def large_factor() -> Any:
    return sandwiched(
        node("Mul", ["h", "c"], ["b"]), node("Mul", ["b", "d"], ["g"]), weights=[tensor("c", 1e5), tensor("d", 1e-5)]
    )


def large_weights() -> Any:
    return sandwiched(
        node("MatMul", ["h", "w"], ["b"]), node("Mul", ["b", "d"], ["g"]),
        weights=[tensor("w", SQUARE * 3e5), tensor("d", 1e-5)],
    )  # fmt: skip


def infinite_mask() -> Any:
    mask = np.where(np.tri(2, 8, 4), 0.0, -np.inf)
    return sandwiched(node("Add", ["h", "m"], ["b"]), node("Softmax", ["b"], ["g"]), weights=[tensor("m", mask)])


def masked_by_where() -> Any:
    return sandwiched(
        node("Constant", [], ["low"], value_float=-3.4028234663852886e38),
        node("Where", ["mask", "h", "low"], ["b"]), node("Softmax", ["b"], ["g"]),
        weights=[tensor("mask", np.tri(2, 8, 4), np.bool_)],
    )  # fmt: skip


def tiny_epsilon() -> Any:
    return sandwiched(
        node("Mul", ["h", "h"], ["s"]), node("ReduceMean", ["s"], ["m"], axes=[1]), node("Add", ["m", "e"], ["v"]),
        node("Sqrt", ["v"], ["r"]), node("Div", ["h", "r"], ["g"]), weights=[tensor("e", 1e-12)],
    )  # fmt: skip


def tiny_weights() -> Any:
    return sandwiched(
        node("MatMul", ["h", "w"], ["b"]), node("Mul", ["b", "d"], ["g"]),
        weights=[tensor("w", SQUARE * 1e-9), tensor("d", 1e9)],
    )  # fmt: skip


def every_constant() -> Any:
    sparse = helper.make_sparse_tensor(tensor("v", [0.5, -0.5]), tensor("i", [1, 9], np.int64), [2, 8])
    return sandwiched(
        node("Constant", [], ["c1"], value_float=0.5), node("Constant", [], ["c2"], value_floats=[0.1] * 8),
        node("Constant", [], ["i1"], value_int=1), node("Constant", [], ["i2"], value_ints=[2, 8]),
        node("Constant", [], ["c3"], value=tensor("", np.full((1, 8), 0.25))),
        node("Constant", [], ["c4"], sparse_value=sparse),
        node("ConstantOfShape", ["i2"], ["c5"], value=tensor("", [0.125])),
        node("Mul", ["h", "c1"], ["b1"]), node("Add", ["b1", "c2"], ["b2"]), node("Add", ["b2", "c3"], ["b3"]),
        node("Add", ["b3", "c4"], ["b4"]), node("Add", ["b4", "c5"], ["b5"]),
        node("CumSum", ["b5", "i1"], ["b6"]), node("Reshape", ["b6", "i2"], ["g"]),
    )  # fmt: skip


def colliding_names() -> Any:
    nodes = [
        node("MatMul", ["x", "w"], ["x_fp16"], name="y_fp16"),
        node("Relu", ["x_fp16"], ["w_fp16"], name="x_fp16"),
        node("MatMul", ["w_fp16", "w"], ["y_wide"], name="w"),
        node("Exp", ["y_wide"], ["y_exact"], name="y_exact_2"),
        node("Add", ["y_exact", "w_fp16"], ["y"], name="x"),
    ]
    return model(nodes, tensor("w", SQUARE))


def function_of_functions() -> Any:
    inner = helper.make_function(
        "mine", "Inner", ["a"], ["b"],
        [node("Constant", [], ["k"]), node("Mul", ["a", "k"], ["b"])], [helper.make_opsetid("", 17)], ["factor"],
    )  # fmt: skip
    reference = onnx.AttributeProto(name="value_float", ref_attr_name="factor", type=onnx.AttributeProto.FLOAT)
    inner.node[0].attribute.append(reference)
    outer = helper.make_function(
        "mine", "Outer", ["a"], ["c"],
        [node("Inner", ["a"], ["b"], domain="mine", factor=0.5),
         node("Inner", ["b"], ["c"], domain="mine", factor=4.0)],
        [helper.make_opsetid("", 17), helper.make_opsetid("mine", 1)],
    )  # fmt: skip
    middle = [node("Outer", ["h"], ["b"], domain="mine"), node("Outer", ["b"], ["g"], domain="mine")]
    return sandwiched(*middle, functions=[inner, outer], opsets=[helper.make_opsetid("mine", 1)])


def branches() -> Any:
    then = body([node("MatMul", ["h", "inner"], ["t"])], [], [value("t")], tensor("inner", SQUARE))
    other = body([node("Constant", [], ["k"], value_float=2.0), node("Mul", ["h", "k"], ["e"])], [], [value("e")])
    return sandwiched(
        node("ReduceSum", ["x"], ["s"], keepdims=0), node("Greater", ["s", "zero"], ["c"]),
        node("If", ["c"], ["g"], then_branch=then, else_branch=other), weights=[tensor("zero", 0.0)],
    )  # fmt: skip


def branch_that_gives_what_is_outside() -> Any:
    then = body([node("Identity", ["h"], ["t"])], [], [value("t")])
    other = body([node("Relu", ["h"], ["e"])], [], [value("e")])
    return model(
        [node("MatMul", ["x", "w"], ["h"]), node("If", ["c"], ["y"], then_branch=then, else_branch=other)],
        tensor("w", SQUARE), tensor("c", True, np.bool_),
    )  # fmt: skip


def loop_with_scan() -> Any:
    inside = body(
        [node("MatMul", ["state", "w"], ["p"]), node("Tanh", ["p"], ["next"]), node("Identity", ["next"], ["kept"]),
         node("Identity", ["go"], ["still"])],
        [value("turn", (), INT64), value("go", (), BOOL), value("state")],
        [value("still", (), BOOL), value("next"), value("kept")],
    )  # fmt: skip
    nodes = [
        node("Loop", ["turns", "", "x"], ["last", "all"], body=inside),
        node("ReduceMean", ["all"], ["mean"], axes=[0], keepdims=0), node("Add", ["last", "mean"], ["y"]),
    ]  # fmt: skip
    return model(nodes, tensor("turns", 3, np.int64), tensor("w", SQUARE))


def scan() -> Any:
    step = body(
        [node("Add", ["sum", "row"], ["next"]), node("Sigmoid", ["next"], ["out"])],
        [value("sum", (8,)), value("row", (8,))], [value("next", (8,)), value("out", (8,))],
    )  # fmt: skip
    nodes = [node("MatMul", ["x", "w"], ["h"]), node("Scan", ["zeros", "h"], ["s", "y"], body=step, num_scan_inputs=1)]
    return model(nodes, tensor("w", SQUARE), tensor("zeros", np.zeros(8)))


def outputs_of_every_kind() -> Any:
    nodes = [
        node("MatMul", ["x", "w"], ["h"]), node("Relu", ["h"], ["y"]), node("MatMul", ["y", "w"], ["z"]),
        node("ArgMax", ["z"], ["index"], axis=1),
        node("TopK", ["z", "k"], ["best", "where"]), node("Identity", ["x"], ["same"]),
        node("Cast", ["z"], ["half"], to=HALF), node("Identity", ["w"], ["weights"]), node("Shape", ["z"], ["size"]),
    ]  # fmt: skip
    outputs = [
        value("y"), value("z"), value("index", (2, 1), INT64), value("best", (2, 3)), value("where", (2, 3), INT64),
        value("same"), value("half", (2, 8), HALF), value("weights", (8, 8)), value("size", (2,), INT64),
    ]  # fmt: skip
    return model(nodes, tensor("w", SQUARE), tensor("k", [3], np.int64), y=outputs)


def mixed_types() -> Any:
    return sandwiched(
        node("Cast", ["h"], ["a"], to=HALF), node("Relu", ["a"], ["b"]), node("CastLike", ["b", "x"], ["c"]),
        node("Cast", ["c"], ["d"], to=TensorProto.DOUBLE), node("Exp", ["d"], ["e"]),
        node("Cast", ["e"], ["g"], to=FLOAT),
    )  # fmt: skip


def large_input() -> Any:
    """Its range is in the input: ``x`` up to 200,000, scaled down at once."""
    return model(
        [node("Mul", ["x", "s"], ["n"]), node("MatMul", ["n", "w"], ["y"])], tensor("s", 1e-5), tensor("w", SQUARE)
    )


def normalization_with_large_variance() -> Any:
    nodes = [
        node("Conv", ["x", "k"], ["c"]), node("BatchNormalization", ["c", "g", "b", "m", "v"], ["n"]),
        node("Relu", ["n"], ["r"]), node("BatchNormalization", ["r", "g", "b", "m", "v"], ["y"]),
    ]  # fmt: skip
    many = [
        tensor("g", np.full(4, 3e4)),
        tensor("b", np.ones(4)),
        tensor("m", np.full(4, 1e5)),
        tensor("v", np.full(4, 1e12)),
    ]
    kernel = tensor("k", RANDOM.standard_normal((4, 3, 1, 1)) * 1e5)
    shape, out = (1, 3, 4, 4), (1, 4, 4, 4)
    return model(nodes, kernel, *many, x=[value("x", shape)], y=[value("y", out)])


def resizing() -> Any:
    nodes = [
        node("Shape", ["x"], ["s"]), node("Slice", ["s", "two", "four"], ["hw"]), node("Cast", ["hw"], ["f"], to=FLOAT),
        node("Mul", ["f", "factor"], ["g"]), node("Cast", ["g"], ["i"], to=INT64),
        node("Slice", ["s", "zero", "two"], ["nc"]),
        node("Concat", ["nc", "i"], ["sizes"], axis=0), node("Resize", ["x", "", "", "sizes"], ["r"], mode="linear"),
        node("Conv", ["r", "k"], ["y"]),
    ]  # fmt: skip
    integers = [tensor(name, [number], np.int64) for name, number in (("zero", 0), ("two", 2), ("four", 4))]
    return model(
        nodes, tensor("factor", 2.0), tensor("k", RANDOM.standard_normal((4, 3, 1, 1)) * 0.3), *integers,
        x=[value("x", (1, 3, 6, 6))], y=[value("y", (1, 4, 12, 12))],
    )  # fmt: skip


def recurrent() -> Any:
    w, r = (RANDOM.standard_normal((1, 16, size)) * 0.3 for size in (8, 4))
    nodes = [
        node("Unsqueeze", ["x", "axis"], ["u"]),
        node("LSTM", ["u", "w", "r", "", "", "h0"], ["o", "", "c"], hidden_size=4),
        node("Squeeze", ["c", "axis"], ["y"]),
    ]  # fmt: skip
    return model(
        nodes, tensor("axis", [0], np.int64), tensor("w", w), tensor("r", r), tensor("h0", np.zeros((1, 2, 4))),
        y=[value("y", (2, 4))],
    )  # fmt: skip


def embedding() -> Any:
    nodes = [
        node("Gather", ["table", "x"], ["e"]),
        node("ReduceMean", ["e"], ["m"], axes=[1], keepdims=0),
        node("MatMul", ["m", "w"], ["y"]),
    ]
    table = RANDOM.standard_normal((300, 8))
    return model(nodes, tensor("table", table), tensor("w", SQUARE), x=[value("x", (2, 5), INT64)])


def powers_of_integers() -> Any:
    return sandwiched(
        node("Pow", ["h", "two"], ["p"]), node("Add", ["p", "one"], ["q"]), node("Pow", ["q", "half"], ["g"]),
        weights=[tensor("two", 2, np.int64), tensor("one", 1.0), tensor("half", 0.5)],
    )  # fmt: skip


def sequences() -> Any:
    return sandwiched(
        node("SplitToSequence", ["h", "four"], ["s"], axis=1), node("SequenceAt", ["s", "zero"], ["a"]),
        node("SequenceAt", ["s", "one"], ["b"]), node("SequenceConstruct", ["b", "a"], ["t"]),
        node("ConcatFromSequence", ["t"], ["g"], axis=1),
        weights=[tensor("four", 4, np.int64), tensor("zero", 0, np.int64), tensor("one", 1, np.int64)],
    )  # fmt: skip


def empty_names() -> Any:
    return sandwiched(
        node("Clip", ["h", "", "six"], ["a"]), node("Dropout", ["a"], ["b", ""]),
        node("Pad", ["b", "pads", "", "axes"], ["c"]), node("Slice", ["c", "one", "nine", "last"], ["d"]),
        node("Identity", ["d"], ["g"]),
        weights=[tensor("six", 6.0), tensor("pads", [1, 1], np.int64), tensor("axes", [1], np.int64),
                 tensor("one", [1], np.int64), tensor("nine", [9], np.int64), tensor("last", [1], np.int64)],
        opset=18,
    )  # fmt: skip


def dynamically_quantized() -> Any:
    eight = RANDOM.integers(-100, 100, (8, 8))
    return sandwiched(
        node("DynamicQuantizeLinear", ["h"], ["q", "s", "z"]), node("MatMulInteger", ["q", "w8", "z"], ["i"]),
        node("Cast", ["i"], ["f"], to=FLOAT), node("Mul", ["s", "ws"], ["t"]), node("Mul", ["f", "t"], ["g"]),
        weights=[tensor("w8", eight, np.int8), tensor("ws", 0.003)],
    )  # fmt: skip


def sparse_weights() -> Any:
    made = model([node("MatMul", ["x", "w"], ["y"])])
    values = tensor("w", [0.5, -1.5, 2.0])
    made.graph.sparse_initializer.append(
        helper.make_sparse_tensor(values, tensor("w_at", [0, 9, 60], np.int64), [8, 8])
    )
    return made


def positions() -> Any:
    """Sines of integer positions times frequencies, as transformers have them."""
    numbers = (("zero", 0), ("eight", 8), ("one", 1))
    return sandwiched(
        node("Range", ["zero", "eight", "one"], ["p"]), node("Cast", ["p"], ["f"], to=FLOAT),
        node("Mul", ["f", "thousand"], ["a"]), node("Sin", ["a"], ["s"]), node("Add", ["h", "s"], ["g"]),
        weights=[*(tensor(name, number, np.int64) for name, number in numbers), tensor("thousand", 1000.5)],
    )  # fmt: skip


def many_equal_names() -> Any:
    return model([node("MatMul", ["x", "w"], ["a"], name="n"), node("Relu", ["a"], ["b"], name="n"),
                  node("MatMul", ["b", "w"], ["y"], name="n")], tensor("w", SQUARE))  # fmt: skip


def old_opset() -> Any:
    return model(
        [node("MatMul", ["x", "w"], ["a"]), node("Clip", ["a"], ["b"], min=0.0, max=6.0),
         node("Softmax", ["b"], ["c"], axis=1), node("Unsqueeze", ["c"], ["d"], axes=[0]),
         node("Squeeze", ["d"], ["y"], axes=[0])],
        tensor("w", SQUARE), opset=9, ir=3, x=[value("x"), value("w", (8, 8))],
    )  # fmt: skip


def named_domain() -> Any:
    made = model([node("MatMul", ["x", "w"], ["a"], domain="ai.onnx"), node("Relu", ["a"], ["y"])], tensor("w", SQUARE))
    made.opset_import[0].domain = "ai.onnx"
    return made


def text_of(source: str) -> Any:
    return parser.parse_model(source)


def bfloat16_already() -> Any:
    return text_of(
        """<ir_version: 8, opset_import: ["" : 17]> g (float[2,8] x) => (float[2,8] y) {
        a = Cast<to: int = 16>(x) b = Add(a, a) y = Cast<to: int = 1>(b) }"""
    )


MODELS = {
    make.__name__: make
    for make in (
        large_factor, large_weights, infinite_mask, masked_by_where, tiny_epsilon, tiny_weights, every_constant,
        colliding_names, function_of_functions, branches, branch_that_gives_what_is_outside, loop_with_scan, scan,
        outputs_of_every_kind, mixed_types, large_input, normalization_with_large_variance, resizing, recurrent,
        embedding, powers_of_integers, sequences, empty_names, dynamically_quantized, sparse_weights, positions,
        many_equal_names, old_opset, named_domain, bfloat16_already,
    )
}  # fmt: skip


def feeds(made: onnx.ModelProto, name: str) -> dict[str, Any]:
    """Return values for the inputs of a model."""
    random = np.random.default_rng(3)
    stored = {each.name for each in made.graph.initializer}
    found = {}
    for each in made.graph.input:
        kind = each.type.tensor_type
        shape = [dim.dim_value for dim in kind.shape.dim]
        if each.name in stored:
            continue
        numbers = random.uniform(-1, 1, shape) * (2e5 if name == "large_input" else 1.0)
        integers = random.integers(0, 300, shape)
        found[each.name] = integers if kind.elem_type == INT64 else numbers.astype(np.float32)
    return found
