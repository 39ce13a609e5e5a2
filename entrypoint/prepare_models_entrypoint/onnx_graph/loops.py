"""Loops without a trip count or condition: parsers lose what stands for these in the body."""

from __future__ import annotations

from typing import List

import numpy as np
from onnx import ModelProto, NodeProto

from . import graph, weights
from .constants import Constants
from .names import Names

_ENDLESS = (1 << 31) - 2  # rounds; TensorRT takes one more for no count at all


def unbounded(model: ModelProto) -> List[NodeProto]:
    """Return the loops that leave out one of the two, or give a count that means the same."""
    constants = Constants(model)
    found = [node for node in graph.nodes(model) if node.op_type == "Loop"]
    return [node for node in found if any(_is_open(node, position, constants) for position in (0, 1))]


def _is_open(node: NodeProto, position: int, constants: Constants) -> bool:
    if len(node.input) <= position or not node.input[position]:
        return True
    count = constants.get(node.input[position]) if position == 0 else None
    return count is not None and all(int(each) > _ENDLESS for each in count.reshape(-1))


def bound(model: ModelProto) -> List[str]:
    """Give such loops a count that is never reached and a condition that is always true; return their names."""
    names, loops, known = Names(model), unbounded(model), Constants(model)
    constants = {"rounds": np.array(_ENDLESS, np.int64), "always": np.array(True)}
    given = {wish: names.fresh(wish) for wish in constants}
    for wish, array in constants.items():
        model.graph.initializer.append(weights.tensor(array, given[wish]))
    for node in loops:
        node.input.extend([""] * (2 - len(node.input)))
        for position, name in enumerate(given.values()):
            if _is_open(node, position, known):
                node.input[position] = name
    return [node.name or node.op_type for node in loops]
