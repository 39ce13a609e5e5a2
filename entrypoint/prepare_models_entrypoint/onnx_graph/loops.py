"""Loops without a trip count or condition: parsers then lose the corresponding inputs of the body.

A loop that collects results (scan outputs) has one per iteration. TensorRT sizes them by the trip count, so it accepts
such a loop only if its condition never ends it.
"""

from __future__ import annotations

from typing import List

import numpy as np
from onnx import GraphProto, ModelProto, NodeProto

from . import graph, weights
from .constants import Constants
from .names import Names
from .walk import bodies, readers

_ENDLESS = (1 << 31) - 2  # iterations; TensorRT reads one more as no count at all


def unbounded(model: ModelProto) -> List[NodeProto]:
    """Return the loops that omit one of the two, or have a count that means the same."""
    constants = Constants(model)
    found = [node for node in graph.nodes(model) if node.op_type == "Loop"]
    return [node for node in found if any(_is_open(node, position, constants) for position in (0, 1))]


def _is_open(node: NodeProto, position: int, constants: Constants) -> bool:
    if position == 0 and node.output[len(node.input[2:]) :]:
        return False  # its results would be as long as the count
    if len(node.input) <= position or not node.input[position]:
        return True
    count = constants.get(node.input[position]) if position == 0 else None
    return count is not None and all(int(each) > _ENDLESS for each in count.reshape(-1))


def bound(model: ModelProto) -> List[str]:
    """Give these loops a count that is never reached and a condition that is always true; return their names."""
    names, loops, known = Names(model), unbounded(model), Constants(model)
    constants = {"rounds": np.array(_ENDLESS, np.int64), "always": np.array(True)}
    given = [weights.add(model.graph, array, names.fresh(wish)) for wish, array in constants.items()]
    for node in loops:
        node.input.extend([""] * (2 - len(node.input)))
        for position, name in enumerate(given):
            if _is_open(node, position, known):
                node.input[position] = name
    return [node.name or node.op_type for node in loops]


def uncounted(model: ModelProto) -> List[str]:
    """Return the loops that collect results over a number of iterations decided by their condition, not their count.

    Args:
        model: as ``prepare`` returns it.
    """
    constants = Constants(model)
    read = readers(model)
    loops = [node for node in graph.nodes(model) if node.op_type == "Loop"]
    collecting = [node for node in loops if any(name in read for name in node.output[len(node.input[2:]) :])]
    return [node.name for node in collecting if not _is_counted(node, constants)]


def _is_counted(node: NodeProto, constants: Constants) -> bool:
    count, condition = [*node.input[:2], "", ""][:2]
    rounds = constants.get(count)
    if not count or (rounds is not None and rounds.size and int(rounds.max()) > _ENDLESS):
        return False
    if condition and not _is_true(constants, condition):
        return False
    return all(_goes_on(body, constants) for body in bodies(node))


def _is_true(constants: Constants, name: str) -> bool:
    value = constants.get(name)
    return value is not None and bool(value.all())


def _goes_on(body: GraphProto, constants: Constants) -> bool:
    """Return whether a body passes its condition on, or returns one that is always true."""
    makers = {name: node for node in body.node for name in node.output}
    name = body.output[0].name
    while name in makers and makers[name].op_type in ("Identity", "Cast"):
        name = makers[name].input[0]
    if name == body.input[1].name:
        return True
    return _is_true(constants.within(body), name)
