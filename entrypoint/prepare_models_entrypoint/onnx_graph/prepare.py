"""The normal form of a model that all rewriting steps share, before and after any change of precision."""

from __future__ import annotations

import math
from typing import Container, Optional

import numpy as np
from onnx import AttributeProto, GraphProto, ModelProto, SparseTensorProto, TensorProto, helper

from . import functions, weights
from .names import name_nodes
from .schemas import STANDARD
from .walk import graphs, readers

_OPSET_OF_CASTS = 13  # for nodes added to a model that uses none of ONNX's own operators
_IR_OF_FREE_INITIALIZERS = 4  # in older versions, each initializer was an input, too
_LARGEST_DENSE = 1 << 26  # elements of a sparse tensor that is made dense


def prepare(model: ModelProto) -> ModelProto:
    """Return the model with functions inlined, unique node names, and initializers that are not inputs.

    Sparse constants become dense, which more programs read. Results don't change; tensors keep their names.
    """
    model = functions.inline(model)
    for graph in graphs(model.graph):
        stored = {tensor.name for tensor in graph.initializer}
        stored |= {sparse.values.name for sparse in graph.sparse_initializer}
        for value in [value for value in graph.input if value.name in stored]:
            graph.input.remove(value)
        _write_out(graph)
    if not any(item.domain in STANDARD for item in model.opset_import):
        model.opset_import.add().version = _OPSET_OF_CASTS
    model.ir_version = max(model.ir_version, _IR_OF_FREE_INITIALIZERS)
    name_nodes(model)
    return model


def _write_out(graph: GraphProto) -> None:
    """Make the sparse tensors of a graph dense, in place."""
    for sparse in list(graph.sparse_initializer):
        dense = _dense(sparse)
        if dense is not None:
            graph.initializer.add().CopyFrom(dense)
            graph.sparse_initializer.remove(sparse)
    for node in graph.node:
        for attribute in node.attribute:
            dense = _dense(attribute.sparse_tensor) if attribute.type == AttributeProto.SPARSE_TENSOR else None
            if dense is not None:
                attribute.CopyFrom(helper.make_attribute("value", dense))


def _dense(sparse: SparseTensorProto) -> Optional[TensorProto]:
    """Return a sparse tensor as a dense one; None if it is too large or has indices out of range."""
    shape, size = tuple(sparse.dims), math.prod(sparse.dims)
    if size > _LARGEST_DENSE:
        return None
    values, places = weights.array(sparse.values), weights.array(sparse.indices)
    if places.ndim == 2:  # coordinates
        if places.shape[1] != len(shape) or (places < 0).any() or (places >= shape).any():
            return None
        places = np.ravel_multi_index(tuple(places.T), shape)
    if places.shape != values.shape or (places < 0).any() or (places >= size).any():
        return None
    dense = np.zeros(size, values.dtype)
    dense[places] = values
    return weights.tensor(dense.reshape(shape), sparse.values.name, sparse.values.data_type)


def drop_unread(model: ModelProto, operators: Container[str] = ()) -> None:
    """Remove constants that nothing reads any more, and such nodes of ``operators``."""
    while True:
        read = readers(model)
        for graph in graphs(model.graph):
            for tensor in [tensor for tensor in graph.initializer if tensor.name not in read]:
                graph.initializer.remove(tensor)
        idle = [
            (graph, node)
            for graph in graphs(model.graph)
            for node in graph.node
            if (node.op_type == "Constant" or node.op_type in operators) and not any(map(read.get, node.output))
        ]
        if not idle:
            return
        for graph, node in idle:
            graph.node.remove(node)
