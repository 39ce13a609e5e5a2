"""Each node of a model, with what its operator's schema and the types around it say about narrowing it."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Deque, Dict, FrozenSet, Iterator, List, Mapping, Optional, Sequence, Set, Tuple

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto

from . import schemas, types, weights
from .operators import ASIDE, FULL_IN_TENSORRT, GROWING, RECURRENT, SHRINKING, STAY, STEEP
from .types import Scope
from .values import Narrow
from .walk import bodies

_MODERATE = 64.0  # largest factor that is safe for values of usual size


@dataclass(frozen=True)
class Site:
    """A node in its graph. variables: its type variables that can be narrow. stays: why it has none, or ''."""

    node: NodeProto
    scope: Scope
    signature: Optional[schemas.Signature]
    variables: FrozenSet[str]
    stays: str = ""

    def is_float(self, name: str) -> bool:
        """Return whether a tensor is in float32."""
        return bool(name) and self.scope.get(name) == TensorProto.FLOAT

    def floats(self) -> Iterator[int]:
        """Return the positions of float inputs."""
        return (index for index, name in enumerate(self.node.input) if self.is_float(name))

    def narrows(self, index: int) -> bool:
        """Return whether the float input at ``index`` becomes narrow with the node."""
        formal = self.signature.input(index) if self.signature is not None else None
        return formal is not None and formal.variable in self.variables

    def makes_narrow(self, index: int) -> bool:
        """Return whether the output at ``index`` is a float that becomes narrow with the node."""
        formal = self.signature.output(index) if self.signature is not None else None
        named = formal is not None and formal.variable in self.variables
        return named and self.is_float(self.node.output[index])


def of(model: ModelProto, narrow: Narrow) -> List[Site]:
    """Return the nodes of all graphs in the order in which they run; a node comes before those in its bodies."""
    versions = schemas.opsets(model)
    return list(_of_scope(types.of(model), versions, narrow, scanned=False))


def _of_scope(scope: Scope, versions: Mapping[str, int], narrow: Narrow, *, scanned: bool) -> Iterator[Site]:
    for node in scope.graph.node:
        site = _site(node, scope, versions, narrow)
        if scanned and site.variables:
            site = Site(node, scope, site.signature, frozenset(), "TensorRT computes what a Scan repeats in float32")
        yield site
        for inner in scope.inner.get(node.name, ()):
            yield from _of_scope(inner, versions, narrow, scanned=scanned or node.op_type == "Scan")


def _site(node: NodeProto, scope: Scope, versions: Mapping[str, int], narrow: Narrow) -> Site:
    signature = schemas.signature(node, versions)
    if signature is None:
        return Site(node, scope, None, frozenset(), f"{node.domain or 'a custom operator'} decides its own types")
    if node.domain not in schemas.STANDARD:
        return Site(node, scope, signature, frozenset(), f"operators of {node.domain} stay as they are")
    if bodies(node) or node.op_type == "Constant":
        return Site(node, scope, signature, frozenset())
    if node.op_type in STAY:
        return Site(node, scope, signature, frozenset(), STAY[node.op_type])
    with_lengths = node.op_type in RECURRENT and len(node.input) > 4 and node.input[4]
    if with_lengths or node.op_type in FULL_IN_TENSORRT[narrow.name]:
        return Site(node, scope, signature, frozenset(), f"TensorRT takes it in float32, not in {narrow.name}")
    bound = types.binding(node, signature, scope)
    floats = {variable for variable, kind in bound.items() if kind == TensorProto.FLOAT}
    sequences = any(scope.get(name) < 0 for name in (*node.input, *node.output) if name)
    # ONNX allowed bfloat16 late, even for operators that hardware has long computed in it.
    lenient = schemas.newest(node) if narrow.kind == TensorProto.BFLOAT16 else None
    allowed = {name for name in floats if any(_takes(each, name, narrow.kind) for each in (signature, lenient) if each)}
    allowed -= ASIDE.get(node.op_type, frozenset())
    if sequences or _is_open(node, signature, scope, floats):
        return Site(node, scope, signature, frozenset(), "the types of its outputs follow from more than its inputs")
    stays = f"ONNX defines no {node.op_type} of {narrow.name} in this opset" if floats and not allowed else ""
    return Site(node, scope, signature, frozenset(allowed), stays)


def _is_open(node: NodeProto, signature: schemas.Signature, scope: Scope, floats: "set[str]") -> bool:
    """Return whether a float output has a type variable that neither a float input nor an attribute determines."""
    for index, name in enumerate(node.output):
        formal = signature.output(index)
        if not name or formal is None or formal.fixed is not None or scope.get(name) != TensorProto.FLOAT:
            continue
        if formal.variable not in floats and node.op_type not in types.BY_ATTRIBUTE:
            return bool(floats)
    return False


def _takes(signature: schemas.Signature, variable: str, kind: int) -> bool:
    formals = [formal for formal in (*signature.inputs, *signature.outputs) if formal.variable == variable]
    return bool(formals) and all(kind in formal.allowed for formal in formals)


Readers = Mapping[str, Sequence[Tuple[Site, int]]]


def readers(sites: Sequence[Site]) -> Readers:
    """Return the nodes that read a tensor, with the positions of these inputs, by its name."""
    found: Dict[str, List[Tuple[Site, int]]] = {}
    for site in sites:
        for index, name in enumerate(site.node.input):
            found.setdefault(name, []).append((site, index))
    return found


def behind(origin: Site, worst: float, *, large: bool, among: Readers) -> Iterator[Site]:
    """Yield the nodes that read what ``origin`` computes, up to those that bring it back into range.

    Args:
        origin: a node whose results don't fit.
        worst: the magnitude of its constant.
        large: whether its results are too large; if not, too small.
        among: the nodes of the model.
    """
    queue: Deque[str] = deque(_floats_out(origin))
    seen: Set[str] = set(queue)
    while queue:
        for site, index in among.get(queue.popleft(), ()):
            if not _needs(site.node.op_type, index, large=large):
                continue
            yield site
            passes = site.node.op_type in (GROWING if large else SHRINKING)
            if passes and not (large and (_makes_shares(site, among) or _brings_back(site, index, worst))):
                fresh = [name for name in _floats_out(site) if name not in seen]
                seen.update(fresh)
                queue.extend(fresh)


def _makes_shares(site: Site, among: Readers) -> bool:
    """Return whether a node divides values by their sum, as in a softmax."""
    beside = among[site.node.input[0]] if site.node.op_type == "Div" else ()
    return any(each.node.op_type == "ReduceSum" and each.node.output[0] == site.node.input[1] for each, _ in beside)


def _brings_back(site: Site, index: int, worst: float) -> bool:
    """Return whether a constant factor takes values of the magnitude ``worst`` at an input back into range."""
    operator = site.node.op_type
    if operator not in ("Mul", "Div") or len(site.node.input) != 2 or (operator == "Div" and index != 0):
        return False
    factor = site.scope.constant(site.node.input[1 - index])
    if factor is None or not weights.size(factor):
        return False
    sizes = np.abs(weights.array(factor))
    most = float(sizes.max()) if operator == "Mul" else 1 / max(float(sizes.min()), 1e-38)
    return worst * most <= _MODERATE


def _needs(operator: str, index: int, *, large: bool) -> bool:
    """Return whether rounding large (or else small) values at an input of an operator ruins its result."""
    if operator in ("Shape", "Size"):
        return False
    if operator == "Div":  # dividing by a large value, or a small one, gives a small result
        return (index == 0) == large
    return large or operator in SHRINKING or operator in STEEP


def _floats_out(site: Site) -> Iterator[str]:
    return filter(site.is_float, site.node.output)
