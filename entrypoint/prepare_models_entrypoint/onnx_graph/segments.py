"""Runs a graph in ONNX Runtime a few nodes at a time: any tensor can be inspected, and only needed ones are kept.

Nothing is optimized away, each node runs once per sample, and large weights are fed from their files.
"""

from __future__ import annotations

from typing import Any, Callable, Dict, Iterator, List, Mapping, Optional, Sequence, Tuple

from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto, helper

from . import types, weights
from .walk import reads

Values = Dict[str, Any]
Change = Callable[[ModelProto], ModelProto]

_SMALL = 1024  # elements of a weight that a graph may contain: some kernels require constants
_FED = (
    TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE, TensorProto.INT8,
    TensorProto.UINT8, TensorProto.INT32, TensorProto.INT64,
)  # fmt: skip
_SEQUENCES = ("Sequence", "Optional", "SplitToSequence", "ConcatFromSequence")


class Segments:
    """A model that is run in segments.

    Args:
        model: functions inlined; its large weights may be in files.
    """

    def __init__(self, model: ModelProto) -> None:
        self.model = model
        self.nodes: List[NodeProto] = list(model.graph.node)
        self.outputs = [value.name for value in model.graph.output]
        self.scope = types.of(model)
        self.stored: Dict[str, TensorProto] = {tensor.name: tensor for tensor in model.graph.initializer}
        self.reads = [reads(node) for node in self.nodes]
        self._last = {name: index for index, names in enumerate(self.reads) for name in names}
        self._last.update(dict.fromkeys(self.outputs, len(self.nodes)))
        self._sequences = [i for i, node in enumerate(self.nodes) if node.op_type.startswith(_SEQUENCES)]
        self._made: Dict[Tuple[Any, ...], _Segment] = {}

    def end(self, start: int, wanted: int) -> int:
        """Return where a segment that starts at ``start`` ends: sequences, which can't be fed, stay within one."""
        first, last = (self._sequences[0], self._sequences[-1]) if self._sequences else (-1, -1)
        end = min(wanted, len(self.nodes))
        return max(end, last + 1) if start <= last and end > first >= 0 else end

    def can_start(self, start: int) -> bool:
        """Return whether a segment can start there: not between nodes that pass on sequences."""
        return not self._sequences or not self._sequences[0] < start <= self._sequences[-1]

    def advance(
        self, values: Values, start: int, end: int, *, observed: bool = False, change: Optional[Change] = None,
        again: bool = True,
    ) -> Values:  # fmt: skip
        """Run nodes ``start`` to ``end`` (exclusive) on ``values``, which afterwards contains what later nodes read.

        Args:
            values: by name.
            start: place of the first node.
            end: place after the last node.
            observed: whether to return all computed tensors.
            change: changes these nodes, as a model, for this time only.
            again: whether this segment will run again, and is worth keeping.

        Returns:
            All computed tensors if ``observed``, else those that later nodes read.
        """
        if start == end:
            return {}
        key = (start, end, observed, tuple(self._shapes(values, start, end)))
        again = again and change is None
        segment = self._made.get(key) if again else None
        if segment is None:
            own = [name for node in self.nodes[start:end] for name in node.output if name]
            asked = [name for name in own if observed or self.is_read_after(name, end)]
            segment = _Segment(self, range(start, end), values, asked, change)
        if again:
            self._made[key] = segment
        found = segment.run(values)
        values.update({name: value for name, value in found.items() if self._last.get(name, -1) >= end})
        for name in [name for name in values if self._last.get(name, -1) < end]:
            del values[name]
        return found

    def part(self, indices: Sequence[int], values: Values, asked: Sequence[str]) -> Values:
        """Run the nodes at ``indices``, in ascending order, on ``values``, and return the tensors in ``asked``."""
        return _Segment(self, indices, values, asked).run(values)

    def _shapes(self, values: Values, start: int, end: int) -> Iterator[Tuple[int, ...]]:
        """Yield the shapes of a segment's inputs: they are part of its graph, as some operators need them."""
        for name in sorted({name for names in self.reads[start:end] for name in names}):
            if name in values:
                yield values[name].shape

    def is_read_after(self, name: str, end: int) -> bool:
        """Return whether a node from ``end`` on, or the caller, reads a tensor."""
        return self._last.get(name, -1) >= end

    def results(self, values: Values) -> Values:
        """Return the outputs at the end of a run."""
        return {name: values[name] if name in values else weights.array(self.stored[name]) for name in self.outputs}

    def run(self, feed: Mapping[str, Any], step: int = 256) -> Values:
        """Run one sample as a whole, and return the outputs by name."""
        values, start = dict(feed), 0
        while start < len(self.nodes):
            end = self.end(start, start + step)
            self.advance(values, start, end)
            start = end
        return self.results(values)


class _Segment:
    """Some of the nodes as a separate model. numpy has no bfloat16: such values are passed as float32."""

    def __init__(
        self, whole: Segments, indices: Sequence[int], values: Values, asked: Sequence[str],
        change: Optional[Change] = None,
    ) -> None:  # fmt: skip
        nodes = [whole.nodes[index] for index in indices]
        own = [name for node in nodes for name in node.output if name]
        read = sorted({name for index in indices for name in whole.reads[index]}.difference(own))
        stored = [whole.stored[name] for name in read if name in whole.stored and name not in values]
        self._fed = [name for name in read if name in values]
        self._weights = [tensor for tensor in stored if _is_fed(tensor)]
        self._asked = list(asked)
        self._plain: Dict[str, str] = {}
        inputs = [_value(self._plain_name(name, whole.scope.get(name)), values[name]) for name in self._fed]
        inputs += [_declared(self._plain_name(tensor.name, tensor.data_type), tensor) for tensor in self._weights]
        before = [_cast(plain, name, TensorProto.BFLOAT16) for name, plain in self._plain.items()]
        shown = [self._plain_name(name, whole.scope.get(name)) for name in self._asked]
        after = [_cast(name, self._plain[name], TensorProto.FLOAT) for name in self._asked if name in self._plain]
        graph = helper.make_graph(
            [*before, *nodes, *after],
            "segment",
            inputs,
            [ValueInfoProto(name=name) for name in shown],
            [_held(tensor) for tensor in stored if not _is_fed(tensor)],
        )
        versions = whole.model.opset_import
        model = helper.make_model(graph, opset_imports=versions, ir_version=whole.model.ir_version)
        self._session = session(change(model) if change is not None else model)

    def _plain_name(self, name: str, kind: int) -> str:
        if kind == TensorProto.BFLOAT16:
            self._plain[name] = f"{name}_plain"
        return self._plain.get(name, name)

    def run(self, values: Values) -> Values:
        feed = {self._plain.get(name, name): values[name] for name in self._fed}
        feed.update({self._plain.get(t.name, t.name): weights.array(t) for t in self._weights})
        found = self._session.run([self._plain.get(name, name) for name in self._asked], feed) if self._asked else []
        return dict(zip(self._asked, found))


def nbytes(values: Mapping[str, Any]) -> int:
    """Return how many bytes arrays take in memory; lists of arrays, as of a sequence, don't count."""
    return sum(getattr(value, "nbytes", 0) for value in values.values())


def session(model: ModelProto) -> Any:
    """Return ONNX Runtime's session of a model on the CPU, with nothing optimized away."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.enable_cpu_mem_arena = False
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def _held(tensor: TensorProto) -> TensorProto:
    """Return a small weight with its values: ONNX Runtime opens no files for a model passed as bytes."""
    if tensor.data_location != TensorProto.EXTERNAL:
        return tensor
    held = TensorProto()
    held.CopyFrom(tensor)
    weights.bring(held)
    return held


def _is_fed(tensor: TensorProto) -> bool:
    return weights.size(tensor) > _SMALL and tensor.data_type in _FED


def _cast(source: str, target: str, kind: int) -> NodeProto:
    return helper.make_node("Cast", [source], [target], to=kind)


def _declared(name: str, tensor: TensorProto) -> ValueInfoProto:
    kind = TensorProto.FLOAT if tensor.data_type == TensorProto.BFLOAT16 else tensor.data_type
    return helper.make_tensor_value_info(name, kind, list(tensor.dims))


def _value(name: str, value: Any) -> ValueInfoProto:
    kind = TensorProto.STRING if value.dtype.kind in "OU" else helper.np_dtype_to_tensor_dtype(value.dtype)
    return helper.make_tensor_value_info(name, kind, value.shape)
