"""What comes before any change of precision, and after it: the form of a model that the rewriting steps share."""

from __future__ import annotations

from onnx import ModelProto, inliner

from .names import name_nodes
from .schemas import STANDARD
from .walk import graphs

_OPSET_OF_CASTS = 13  # for what is added to a model that uses none of ONNX's own operators
_IR_OF_FREE_INITIALIZERS = 4  # before, each initializer was an input, too


def prepare(model: ModelProto) -> ModelProto:
    """Return the model with its functions inlined, each node named uniquely, and initializers that are no inputs.

    Nothing that is computed changes, and tensors keep their names.
    """
    if model.functions:
        model = inliner.inline_local_functions(model)
    for graph in graphs(model.graph):
        stored = {tensor.name for tensor in graph.initializer}
        stored |= {sparse.values.name for sparse in graph.sparse_initializer}
        for value in [value for value in graph.input if value.name in stored]:
            graph.input.remove(value)
    if not any(item.domain in STANDARD for item in model.opset_import):
        model.opset_import.add().version = _OPSET_OF_CASTS
    model.ir_version = max(model.ir_version, _IR_OF_FREE_INITIALIZERS)
    name_nodes(model)
    return model


def drop_unread(model: ModelProto) -> None:
    """Remove the constants that nothing reads any more."""
    read = {name for graph in graphs(model.graph) for node in graph.node for name in node.input}
    read |= {value.name for graph in graphs(model.graph) for value in graph.output}
    for graph in graphs(model.graph):
        for tensor in [tensor for tensor in graph.initializer if tensor.name not in read]:
            graph.initializer.remove(tensor)
        idle = [node for node in graph.node if node.op_type == "Constant" and not read & set(node.output)]
        for node in idle:
            graph.node.remove(node)
