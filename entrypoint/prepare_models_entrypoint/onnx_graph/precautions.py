"""Patterns that often overflow, cancel or flip in fp16. Without samples they are kept in fp32 and reported."""

from __future__ import annotations

from typing import Dict, FrozenSet, List, Optional, Sequence, Set, Tuple

import numpy as np
from onnx import NodeProto, TensorProto

from . import weights
from .operators import MOVES, REDUCTIONS, SQUARING, named
from .sites import Site

_SINKS = named("Sqrt Log Reciprocal Pow Div ReduceLogSum")
_PATH = MOVES | REDUCTIONS | named("Add Sub Max Clip Mul Div MatMul Sum Relu Abs Sqrt")
_ANGLES = MOVES | named("Add Sub Mul Div MatMul Einsum Cast")
_VALUES = (
    MOVES | named("Abs Add Ceil Clip Div Exp Floor Log Max Min Mod Mul Neg Pow Relu Round Sigmoid Sqrt Sub Tanh")
) - named("TopK")
_INTEGERS = (TensorProto.INT64, TensorProto.INT32, TensorProto.UINT8)
_SHAPING = named("Flatten Identity Reshape Squeeze Transpose Unsqueeze")
_LONGEST = 10
_LARGE_SCALE = 1000.0


class Precautions:
    """Patterns that look dangerous: nodes to keep, and suspects, which stay narrow and may overflow, with the reasons.

    Kept are sums of squares up to their root or logarithm, products of a tensor with itself, angles made from integers
    or inputs, and what is made into integers. What only samples can judge (exp, pow, squares, large scales) is suspect.
    """

    def __init__(self, sites: Sequence[Site]) -> None:
        self.kept: Dict[str, str] = {}
        self.suspects: Dict[str, str] = {}
        self.made: Dict[str, Site] = {name: site for site in sites for name in site.node.output if name}
        self.own_products: Set[str] = set()
        for site in sites:
            operator = site.node.op_type
            if operator in SQUARING and site.variables:
                self.kept[site.node.name] = "squares, sums or multiplies many values"
            elif operator in _SINKS:
                start = 1 if operator == "Div" else 0
                self._keep(site, self._paths(site, start), f"sum of squares up to {site.node.name!r}")
            elif operator in ("Sin", "Cos"):
                path, given = self._leading(site, _ANGLES)
                self._keep(site, path if given else set(), f"angle of {site.node.name!r}, made from integers or inputs")
            elif operator == "Cast" and site.scope.get(site.node.output[0]) in _INTEGERS:
                path, _ = self._leading(site, _VALUES)
                self._keep(site, path, f"{site.node.name!r} makes integers of it")
            self._keep_own_product(site)
        for site in sites:
            if site.variables and site.node.name not in self.kept:
                self._suspect(site)

    def _keep(self, sink: Site, path: Set[str], why: str) -> None:
        for name in sorted(path and path | {sink.node.name}):
            self.kept.setdefault(name, why)

    def _paths(self, sink: Site, start: int) -> Set[str]:
        """Return the nodes on the paths from added squares to ``sink``, including the squares and means in them."""
        if len(sink.node.input) <= start:
            return set()
        return self._way(sink.node.input[start], _LONGEST, added=False, mixes=sink.node.op_type == "Log")

    def _way(self, name: str, left: int, *, added: bool, mixes: bool) -> Set[str]:
        """``added``: whether the path so far adds up values. ``mixes``: whether it may contain a MatMul."""
        site = self.made.get(name)
        if site is None or not left:
            return set()
        operator = site.node.op_type
        if _is_square(site) and (added or self._mean_under(site)):
            return {site.node.name} | self._mean_under(site)
        if operator not in _PATH or (operator == "MatMul" and not mixes):
            return set()
        added = added or operator in REDUCTIONS or operator in ("Add", "MatMul")
        found: Set[str] = set()
        for each in site.node.input:
            found |= self._way(each, left - 1, added=added, mixes=mixes)
        return found and found | {site.node.name}

    def _mean_under(self, square: Site) -> Set[str]:
        below = self.made.get(square.node.input[0])
        return {below.node.name} if below is not None and below.node.op_type in REDUCTIONS else set()

    def _leading(self, sink: Site, through: FrozenSet[str]) -> Tuple[Set[str], bool]:
        """Return the nodes that lead to a sink through such operators, and whether integers or inputs do."""
        found: Set[str] = set()
        pending: List[Tuple[str, int]] = [(sink.node.input[0], _LONGEST)]
        given = False
        while pending:
            name, left = pending.pop()
            site = self.made.get(name)
            if site is None:
                given = given or sink.scope.constant(name) is None
            elif left and site.node.op_type in through and site.node.name not in found:
                given = given or (site.node.op_type == "Cast" and site.scope.get(site.node.input[0]) in _INTEGERS)
                found.add(site.node.name)
                pending += [(each, left - 1) for each in site.node.input if each]
        return found, given

    def _keep_own_product(self, site: Site) -> None:
        """Keep a tensor times itself, as in a covariance, and what scales the sums."""
        node: NodeProto = site.node
        if node.op_type in ("MatMul", "Gemm") and self._moved(node.input[0]) == self._moved(node.input[1]):
            self.kept[node.name] = "multiplies a tensor by itself"
            self.own_products.update(node.output)
        elif node.op_type in ("Div", "Mul", "Sqrt") and self.own_products & set(node.input):
            self.kept[node.name] = "scales the product of a tensor with itself"

    def _moved(self, name: str) -> str:
        """Return the tensor whose values a tensor has, at other places."""
        while name in self.made and self.made[name].node.op_type in _SHAPING:
            name = self.made[name].node.input[0]
        return name

    def _suspect(self, site: Site) -> None:
        node = site.node
        why: Optional[str] = None
        if node.op_type == "Exp":
            why = "Exp overflows above 11"
        elif node.op_type == "Pow" and _largest(site, 1) >= 2:
            why = "Pow overflows early"
        elif _is_square(site):
            why = "a square overflows above 255"
        elif node.op_type == "Mul" and max(_largest(site, 0), _largest(site, 1)) >= _LARGE_SCALE:
            why = "it multiplies by a large number"
        if why is not None:
            self.suspects[node.name] = why


def _is_square(site: Site) -> bool:
    node: NodeProto = site.node
    if node.op_type == "Mul":
        return len(node.input) == 2 and node.input[0] == node.input[1]
    return node.op_type in SQUARING or (node.op_type == "Pow" and _largest(site, 1) >= 2)


def _largest(site: Site, index: int) -> float:
    tensor = site.scope.constant(site.node.input[index]) if len(site.node.input) > index else None
    if tensor is None or weights.size(tensor) != 1:
        return 0.0
    return float(np.abs(weights.array(tensor)).max())
