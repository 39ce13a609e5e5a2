"""A model in fp16 or bf16: the same graph with narrower inner tensors, and Casts where types meet.

Declared types stay: those of inputs and outputs, of the model and of graphs within it. A float tensor that becomes
narrow keeps its name, unless that is the name of an output. A constant that is needed in both types exists twice.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Dict, List, Mapping, Optional, Sequence, Tuple

from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper

from ..contract.report import WarningInfo
from . import sites as sites_
from . import weights
from .decide import Decision, KeptNode, decide
from .faults import RewriteError
from .names import Names
from .operators import FOLLOW
from .prepare import drop_unread
from .schemas import opsets
from .sites import Site
from .types import Scope
from .values import NARROW, Narrow, saturated
from .walk import graphs

_CAST_BY_NUMBER = 6  # in older opsets, Cast has its type as text


@dataclass
class Retyped:
    """A model with narrower tensors.

    kept: nodes that stay unchanged. already: whether the model had this type and was left alone.
    retyped: by name of a float tensor in the source, the name of its narrow counterpart.
    """

    model: ModelProto
    kept: List[KeptNode] = field(default_factory=list)
    warnings: List[WarningInfo] = field(default_factory=list)
    already: bool = False
    retyped: Dict[str, str] = field(default_factory=dict)


def retype(
    model: ModelProto, target: str, *, keep: Optional[Mapping[str, str]] = None, samples: bool = False
) -> Retyped:
    """Narrow the float tensors of a model, in place.

    Args:
        model: as ``prepare`` returns it.
        target: fp16 or bf16.
        keep: for nodes that have to stay in fp32, the reason by name.
        samples: whether samples showed which nodes these are; if not, suspicious patterns stay in fp32, too.
    """
    narrow = NARROW[target]
    sites = sites_.of(model, narrow)
    decision = decide(sites, narrow, keep=keep or {}, samples=samples)
    result = Retyped(model, decision.kept)
    if _is_already(sites, decision, narrow):
        result.kept, result.already = [], True
        return result
    writer = _Writer(model, narrow, decision, {site.node.name: site for site in sites})
    try:
        writer.rewrite(sites)
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise RewriteError(f"at node {writer.at!r}: {type(error).__name__}: {error}") from error
    result.retyped = writer.retyped
    result.warnings = _warnings(decision, narrow)
    return result


def _is_already(sites: Sequence[Site], decision: Decision, narrow: Narrow) -> bool:
    if any(site.node.name in decision.narrowed and site.node.op_type not in FOLLOW for site in sites):
        return False
    return any(site.scope.get(name) == narrow.kind for site in sites for name in site.node.input if name)


class _Writer:
    def __init__(self, model: ModelProto, narrow: Narrow, decision: Decision, by_name: Mapping[str, Site]) -> None:
        self.model, self.narrow, self.decision, self.by_name = model, narrow, decision, by_name
        self.names = Names(model)
        self.opset = opsets(model)[""]
        self.retyped: Dict[str, str] = {}
        self.at = ""

    def rewrite(self, sites: Sequence[Site]) -> None:
        if not sites:
            return
        outermost = sites[0].scope
        _Graph(self, outermost, None).rewrite()
        for graph in graphs(self.model.graph):
            del graph.value_info[:]
        drop_unread(self.model)

    def cast(self, source: str, target: str, kind: int, *, name: str) -> NodeProto:
        """Return a Cast node for this model's opset."""
        to = kind if self.opset >= _CAST_BY_NUMBER else TensorProto.DataType.Name(kind)
        return helper.make_node("Cast", [source], [target], name=name, to=to)


class _Graph:
    """One graph while it is rewritten.

    full, narrow: by name of a source tensor, the tensor with its values here in its own type and in the narrower one.
    """

    def __init__(self, writer: _Writer, scope: Scope, outer: "Optional[_Graph]") -> None:
        self.writer, self.scope, self.outer = writer, scope, outer
        self.graph: GraphProto = scope.graph
        self.outputs = {value.name for value in self.graph.output}
        self.full: Dict[str, str] = {}
        self.narrow: Dict[str, str] = {}
        self.nodes: List[NodeProto] = []
        self.copies: Dict[Tuple[str, str], str] = {}

    def rewrite(self) -> None:
        made = {name for node in self.graph.node for name in node.output}
        self.full.update((name, name) for name in self.scope.kinds if name not in made)
        for node in list(self.graph.node):
            self._node(node)
        self._outer_outputs()
        del self.graph.node[:]
        self.graph.node.extend(self.nodes)

    def _node(self, node: NodeProto) -> None:
        self.writer.at = node.name
        site, narrowed = self.writer.by_name[node.name], node.name in self.writer.decision.narrowed
        for index, name in enumerate(node.input):
            if name:
                node.input[index] = self._read(site, index, name, narrow=narrowed and site.narrows(index))
        for inner in self.scope.inner.get(node.name, ()):
            _Graph(self.writer, inner, self).rewrite()
        after = []
        for index, name in enumerate(node.output):
            if name and narrowed and site.makes_narrow(index):
                after += self._narrow_output(node, index, name)
            elif name:
                self.full[name] = name
        self.nodes += [node, *after]

    def _narrow_output(self, node: NodeProto, index: int, name: str) -> List[NodeProto]:
        self.narrow[name] = name
        if name in self.outputs:
            node.output[index] = self.narrow[name] = self.writer.names.fresh(f"{name}_{self.writer.narrow.name}")
        self.writer.retyped[name] = self.narrow[name]
        if name not in self.outputs:
            return []
        self.full[name] = name
        return [self.writer.cast(self.narrow[name], name, TensorProto.FLOAT, name=self.narrow[name])]

    def _read(self, site: Site, index: int, name: str, *, narrow: bool) -> str:
        """Return the tensor with these values in the type that an input needs; add a Cast or copy if needed."""
        if self.scope.get(name) != TensorProto.FLOAT:
            return name
        if narrow and self.scope.constant(name) is not None:
            return self.home(name).copy(name, self.writer.decision.bounds.get((site.node.name, index)))
        return self.read(name, narrow=narrow)

    def read(self, name: str, *, narrow: bool) -> str:
        """Return the tensor with a float tensor's values in this type; add a Cast or a copy if there is none."""
        found = self.find(name, narrow=narrow)
        if found is None:
            kind, suffix = (self.writer.narrow.kind, self.writer.narrow.name) if narrow else (TensorProto.FLOAT, "fp32")
            source = self.find(name, narrow=not narrow) or name
            found = self.writer.names.fresh(f"{name}_{suffix}")
            self.nodes.append(self.writer.cast(source, found, kind, name=found))
            (self.narrow if narrow else self.full)[name] = found
        return found

    def find(self, name: str, *, narrow: bool) -> Optional[str]:
        """Return the existing tensor with these values in this type, or None."""
        table = self.narrow if narrow else self.full
        if name in table:
            return table[name]
        if name in self.scope.kinds or self.outer is None:
            return None
        return self.outer.find(name, narrow=narrow)

    def home(self, name: str) -> "_Graph":
        """Return the graph that a tensor belongs to."""
        if name in self.scope.kinds or self.outer is None:
            return self
        return self.outer.home(name)

    def copy(self, name: str, infinite: Optional[bool]) -> str:
        """Return the narrow copy of a constant. ``infinite``: how bounds saturate; None for other constants."""
        kind = "" if infinite is None else ("inf" if infinite else "max")
        if (name, kind) not in self.copies:
            narrow = self.writer.narrow
            tensor = self.scope.constants[name]
            if infinite is not None:
                tensor = weights.tensor(saturated(weights.array(tensor), narrow, infinite=infinite), name)
            wish = "_".join(part for part in (name, narrow.name, kind) if part)
            self.copies[name, kind] = self.writer.names.fresh(wish)
            weights.round_into(self.graph.initializer.add(), tensor, self.copies[name, kind], narrow.kind)
        return self.copies[name, kind]

    def _outer_outputs(self) -> None:
        """Keep the types of a body's outputs that are tensors of a surrounding graph."""
        for value in self.graph.output:
            if value.name not in self.scope.kinds and self.scope.get(value.name) == TensorProto.FLOAT:
                value.name = self.read(value.name, narrow=False)


def _warnings(decision: Decision, narrow: Narrow) -> List[WarningInfo]:
    found = []
    if decision.precautions:
        found.append(
            WarningInfo(
                code="precision-precaution",
                message=f"{len(decision.precautions)} nodes stay in fp32, as {narrow.name} often ruins them: "
                f"{_first(decision.precautions)}",
                hint="give samples with verify: or calibration:, which show what is needed",
            )
        )
    if decision.suspects:
        found.append(
            WarningInfo(
                code="precision-suspects",
                message=f"{len(decision.suspects)} nodes may overflow {narrow.name}: {_first(decision.suspects)}",
                hint="verify: with samples shows whether they do; keep_fp32: [NAME] keeps one in fp32",
            )
        )
    return found


def _first(reasons: Mapping[str, str], most: int = 5) -> str:
    named = [f"{name} ({why})" for name, why in list(reasons.items())[:most]]
    return ", ".join(named) + (", ..." if len(reasons) > most else "")
