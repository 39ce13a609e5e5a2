"""What comes before any change of precision: a model in the form that the rewriting steps share."""

from __future__ import annotations

from onnx import ModelProto, inliner

from .names import name_nodes
from .walk import graphs

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
        declared = [value for value in graph.input if value.name in stored]
        for value in declared:
            graph.input.remove(value)
    model.ir_version = max(model.ir_version, _IR_OF_FREE_INITIALIZERS)
    name_nodes(model)
    return model
