"""Constants in sparse form, which parsers leave out: the same values written out."""

from __future__ import annotations

import math
from typing import Iterator, List

import numpy as np
from onnx import AttributeProto, ModelProto, NodeProto, SparseTensorProto, TensorProto

from ..errors import ConvertError
from . import graph, weights
from .walk import graphs

_LARGEST = 1 << 28  # elements


def present(model: ModelProto) -> bool:
    """Tell whether a model has such constants."""
    return any(each.sparse_initializer for each in graphs(model.graph)) or any(_constants(model))


def write_out(model: ModelProto) -> List[str]:
    """Write them out in place, and return their names.

    Raises:
        ConvertError: one is too large for that.
    """
    names: List[str] = []
    for each in graphs(model.graph):
        for sparse in each.sparse_initializer:
            each.initializer.append(_dense(sparse, sparse.values.name))
            names.append(sparse.values.name)
        del each.sparse_initializer[:]
    for node in _constants(model):
        names.append(node.output[0])
        dense = _dense(node.attribute[0].sparse_tensor, node.output[0])
        del node.attribute[:]
        node.attribute.add(name="value", type=AttributeProto.TENSOR, t=dense)
    return names


def _constants(model: ModelProto) -> Iterator[NodeProto]:
    for node in graph.nodes(model):
        if node.op_type == "Constant" and [each.name for each in node.attribute] == ["sparse_value"]:
            yield node


def _dense(sparse: SparseTensorProto, name: str) -> TensorProto:
    dims = [int(size) for size in sparse.dims]
    if math.prod(dims) > _LARGEST:
        raise ConvertError(
            "onnx-unsupported-operator",
            f"the sparse constant {name!r} has {math.prod(dims)} elements, too many to be written out",
            hint="export the model with dense weights",
        )
    values, indices = weights.array(sparse.values), weights.array(sparse.indices)
    places = indices if indices.ndim == 1 else np.ravel_multi_index(tuple(indices.T), dims)
    dense = np.zeros(math.prod(dims), values.dtype)
    dense[places] = values
    return weights.tensor(dense.reshape(dims), name, sparse.values.data_type)
