"""Which nodes become narrow, and why the others don't."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import List, Mapping, Sequence, Set

from onnx import TensorProto

from .hazards import Hazards
from .operators import ARITHMETIC, COUNTING, FOLLOW, MOVES, named
from .precautions import Precautions
from .sites import Site
from .types import Scope
from .values import Narrow

_FROM_SHAPES = ("Shape", "Size")
_WHOLE = (
    TensorProto.INT16, TensorProto.UINT16, TensorProto.INT32, TensorProto.UINT32, TensorProto.INT64, TensorProto.UINT64,
)  # fmt: skip
_GENERATORS = named("RandomNormal RandomUniform RandomNormalLike RandomUniformLike Bernoulli Multinomial")


@dataclass(frozen=True)
class KeptNode:
    """A node that stays unchanged. harmless: nothing is lost, as it has no such type or would gain nothing."""

    name: str
    op_type: str
    reason: str
    harmless: bool


@dataclass
class Decision:
    """narrowed: names of the nodes that become narrow. bounds: as in hazards. suspects: as in precautions."""

    narrowed: Set[str] = field(default_factory=set)
    kept: List[KeptNode] = field(default_factory=list)
    bounds: Mapping["tuple[str, int]", bool] = field(default_factory=dict)
    suspects: Mapping[str, str] = field(default_factory=dict)
    precautions: Mapping[str, str] = field(default_factory=dict)


def decide(sites: Sequence[Site], narrow: Narrow, *, keep: Mapping[str, str], samples: bool) -> Decision:
    """Return what becomes narrow; see ``retype`` for the arguments."""
    forbidden = Hazards(sites, narrow)
    careful = Precautions(() if samples else sites, overflows=narrow.kind == TensorProto.FLOAT16)
    reasons = {**careful.kept, **forbidden.kept, **keep}
    decision = Decision(bounds=forbidden.bounds, suspects=careful.suspects, precautions=careful.kept)
    flow = _Flow()
    for site in sites:
        node = site.node
        harmless = flow.fixed(site)
        if harmless or not site.variables:
            if harmless:
                decision.kept.append(KeptNode(node.name, node.op_type, harmless, harmless=True))
            flow.note(site, narrowed=False)
            continue
        if node.name in reasons:
            decision.kept.append(KeptNode(node.name, node.op_type, reasons[node.name], harmless=False))
        narrowed = node.name not in reasons and not flow.follows_full(site)
        if narrowed:
            decision.narrowed.add(node.name)
        flow.note(site, narrowed=narrowed)
    return decision


class _Flow:
    """What is known about tensors while walking the graph.

    narrow: those that become narrow. static: those computed only from shapes and constants. whole: whole numbers in
    float32, which are often too large for fp16 to hold exactly.
    """

    def __init__(self) -> None:
        self.whole: Set["tuple[int, str]"] = set()
        self.narrow: Set["tuple[int, str]"] = set()
        self.static: Set["tuple[int, str]"] = set()

    def fixed(self, site: Site) -> str:
        """Return why a node can't or need not become narrow whatever its values, or ''."""
        if site.stays:
            return site.stays
        if not site.variables:
            return ""
        if self._is_static(site) and site.node.op_type not in _FROM_SHAPES:
            return "computes with shapes and constants only"
        counts = site.node.op_type in ARITHMETIC and self._read(site, self.whole, every=False)
        return "computes with whole numbers" if counts else ""

    def follows_full(self, site: Site) -> bool:
        """Return whether a node has the type of its input, and that is not narrow."""
        if site.node.op_type not in FOLLOW:
            return False
        return not any(
            _key(site.scope, site.node.input[index]) in self.narrow for index in site.floats() if site.narrows(index)
        )

    def note(self, site: Site, *, narrowed: bool) -> None:
        """Record what a node outputs."""
        static, whole = self._is_static(site), self._is_whole(site)
        for index, name in enumerate(site.node.output):
            if narrowed and site.makes_narrow(index):
                self.narrow.add((id(site.scope), name))
            if static:
                self.static.add((id(site.scope), name))
            if whole:
                self.whole.add((id(site.scope), name))

    def _is_static(self, site: Site) -> bool:
        operator = site.node.op_type
        if operator in _FROM_SHAPES:
            return True
        if operator in _GENERATORS or site.signature is None or site.scope.inner.get(site.node.name):
            return False
        return self._read(site, self.static, every=True)

    def _is_whole(self, site: Site) -> bool:
        operator = site.node.op_type
        if operator == "Cast":
            return (
                site.scope.get(site.node.input[0]) in _WHOLE
                and site.scope.get(site.node.output[0]) == TensorProto.FLOAT
            )
        if operator in MOVES:
            return self._read(site, self.whole, every=False)
        return (
            operator in COUNTING
            and self._read(site, self.whole, every=False)
            and self._read(site, self.whole, every=True)
        )

    def _read(self, site: Site, tensors: Set["tuple[int, str]"], *, every: bool) -> bool:
        """Return whether a node reads one of these tensors, or, with ``every``, only these and constants."""
        names = [name for name in site.node.input if name]
        if every:
            return all(site.scope.constant(name) is not None or _key(site.scope, name) in tensors for name in names)
        return any(_key(site.scope, name) in tensors for name in names)


def _key(scope: Scope, name: str) -> "tuple[int, str]":
    """Return a tensor's name with the graph that it belongs to."""
    return id(scope.home(name)), name
