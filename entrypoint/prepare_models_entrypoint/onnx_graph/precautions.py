"""Patterns that often overflow, cancel or flip in fp16. Without samples they are kept in fp32 and reported."""

from __future__ import annotations

from typing import Dict, FrozenSet, List, Mapping, Sequence, Set, Tuple

import numpy as np
from onnx import NodeProto, TensorProto

from . import weights
from .operators import MOVES, REDUCTIONS, SQUARING, named
from .sites import Site, behind, readers

_SINKS = named("Sqrt Log Reciprocal Pow Div ReduceLogSum")
_PATH = MOVES | REDUCTIONS | named("Add Sub Max Clip Mul Div MatMul Sum Relu Abs Sqrt")
_COMPUTE = named("MatMul Gemm Conv ConvTranspose Einsum")
_ANGLES = MOVES | named("Add Sub Mul Div MatMul Einsum Cast CumSum Resize Ceil Floor Round Mod")
_VALUES = (
    MOVES | named("Abs Add Ceil Clip Div Exp Floor Log Max Min Mod Mul Neg Pow Relu Round Sigmoid Sqrt Sub Tanh")
) - named("TopK")
_SUMS = _VALUES | REDUCTIONS | SQUARING | named("CumSum")
_WHOLE = named("Ceil Floor Round")
# Operators whose results jump, or are steep, where their input hardly changes: its positions, what fp32 reaches back
# through, and why.
_STEEP: "Mapping[str, tuple[Sequence[int], FrozenSet[str], str]]" = {
    "Equal": ((0, 1), _VALUES | named("MaxPool ReduceMax Resize"), "tells the largest by it"),
    **dict.fromkeys(named("Acos Acosh Asin Atanh"), ((0,), _VALUES | _ANGLES | named("Cos Sin"), "is steep near 1")),
    **dict.fromkeys(_WHOLE | {"Mod"}, ((0,), _VALUES, "makes integers of it")),
    "Log": ((0,), _VALUES | named("Softmax"), "takes the logarithm of it"),
    **dict.fromkeys(named("GridSample RoiAlign"), ((1,), _VALUES | _ANGLES, "takes it as coordinates")),
    "NonMaxSuppression": ((0, 1), _VALUES, "makes indices of it"),
}
_NEAREST = named("ArgMax ArgMin TopK")
_INTEGERS = (TensorProto.INT64, TensorProto.INT32, TensorProto.UINT8)
_SHAPING = named("Flatten Identity Reshape Squeeze Transpose Unsqueeze")
_LONGEST = 10
_LARGE = 1000.0
_MOST_FACTORS = 1 << 14  # more are weights


class Precautions:
    """Patterns that look dangerous.

    kept: nodes that stay in fp32, with the reason. suspects: nodes that stay narrow and may overflow, with the reason.

    Kept are sums of squares up to their root, logarithm or smallest, products of a tensor with itself, angles made from
    integers or inputs, what is made into integers or coordinates, and what large factors take out of range and back.
    What only samples can judge (powers, squares) is suspect.

    Args:
        sites: the nodes.
        overflows: whether usual values may be too large for the type.
    """

    def __init__(self, sites: Sequence[Site], *, overflows: bool) -> None:
        self.kept: Dict[str, str] = {}
        self.suspects: Dict[str, str] = {}
        self.made: Dict[str, Site] = {name: site for site in sites for name in site.node.output if name}
        self.readers = readers(sites)
        self.own_products: Set[str] = set()
        self.computing = sum(site.node.op_type in _COMPUTE for site in sites)
        for site in sites:
            self._keep_before(site)
            self._keep_own_product(site)
        for site in sites if overflows else ():
            self._keep_scaled(site)
        for site in sites if overflows else ():
            if site.variables and site.node.name not in self.kept:
                self._suspect(site)
        able = {site.node.name for site in sites if site.variables}
        self.kept = {name: why for name, why in self.kept.items() if name in able}

    def _keep_before(self, site: Site) -> None:
        """Keep a node whose result depends on the last bits of what it reads, with what leads to it."""
        node = site.node
        operator, name = node.op_type, repr(node.name)
        if operator in SQUARING or operator == "CumSum":
            self.kept[node.name] = "squares, sums or multiplies many values"
        elif operator in ("Sin", "Cos"):
            path, given = self._leading(site, _ANGLES)
            self._keep(site, path if given else set(), f"angle of {name}, made from integers or inputs")
        elif operator == "Cast" and site.scope.get(node.output[0]) in _INTEGERS:
            self._keep(site, self._leading(site, _VALUES)[0], f"{name} makes integers of it")
        elif operator in _NEAREST and self._way(node.input[0], _LONGEST, added=False, mixes=True):
            self._keep(site, self._leading(site, _SUMS, ends=_COMPUTE)[0], f"{name} picks the nearest")
        elif operator in _STEEP:
            positions, through, why = _STEEP[operator]
            for position in positions:
                ends = _COMPUTE if operator == "Equal" else frozenset()
                path, given = self._leading(site, through, position, ends=ends)
                self._keep(site, path or ({node.name} if given else set()), f"{name} {why}")
            self._keep_remainders(site)
        if operator in _SINKS:
            start = 1 if operator == "Div" else 0
            self._keep(site, self._paths(site, start), f"sum of squares up to {name}")

    def _keep_remainders(self, site: Site) -> None:
        """Keep what is left of values without their whole numbers."""
        for reader, _ in self._reading(site) if site.node.op_type in _WHOLE else ():
            for each in (reader, *(next_ for next_, _ in self._reading(reader) if reader.node.op_type == "Mul")):
                if each.node.op_type == "Sub":
                    self._keep(each, {reader.node.name}, f"{each.node.name!r} subtracts whole numbers")

    def _reading(self, site: Site) -> Sequence[Tuple[Site, int]]:
        return self.readers.get(site.node.output[0], ())

    def _keep_scaled(self, site: Site) -> None:
        """Keep what takes values out of the usual range, or back into it: exp, and large and small constants."""
        node = site.node
        operator, name, factor = node.op_type, node.name, self._factor(site)
        if operator == "Exp" or factor >= _LARGE:
            for reader in behind(site, max(factor, _LARGE), large=True, among=self.readers):
                self.kept.setdefault(reader.node.name, f"reads large values of {name!r}")
            self.kept.setdefault(name, "makes large values")
        shift = float(_sizes(site).min(initial=np.inf)) if operator in ("Add", "Sub") else 0.0
        if factor >= _LARGE or 0 < factor <= 1 / _LARGE or _LARGE <= shift < np.inf:
            ends = _COMPUTE if self.computing > 1 else frozenset()
            path, given = self._leading(site, _SUMS, _variable(site), ends=ends)
            summed = self.made.get(self._moved(node.input[_variable(site)]))
            if summed is not None and summed.node.op_type == "ReduceSum" and 0 < factor < 1:
                path = {summed.node.name}  # a mean: what is added up has the usual range
            self._keep(site, path or ({name} if given else set()), f"{name!r} brings it into another range")

    def _factor(self, site: Site) -> float:
        """Return the least that a node multiplies a value by, if constant; 0 for masks, and what a network learns."""
        if site.node.op_type not in ("Mul", "Div"):
            return 0.0
        sizes = _sizes(site)
        least, most = (float(sizes.min()), float(sizes.max())) if sizes.size else (0.0, 0.0)
        if site.node.op_type == "Div" and least > 0:
            least, most = 1 / most, 1 / least
        learnt = least < _LARGE and sizes.size > 1 and site.node.input[_variable(site)] in self.made
        return 0.0 if learnt else least

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

    def _leading(
        self, sink: Site, through: FrozenSet[str], position: int = 0, *, ends: FrozenSet[str] = frozenset()
    ) -> Tuple[Set[str], bool]:
        """Return the nodes that lead to an input through such operators, and whether integers or inputs do.

        ``ends``: operators at which a path may start, too.
        """
        found: Set[str] = set()
        pending: List[Tuple[str, int]] = [(sink.node.input[position], _LONGEST)]
        given = False
        while pending:
            name, left = pending.pop()
            site = self.made.get(name)
            if site is None:
                given = given or sink.scope.constant(name) is None
            elif left and site.node.op_type in ends:
                found.add(site.node.name)
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
        if node.op_type == "Pow" and _largest(site, 1) >= 2:
            self.suspects[node.name] = "Pow overflows early"
        elif _is_square(site):
            self.suspects[node.name] = "a square overflows above 255"


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


def _variable(site: Site) -> int:
    """Return the position of the input that is no constant, of an operator with one."""
    return int(site.node.op_type in ("Add", "Mul") and site.scope.constant(site.node.input[0]) is not None)


def _sizes(site: Site) -> weights.Array:
    """Return the magnitudes of the constant of an operator with two inputs; none if there is none, or negative ones."""
    tensor = site.scope.constant(site.node.input[1 - _variable(site)]) if len(site.node.input) == 2 else None
    values = weights.array(tensor) if tensor is not None and weights.size(tensor) <= _MOST_FACTORS else np.zeros(0)
    return values.astype(np.float64) if (values >= 0).all() else np.zeros(0)
