"""Models that the backend refuses, each with whom the refusal blames and a word that it says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

FLOAT, INT64, BOOL, STRING = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL, TensorProto.STRING
value, node = helper.make_tensor_value_info, helper.make_node
IMAGE = (1, 3, 8, 8)
W = np.ones((4, 3, 3, 3), np.float32)
# The types of the outputs, where they are not all of one.
MADE = {
    "DynamicQuantizeLinear": (TensorProto.UINT8, FLOAT, TensorProto.UINT8),
    "MaxPool": (FLOAT, INT64),
    "TopK": (FLOAT, INT64),
}


def model(
    nodes: list[Any], inputs: list[Any], outputs: list[Any], opset: int = 18, **constants: Any
) -> onnx.ModelProto:
    weights = [numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()]
    graph = helper.make_graph(nodes, "g", inputs, outputs, weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def one(
    operator: str, *inputs: tuple[str, tuple[Any, ...]], opset: int = 18, kinds: dict[str, int] | None = None,
    makes: int = FLOAT, outputs: int = 1, domain: str = "", constants: dict[str, Any] | None = None, **attributes: Any,
) -> onnx.ModelProto:  # fmt: skip
    """A model of one operator ``bad``, with a Relu before its first input where that is of floats."""
    kinds, constants = kinds or {}, constants or {}
    values = [value(name, kinds.get(name, FLOAT), shape) for name, shape in inputs]
    names, nodes = [name for name, _ in inputs] + list(constants), []
    if inputs and kinds.get(inputs[0][0], FLOAT) == FLOAT:
        nodes.append(node("Relu", [names[0]], ["before"], name="good"))
        names[0] = "before"
    made = ["y", "y2", "y3"][:outputs]
    nodes.append(node(operator, names, made, name="bad", domain=domain, **attributes))
    types = MADE.get(operator, (makes,) * outputs)[:outputs]
    proto = model(
        nodes, values, [value(name, kind, None) for name, kind in zip(made, types, strict=True)], opset, **constants
    )
    if domain:
        proto.opset_import.append(helper.make_opsetid(domain, 1))
    return proto


def resize(**attributes: Any) -> onnx.ModelProto:
    empty = np.zeros(0, np.float32)
    return one("Resize", ("x", IMAGE), constants={"roi": empty, "k": np.array([1, 1, 2, 2], np.float32)}, **attributes)


def looped(operator: str, **attributes: Any) -> onnx.ModelProto:
    body = helper.make_graph(
        [node(operator, ["a", "x"], ["b"], **attributes), node("Identity", ["c"], ["d"])], "body",
        [value("i", INT64, []), value("c", BOOL, []), value("a", FLOAT, None)],
        [value("d", BOOL, []), value("b", FLOAT, None)],
    )  # fmt: skip
    nodes = [node("Loop", ["n", "", "x"], ["y"], body=body, name="bad")]
    return model(nodes, [value("x", FLOAT, [2])], [value("y", FLOAT, None)], n=np.int64(3))


def branches() -> onnx.ModelProto:
    then = helper.make_graph([node("ReduceSum", ["x"], ["a"], keepdims=0)], "t", [], [value("a", FLOAT, None)])
    other = helper.make_graph([node("Identity", ["x"], ["b"])], "e", [], [value("b", FLOAT, None)])
    nodes = [node("If", ["c"], ["y"], name="bad", then_branch=then, else_branch=other)]
    return model(nodes, [value("x", FLOAT, [4]), value("c", BOOL, [])], [value("y", FLOAT, None)])


def bytes_in_a_branch() -> onnx.ModelProto:
    then = helper.make_graph([node("Cast", ["x"], ["a"], to=FLOAT)], "t", [], [value("a", FLOAT, None)])
    other = helper.make_graph([node("Identity", ["k"], ["b"])], "e", [], [value("b", FLOAT, None)])
    nodes = [node("If", ["c"], ["y"], name="bad", then_branch=then, else_branch=other)]
    inputs = [value("x", TensorProto.UINT8, [4]), value("c", BOOL, [])]
    return model(nodes, inputs, [value("y", FLOAT, None)], k=np.ones(4, np.float32))


def sequence() -> onnx.ModelProto:
    nodes = [
        node("Relu", ["x"], ["before"], name="good"),
        node("SequenceConstruct", ["before", "x"], ["q"], name="bad"),
        node("ConcatFromSequence", ["q"], ["y"], axis=0, name="worse"),
    ]
    return model(nodes, [value("x", FLOAT, [2])], [value("y", FLOAT, None)])


def optional() -> onnx.ModelProto:
    proto = one("Optional", ("x", (2,)))
    proto.graph.output[0].type.CopyFrom(helper.make_optional_type_proto(helper.make_tensor_type_proto(FLOAT, [2])))
    return proto


def plugin_behind() -> onnx.ModelProto:
    nodes = [
        node("Relu", ["x"], ["before"], name="good"),
        node("Unique", ["before"], ["u"], name="bad"),
        node("NobodysOwn", ["u"], ["y"], name="worse"),
    ]
    return model(nodes, [value("x", FLOAT, [4])], [value("y", FLOAT, None)])


def sizes_from_data() -> onnx.ModelProto:
    nodes = [
        node("ReduceSum", ["x"], ["s"], keepdims=0),
        node("Cast", ["s"], ["whole"], to=INT64),
        node("Unsqueeze", ["whole", "zero"], ["before"], name="good"),
        node("Expand", ["x1", "before"], ["y"], name="bad"),
    ]
    inputs = [value("x", FLOAT, [2, 3]), value("x1", FLOAT, [1])]
    return model(nodes, inputs, [value("y", FLOAT, None)], zero=np.array([0]))


def too_deep() -> onnx.ModelProto:
    return one("Reshape", ("x", (8,)), constants={"s": np.array([2, 2, 2, 1, 1, 1, 1, 1, 1])})


def cut(proto: onnx.ModelProto) -> onnx.ModelProto:
    proto.graph.initializer[0].raw_data = b"123"
    return proto


def twice(proto: onnx.ModelProto) -> onnx.ModelProto:
    again = numpy_helper.from_array(np.zeros_like(W), proto.graph.initializer[0].name)
    proto.graph.initializer.append(again)
    return proto


def wired(nodes: list[Any], output: str = "y") -> onnx.ModelProto:
    return model(nodes, [value("x", FLOAT, [2])], [value(output, FLOAT, [2])])


ROIS = {"r": np.zeros((2, 4), np.float32), "b": np.zeros(2, np.int64)}
SCATTER = {"i": np.zeros((2, 3), np.int64), "u": np.ones((2, 3), np.float32)}
TWO = (("x", (2, 3)), ("z", (4, 5)))
UNSUPPORTED, INVALID, PLUGIN = "onnx-unsupported-operator", "onnx-node-invalid", "plugin-missing"

# A model of this kind, the error's code, and a word of the cause or of the hint.
KINDS: dict[str, tuple[Callable[[], onnx.ModelProto], str, str]] = {
    # Operators, or forms of them, that TensorRT-RTX lacks.
    "Unique": (lambda: one("Unique", ("x", (4,))), UNSUPPORTED, "not supported"),
    "NonZero": (lambda: one("NonZero", ("x", (4,)), makes=INT64), UNSUPPORTED, "NonZero"),
    "Compress": (lambda: one("Compress", ("x", (4,)), ("c", (4,)), kinds={"c": BOOL}), UNSUPPORTED, "Compress"),
    "Det": (lambda: one("Det", ("x", (2, 3, 3))), UNSUPPORTED, "Det"),
    "MaxUnpool": (
        lambda: one("MaxUnpool", ("x", (1, 1, 2, 2)), ("i", (1, 1, 2, 2)), kinds={"i": INT64}, kernel_shape=[2, 2]),
        UNSUPPORTED,
        "MaxUnpool",
    ),
    "Multinomial": (lambda: one("Multinomial", ("x", (1, 4)), makes=TensorProto.INT32), UNSUPPORTED, "Multinomial"),
    "Bernoulli": (lambda: one("Bernoulli", ("x", IMAGE)), UNSUPPORTED, "Bernoulli"),
    "DynamicQuantizeLinear": (
        lambda: one("DynamicQuantizeLinear", ("x", (2, 2)), outputs=3),
        UNSUPPORTED,
        "DynamicQuantizeLinear",
    ),
    "Col2Im": (
        lambda: one("Col2Im", ("x", (1, 4, 9)), constants={"i": np.array([4, 4]), "b": np.array([2, 2])}),
        UNSUPPORTED,
        "Col2Im",
    ),
    "RoiAlign": (lambda: one("RoiAlign", ("x", IMAGE), constants=ROIS), UNSUPPORTED, "plugins:"),
    "sequences": (sequence, UNSUPPORTED, "SequenceConstruct"),
    "bytes in a branch": (bytes_in_a_branch, UNSUPPORTED, "right after its input"),
    "optional values": (optional, UNSUPPORTED, "Optional"),
    "scatter adds": (
        lambda: one("ScatterElements", ("x", (4, 3)), constants=SCATTER, reduction="add"),
        UNSUPPORTED,
        "operator ScatterElements at node 'bad'",
    ),
    "antialias": (lambda: resize(mode="linear", antialias=1), UNSUPPORTED, "antialias=0"),
    "crop and resize": (
        lambda: resize(mode="linear", coordinate_transformation_mode="tf_crop_and_resize"),
        UNSUPPORTED,
        "pytorch_half_pixel",
    ),
    "aspect ratio": (
        lambda: one(
            "Resize",
            ("x", IMAGE),
            mode="linear",
            axes=[2, 3],
            keep_aspect_ratio_policy="not_larger",
            constants={"roi": np.zeros(0, np.float32), "k": np.zeros(0, np.float32), "s": np.array([4, 6])},
        ),
        UNSUPPORTED,
        "stretch",
    ),
    "EyeLike of varying size": (lambda: one("EyeLike", ("x", ("n", "n"))), UNSUPPORTED, "static_shapes"),
    "training": (
        lambda: one("Dropout", ("x", IMAGE), constants={"r": np.float32(0.5), "t": np.bool_(True)}),
        UNSUPPORTED,
        "model.eval()",
    ),
    "indices of MaxPool": (
        lambda: one("MaxPool", ("x", IMAGE), outputs=2, kernel_shape=[2, 2]),
        UNSUPPORTED,
        "first output",
    ),
    "dilated MaxPool": (
        lambda: one("MaxPool", ("x", IMAGE), kernel_shape=[2, 2], dilations=[2, 2]),
        UNSUPPORTED,
        "without dilations",
    ),
    "larger output": (
        lambda: one(
            "ConvTranspose",
            ("x", IMAGE),
            output_shape=[20, 20],
            strides=[2, 2],
            constants={"w": np.ones((3, 2, 3, 3), np.float32)},
        ),
        UNSUPPORTED,
        "output_shape",
    ),
    "strided and dilated": (
        lambda: one(
            "ConvTranspose",
            ("x", IMAGE),
            dilations=[2, 2],
            strides=[2, 2],
            constants={"w": np.ones((3, 2, 3, 3), np.float32)},
        ),
        UNSUPPORTED,
        "dilations of 1",
    ),
    "convolution in 4D": (
        lambda: one("Conv", ("x", (1, 3, 4, 4, 4, 4)), constants={"w": np.ones((2, 3, 2, 2, 2, 2), np.float32)}),
        UNSUPPORTED,
        "at most three axes",
    ),
    "window of LRN": (lambda: one("LRN", ("x", IMAGE), size=20), UNSUPPORTED, "odd number"),
    "nine dimensions": (too_deep, UNSUPPORTED, "at most 8 dimensions"),
    "an input of nine dimensions": (lambda: one("Relu", ("x", (1,) * 9)), UNSUPPORTED, "at most 8 dimensions"),
    "large TopK": (
        lambda: one("TopK", ("x", (2, 8000)), outputs=2, constants={"k": np.array([5000])}),
        UNSUPPORTED,
        "3840",
    ),
    "axes are an input": (
        lambda: one("ReduceSum", ("x", (2, 3)), ("a", (1,)), kinds={"a": INT64}),
        UNSUPPORTED,
        'constants: {"a": VALUE}',
    ),
    "axis of Squeeze": (
        lambda: one("Squeeze", ("x", (1, 3)), ("a", (1,)), kinds={"a": INT64}),
        UNSUPPORTED,
        'constants: {"a": VALUE}',
    ),
    "sizes from data": (sizes_from_data, UNSUPPORTED, "computed from data"),
    "Range of floats": (lambda: one("Range", ("x", ()), ("l", ()), ("d", ())), UNSUPPORTED, "computed from data"),
    "loop that grows": (lambda: looped("Concat", axis=0), UNSUPPORTED, "carries from one iteration"),
    "branches of different rank": (branches, UNSUPPORTED, 'constants: {"c": VALUE}'),
    # Types that it lacks.
    "uint16": (
        lambda: one("Cast", ("x", (2,)), kinds={"x": TensorProto.UINT16}, to=FLOAT),
        UNSUPPORTED,
        "input 'x' (uint16)",
    ),
    "text": (lambda: one("Identity", ("x", (2,)), kinds={"x": STRING}, makes=STRING), UNSUPPORTED, "float32"),
    "Cast to text": (
        lambda: one("Cast", ("x", (2,)), makes=STRING, to=STRING),
        UNSUPPORTED,
        "type that TensorRT lacks",
    ),
    "sum of uint8": (
        lambda: one(
            "Add", ("x", (2,)), ("z", (2,)), kinds=dict.fromkeys("xz", TensorProto.UINT8), makes=TensorProto.UINT8
        ),
        UNSUPPORTED,
        "Cast to int32",
    ),
    "fp8 output": (
        lambda: one("Cast", ("x", (2,)), opset=19, makes=TensorProto.FLOAT8E4M3FN, to=TensorProto.FLOAT8E4M3FN),
        UNSUPPORTED,
        "QuantizeLinear",
    ),
    # Operators of nobody's, or of other libraries.
    "plugin": (lambda: one("EfficientNMS_TRT", ("x", IMAGE), domain="TRT"), PLUGIN, "plugins:"),
    "plugin behind another": (plugin_behind, PLUGIN, "NobodysOwn"),
    "plugin among ONNX's": (lambda: one("BatchedNMSDynamic_TRT", ("x", IMAGE)), PLUGIN, "plugins:"),
    "com.microsoft": (lambda: one("BiasGelu", ("x", (3,)), ("b", (3,)), domain="com.microsoft"), PLUGIN, "BiasGelu"),
    "ai.onnx.ml": (lambda: one("Normalizer", ("x", (2, 3)), domain="ai.onnx.ml", norm="L2"), PLUGIN, "Normalizer"),
    # Models that break the rules of ONNX, which nothing but the model is to blame for.
    "types that differ": (
        lambda: one("Add", ("x", (2,)), ("z", (2,)), kinds={"z": INT64}),
        INVALID,
        "inconsistent type",
    ),
    "a float as condition": (lambda: one("Where", ("c", (2,)), ("x", (2,)), ("z", (2,))), INVALID, "condition"),
    "sizes of MatMul": (lambda: one("MatMul", *TWO), INVALID, "Incompatible dimensions"),
    "sizes of Add": (lambda: one("Add", *TWO), INVALID, "Incompatible dimensions"),
    "channels of Conv": (lambda: one("Conv", ("x", (1, 5, 8, 8)), constants={"w": W}), INVALID, "fit together"),
    "groups of Conv": (lambda: one("Conv", ("x", IMAGE), group=2, constants={"w": W}), INVALID, "fit together"),
    "too small for Conv": (lambda: one("Conv", ("x", (1, 3, 2, 2)), constants={"w": W}), INVALID, "fit together"),
    "volume of Reshape": (
        lambda: one("Reshape", ("x", (2, 3)), constants={"s": np.array([4, 2])}),
        INVALID,
        "fit together",
    ),
    "rank of Gemm": (
        lambda: one("Gemm", ("x", (1, 2, 3)), constants={"w": np.ones((3, 4), np.float32)}),
        INVALID,
        "rank 2",
    ),
    "axis of Softmax": (lambda: one("Softmax", ("x", (2, 3)), axis=5), INVALID, "'axis' must be in"),
    "axes of Transpose": (lambda: one("Transpose", ("x", (2, 3)), perm=[0, 0]), INVALID, "not a permutation of axes"),
    "k of TopK": (
        lambda: one("TopK", ("x", (2, 8)), outputs=2, constants={"k": np.array([20])}),
        INVALID,
        "less than the requested k elements",
    ),
    "an attribute is missing": (lambda: one("Concat", ("x", (2,))), INVALID, "axis"),
    "an input is missing": (lambda: one("Conv", ("x", IMAGE)), INVALID, "input size 1"),
    "nothing makes it": (lambda: wired([node("Add", ["x", "absent"], ["y"], name="bad")]), INVALID, "'absent'"),
    "nothing makes the output": (lambda: wired([node("Relu", ["x"], ["z"], name="bad")]), INVALID, "'y'"),
    "a circle": (
        lambda: wired([node("Add", ["x", "y"], ["a"], name="bad"), node("Relu", ["a"], ["y"], name="other")]),
        INVALID,
        "'y'",
    ),
    "made twice": (
        lambda: wired([node("Relu", ["x"], ["y"], name="bad"), node("Abs", ["x"], ["y"], name="other")]),
        INVALID,
        "'y'",
    ),
    "weights twice": (lambda: twice(one("Conv", ("x", IMAGE), constants={"w": W})), INVALID, "is there twice"),
    "weights cut short": (lambda: cut(one("Conv", ("x", IMAGE), constants={"w": W})), INVALID, "bytes instead of 432"),
}
