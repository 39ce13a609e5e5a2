"""What a model has around a node that a backend refuses: ONNX's own objection to it, and what a manifest can change."""

from __future__ import annotations

from typing import Dict, Iterator, List, Optional, Sequence, Set

import onnx
from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto, helper

from ..third_party import ThirdPartyError, third_party
from . import faults, model_file, names
from .graph import nodes
from .walk import reads, with_bodies

_WHOLE = (TensorProto.INT64, TensorProto.INT32, TensorProto.BOOL)
_DECIDED = ("If", "Loop", "Range", "ConstantOfShape")
_PASSING = ("Cast", "QuantizeLinear", "DequantizeLinear")
_LARGEST_SIZES = 1 << 14  # bytes: a smaller tensor may be a size or an axis, which operators' rules depend on


class Surroundings:
    """The nodes of a model's main graph by inputs and outputs; nodes in bodies count as the node with the body.

    Nodes of the model that have no name get one.
    """

    def __init__(self, model: ModelProto) -> None:
        self._nodes = list(nodes(model))
        anonymous = [node for node in self._nodes if not node.name]
        names.name_nodes(model)
        self._anonymous = {node.name for node in anonymous}
        self._model = model
        self._made: Dict[str, NodeProto] = {name: node for node in model.graph.node for name in node.output if name}
        self._constant = {tensor.name for tensor in model.graph.initializer}
        self._inputs = [value for value in model.graph.input if value.name not in self._constant]
        self._makers = {name: node for node in self._nodes for name in node.output if name}
        self._readers: Dict[str, List[NodeProto]] = {}
        for node in self._nodes:
            for name in node.input:
                self._readers.setdefault(name, []).append(node)
        self._values: Optional[Dict[str, ValueInfoProto]] = None

    def named(self, words: Sequence[str]) -> List[NodeProto]:
        """Return the nodes with these names."""
        return [node for node in self._model.graph.node if {*with_bodies(node)} & set(words) - {""}]

    def unnamed(self, operator: str, number: int) -> str:
        """Return the name, maybe a new one, of a node that a parser doesn't name; empty if several may be meant.

        Args:
            operator: of the node.
            number: its index in its graph, which may be within another node; -1 if unknown.
        """
        computing = [node for node in self._nodes if node.op_type == operator]
        found = [node for node in computing if node.name in self._anonymous] or computing
        numbered = self._model.graph.node[number] if 0 <= number < len(self._model.graph.node) else None
        if numbered is not None and numbered.name in [node.name for node in found]:
            return str(numbered.name)
        return found[0].name if len(found) == 1 else ""

    def computing(self, words: Sequence[str]) -> List[str]:
        """Return the names of the nodes in all graphs that these words name.

        Nodes that only pass values on, such as a Cast or a quantizer, may have been added: they are replaced by their
        neighbours.
        """
        known = {node.name: node for node in self._nodes}
        named = [known[word] for word in words if word in known]
        return [node.name for node in self._spread(named, 0)]

    def near(self, wanted: Sequence[str], distance: int) -> List[str]:
        """Return the names of the nodes up to ``distance`` nodes away, including these."""
        among = set(wanted)
        return [node.name for node in self._spread([node for node in self._nodes if node.name in among], distance)]

    def _spread(self, nodes: Sequence[NodeProto], distance: int) -> List[NodeProto]:
        """Return the nodes and those around them; nodes that only pass values on are omitted and add no distance."""
        found: Dict[str, NodeProto] = {}
        seen: Dict[str, int] = {}
        pending = [(node, distance) for node in nodes]
        while pending:
            node, left = pending.pop()
            if seen.get(node.name, -1) >= left:
                continue
            seen[node.name] = left
            passes = node.op_type in _PASSING
            if not passes:
                found[node.name] = node
            if passes or left:
                pending += [(each, left if passes else left - 1) for each in self._neighbours(node)]
        return list(found.values())

    def _neighbours(self, node: NodeProto) -> Iterator[NodeProto]:
        for name in node.input:
            if name in self._makers:
                yield self._makers[name]
        for name in node.output:
            yield from self._readers.get(name, ())

    def objection(self, node: NodeProto) -> Optional[str]:
        """Return ONNX's objection to a node with its particular inputs, or None."""
        shell = model_file.without_weights(self._model)
        try:
            with third_party():
                values = self._shapes(shell)
        except ThirdPartyError:  # for instance, an operator that onnx doesn't know
            return None
        graph = helper.make_graph(
            [node],
            "one",
            [values[name] for name in reads(node) if name in values and name not in self._constant],
            [onnx.helper.make_empty_tensor_value_info(name) for name in node.output if name],
        )
        for tensor in self._model.graph.initializer:
            if tensor.name in reads(node):
                if tensor.ByteSize() <= _LARGEST_SIZES:
                    graph.initializer.add().CopyFrom(tensor)
                else:
                    graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
        one = helper.make_model(graph, opset_imports=list(self._model.opset_import), ir_version=shell.ir_version)
        try:
            with third_party():
                onnx.shape_inference.infer_shapes(one, check_type=True, strict_mode=True)
        except ThirdPartyError as error:
            judged = isinstance(error.__cause__, onnx.shape_inference.InferenceError)
            return faults.plain(error) if judged else None
        return None

    def before(self, nodes: Sequence[NodeProto]) -> List[str]:
        """Return the tensors that these nodes read, computed from inputs and not from any of these nodes."""
        refused, inputs = {name for node in nodes for name in node.output}, {value.name for value in self._inputs}
        entering = dict.fromkeys(name for node in nodes for name in reads(node) if name in self._made)
        sources = {name: self._sources(name) for name in entering}
        return [name for name, found in sources.items() if inputs & found and not refused & found]

    def deciding(self, node: NodeProto) -> List[str]:
        """Return the model's integer inputs that determine a node's sizes, axes or branch, not its data."""
        sources: Set[str] = set()
        for name in list(node.input)[0 if node.op_type in _DECIDED else 1 :]:
            sources |= self._sources(name)
        return [
            value.name for value in self._inputs if value.name in sources and value.type.tensor_type.elem_type in _WHOLE
        ]

    def _sources(self, name: str) -> Set[str]:
        """Return all tensors from which one is computed, itself included."""
        found: Set[str] = set()
        pending = [name]
        while pending:
            each = pending.pop()
            if each not in found:
                found.add(each)
                pending += reads(self._made[each]) if each in self._made else []
        return found

    def _shapes(self, shell: ModelProto) -> Dict[str, ValueInfoProto]:
        if self._values is None:
            inferred = onnx.shape_inference.infer_shapes(shell, data_prop=True).graph
            self._values = {value.name: value for value in (*inferred.input, *inferred.value_info, *inferred.output)}
        return self._values
