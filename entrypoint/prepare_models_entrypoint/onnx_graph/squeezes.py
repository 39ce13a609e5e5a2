"""Squeeze without axes: TensorRT's parser keeps sizes of 1 that are dynamic in the model, and the engine then fails."""

from __future__ import annotations

from typing import List, Mapping, Optional, Sequence

import numpy as np
from onnx import ModelProto, NodeProto, helper

from . import graph, schemas, weights
from .names import Names

_AXES_ARE_INPUTS = 13


def without_axes(model: ModelProto) -> List[NodeProto]:
    """Return the Squeeze nodes that name no axes, including those in inner graphs."""
    return [
        node for node in graph.nodes(model)
        if node.op_type == "Squeeze" and not node.domain and not any(node.input[1:]) and not node.attribute
    ]  # fmt: skip


def name_axes(model: ModelProto, shapes: Mapping[str, Sequence[Optional[int]]]) -> List[str]:
    """Add the axes of size 1 if all sizes of the tensor are known, and return what was done, in words."""
    names, changes = Names(model), []
    for node in without_axes(model):
        sizes = shapes.get(node.input[0])
        if sizes is None or None in sizes or 1 not in sizes:
            continue
        axes = [axis for axis, size in enumerate(sizes) if size == 1]
        if schemas.opsets(model)[""] < _AXES_ARE_INPUTS:
            node.attribute.append(helper.make_attribute("axes", axes))
        else:
            name = names.fresh(f"{node.output[0]}_axes")
            node.input[1:] = [weights.add(model.graph, np.array(axes, np.int64), name)]
        changes.append(f"Squeeze {node.name or node.output[0]!r} names the axes that have the size 1: {axes}")
    return changes
