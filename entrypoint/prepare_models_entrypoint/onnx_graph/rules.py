"""ONNX's rules for nodes and graphs. Parsers accept some models that break them, and build meaningless engines."""

from __future__ import annotations

from typing import Dict, Iterator, List, Optional

import onnx
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, TypeProto, checker, defs, helper
from onnx.onnx_cpp2py_export import checker as native

from ..errors import ConvertError
from ..third_party import ThirdPartyError, third_party
from . import domains, faults, model_file, weights
from .attribute_values import ANY_CASE, STRINGS, SWITCHES
from .constants import Constants
from .schemas import STANDARD, opsets
from .walk import attributes, graphs

Shape = List[Optional[int]]

_LONGEST = 300
# Inference in earlier versions has errors, such as on a Squeeze without axes: it would blame good models.
_SOUND = (1, 20)
# Functions in their schema, which ONNX's inference expands to operators of another version.
_MISJUDGED = ("MeanVarianceNormalization",)
_CONVOLUTIONS = ("Conv", "ConvInteger", "ConvTranspose")
_PACKED = ("STRING", "UNDEFINED", "INT4", "UINT4", "FLOAT4E2M1", "INT2", "UINT2")
_PLAIN = tuple(getattr(AttributeProto, name) for name in ("FLOAT", "INT", "STRING", "FLOATS", "INTS", "STRINGS"))
_VALUES = ("raw_data", "float_data", "int32_data", "int64_data", "double_data", "uint64_data", "string_data")


def check(model: ModelProto) -> None:
    """Refuse a model that breaks the rules.

    Operators that ONNX doesn't define, or not in the imported version, are left to the parser: they may be plugins. So
    are the order of nodes, and declared shapes that differ from those of the nodes: parsers work out both themselves.

    Args:
        model: as ``model_file.load`` returns it. Missing operator sets are added.

    Raises:
        ConvertError: ``onnx-invalid`` or ``onnx-node-invalid``, which names the node.
    """
    _check_operator_sets(model)
    fault = next(_of_nodes(model), None) or next(_of_tensors(model), None) or _of_shapes(model)
    if fault is not None:
        raise ConvertError(
            "onnx-node-invalid",
            f"the model is not well formed: {fault[:_LONGEST].rstrip('.')}",
            hint="export the model again, and check it with onnx.checker.check_model(PATH, full_check=True)",
        )


def _check_operator_sets(model: ModelProto) -> None:
    domains.declare(model)
    versions = sorted({item.version for item in model.opset_import if item.domain in STANDARD})
    newest = defs.onnx_opset_version()
    if len(versions) > 1:
        why = f"lists the standard operators in several versions: {', '.join(map(str, versions))}"
    elif versions and not 0 < versions[0] <= newest:
        why = (
            f"is written in version {versions[0]} of the standard operators, and versions 1 to {newest} are known here"
        )
    else:
        return
    raise ConvertError(
        "onnx-invalid",
        f"the model {why}, so what its operators mean is not defined",
        hint=f"export it again with one operator set, of version {min(newest, 20)} for instance",
    )


def _of_nodes(model: ModelProto) -> Iterator[str]:
    versions = opsets(model)
    context = native.CheckerContext()
    context.ir_version, context.opset_imports = model.ir_version or 3, {**versions, "ai.onnx": versions[""]}
    for graph in graphs(model.graph):
        for node in graph.node:
            domain = "" if node.domain in STANDARD else node.domain
            if not defs.has(node.op_type, versions.get(domain, 1), domain):
                continue
            try:
                checker.check_node(_bare(node), context)
            except checker.ValidationError as error:
                yield f"{_named(node)}: {faults.plain(error)}"
            if not domain:
                yield from (f"{_named(node)}: {why}" for why in _of_attributes(node))


def _bare(node: NodeProto) -> NodeProto:
    """Return a node without what ONNX's checker must not see.

    Its graphs are empty: their nodes are checked separately, and read tensors around them. Values in other files, to
    which the model as loaded refers by absolute paths, are left out.
    """
    if all(each.type in _PLAIN for each in node.attribute):
        return node
    bare = NodeProto()
    bare.CopyFrom(node)
    for attribute in bare.attribute:
        if attribute.type == AttributeProto.GRAPH:
            attribute.g.CopyFrom(helper.make_graph([], "body", [], []))
        del attribute.graphs[:]
        for tensor in model_file.of_attribute(attribute):
            model_file.empty(tensor)
    return bare


def _of_attributes(node: NodeProto) -> Iterator[str]:
    """Yield a node's violations of rules that only the operator's documentation states."""
    allowed = STRINGS.get(node.op_type, {})
    for attribute in node.attribute:
        name = attribute.name
        if name in allowed:
            for value in (attribute.s, *attribute.strings) if attribute.s else attribute.strings:
                text = value.decode("utf-8", "replace")
                if (text.lower() if name in ANY_CASE else text) not in allowed[name]:
                    yield f"{name} is {text!r}, and may be {', '.join(sorted(allowed[name]))}"
        elif name in SWITCHES and attribute.type == AttributeProto.INT and attribute.i not in (0, 1):
            yield f"{name} is {attribute.i}, and may be 0 or 1"
        elif (node.op_type, name) == ("Transpose", "perm") and sorted(attribute.ints) != list(
            range(len(attribute.ints))
        ):
            yield f"perm {list(attribute.ints)} is not a permutation of axes"


def _of_tensors(model: ModelProto) -> Iterator[str]:
    for graph in graphs(model.graph):
        known: Dict[str, TensorProto] = {}
        for tensor in graph.initializer:
            what = f"constant {tensor.name!r}"
            if known.setdefault(tensor.name, tensor) != tensor:
                yield f"{what} is there twice, with different values"
            if tensor.data_type not in TensorProto.DataType.values():
                yield f"{what} has the element type {tensor.data_type}, which ONNX does not define"
            elif sum(bool(getattr(tensor, name)) for name in _VALUES) > 1:
                yield f"{what} has values in more than one form"
            elif tensor.raw_data and TensorProto.DataType.Name(tensor.data_type) not in _PACKED:
                due = weights.size(tensor) * helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
                if len(tensor.raw_data) != due:
                    yield f"{what} of shape {list(tensor.dims)} has {len(tensor.raw_data)} bytes instead of {due}"


def _of_shapes(model: ModelProto) -> Optional[str]:
    """Return what ONNX's type and shape inference objects to, or None."""
    if tuple(map(int, onnx.__version__.split(".")[:2])) < _SOUND:
        return None
    if not _is_in_order(model.graph) or any(graph.sparse_initializer for graph in graphs(model.graph)):
        return None  # inference knows neither
    try:
        with third_party():
            found = onnx.shape_inference.infer_shapes(_shell(model), check_type=True, strict_mode=True, data_prop=True)
    except ThirdPartyError as error:
        judged = isinstance(error.__cause__, onnx.shape_inference.InferenceError)
        return faults.plain(error.__cause__) if judged and error.__cause__ is not None else None
    return next(_of_axes(found.graph, Constants(model)), None)


def _is_in_order(graph: GraphProto) -> bool:
    """Return whether each node comes after those that produce its inputs."""
    ahead = {name for node in graph.node for name in node.output if name}
    for node in graph.node:
        if ahead.intersection(node.input):
            return False
        ahead.difference_update(node.output)
    return True


def _shell(model: ModelProto) -> ModelProto:
    """Return the model without large weights and declared sizes, as these follow from the nodes."""
    shell = model_file.without_weights(model, sized=True)
    for graph in graphs(shell.graph):
        del graph.value_info[:]
        for value in graph.output if graph is shell.graph else (*graph.input, *graph.output):
            _forget_shape(value.type)
        for node in graph.node:
            if node.op_type in _MISJUDGED and node.domain in STANDARD:
                node.op_type = "Identity"
                del node.attribute[:]
    return shell


def _forget_shape(kind: TypeProto) -> None:
    if kind.HasField("tensor_type"):
        kind.tensor_type.ClearField("shape")


def _of_axes(graph: GraphProto, constants: Constants) -> Iterator[str]:
    """Yield faults that inference doesn't look for: sizes and indices in a node that its inputs don't have."""
    shapes: Dict[str, Shape] = {tensor.name: list(tensor.dims) for tensor in graph.initializer}
    for value in (*graph.input, *graph.value_info, *graph.output):
        if value.type.tensor_type.HasField("shape"):
            dims = value.type.tensor_type.shape.dim
            shapes[value.name] = [dim.dim_value if dim.HasField("dim_value") else None for dim in dims]
    for node in graph.node:
        if node.domain in STANDARD:
            why = _of_sizes(node, [shapes.get(name) for name in node.input], constants)
            yield from [f"{_named(node)}: {why}"] if why else []


def _of_sizes(node: NodeProto, shapes: List[Optional[Shape]], constants: Constants) -> Optional[str]:
    given = attributes(node)
    if node.op_type == "Transpose" and "perm" in given and shapes[0] is not None:
        perm = given["perm"]
        return None if len(perm) == len(shapes[0]) else f"perm is {perm}, for {len(shapes[0])} axes"
    if node.op_type in _CONVOLUTIONS and "kernel_shape" in given and shapes[1] is not None:
        said, kernel = given["kernel_shape"], shapes[1][2:]
        return f"kernel_shape is {said}, of weights of {kernel}" if None not in kernel and said != kernel else None
    if node.op_type == "Gather" and shapes[0]:
        size = shapes[0][given.get("axis", 0)]
        places = constants.get(node.input[1]) if size is not None else None
        if size is not None and places is not None and places.size and not -size <= places.min() <= places.max() < size:
            return f"it takes the indices {places.min()} to {places.max()} of an axis of {size}"
    return None


def _named(node: NodeProto) -> str:
    return f"node {node.name!r} ({node.op_type})" if node.name else f"the {node.op_type} that makes {list(node.output)}"
