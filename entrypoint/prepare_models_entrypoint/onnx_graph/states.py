"""States: results that callers pass on as inputs of the next run, so that the errors of all runs add up in them."""

from __future__ import annotations

import difflib
from typing import Any, Dict, List, Mapping

import numpy as np
from onnx import ModelProto

from .segments import Segments
from .walk import with_bodies

_ALIKE = 0.6  # of two names: hidden and new_hidden are alike, input and output are not


def makers(model: ModelProto, feed: Mapping[str, Any]) -> Dict[str, str]:
    """Return the nodes, by name, that states depend on, each with such a state.

    Args:
        model: as ``prepare`` returns it.
        feed: a sample.
    """
    segments = Segments(model)
    found: Dict[str, str] = {}
    wanted = {name: name for name in _states(feed, segments.run(feed))}
    for node, reads in zip(reversed(segments.nodes), reversed(segments.reads)):
        state = next((wanted[name] for name in node.output if name in wanted), None)
        if state is not None:
            found.update(dict.fromkeys(with_bodies(node), state))
            wanted.update({name: state for name in reads if name not in wanted})
    return found


def _states(given: Mapping[str, Any], results: Mapping[str, Any]) -> List[str]:
    """Return the outputs that are states: with the shape, float type and about the name of an input.

    A model reads and returns something else besides.
    """
    found: Dict[str, str] = {}
    alike = sorted((-_likeness(a, b), a, b) for a in given for b in results if _is_same(given[a], results[b]))
    for unlike, name, output in alike:
        if unlike <= -_ALIKE and name not in found and output not in found.values():
            found[name] = output
    return list(found.values()) if len(found) < min(len(given), len(results)) else []


def _is_same(one: Any, other: Any) -> bool:
    arrays = isinstance(one, np.ndarray) and isinstance(other, np.ndarray)
    return arrays and one.dtype == other.dtype and one.dtype.kind == "f" and one.shape == other.shape


def _likeness(one: str, other: str) -> float:
    """Return how much two names have in common, 0 to 1; it is enough that both begin with half of one: h0 and hn."""
    same, half = difflib.SequenceMatcher(None, one, other).ratio(), (min(len(one), len(other)) + 1) // 2
    return max(same, _ALIKE) if one[:half] == other[:half] else same
