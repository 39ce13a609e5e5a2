"""Element types of all tensors of a model, from the operators' schemas: shape inference fails on many models."""

from __future__ import annotations

from typing import Container, Dict, Iterator, List, Mapping, Optional

import numpy as np
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, TypeProto, ValueInfoProto, helper

from . import schemas, weights
from .walk import attributes, bodies

FLOATS = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE)

# Operators with an attribute for an output type that no input determines; 0 means the first input's type.
BY_ATTRIBUTE: Mapping[str, "tuple[str, int]"] = {
    "Cast": ("to", TensorProto.UNDEFINED),
    "BitCast": ("to", TensorProto.UNDEFINED),
    "RandomNormal": ("dtype", TensorProto.FLOAT),
    "RandomUniform": ("dtype", TensorProto.FLOAT),
    "RandomNormalLike": ("dtype", 0),
    "RandomUniformLike": ("dtype", 0),
    "EyeLike": ("dtype", 0),
    "Bernoulli": ("dtype", 0),
    "Multinomial": ("dtype", TensorProto.INT32),
    "LayerNormalization": ("stash_type", TensorProto.FLOAT),
    "QuantizeLinear": ("output_dtype", TensorProto.UINT8),
    "MelWeightMatrix": ("output_datatype", TensorProto.FLOAT),
    "HannWindow": ("output_datatype", TensorProto.FLOAT),
    "HammingWindow": ("output_datatype", TensorProto.FLOAT),
    "BlackmanWindow": ("output_datatype", TensorProto.FLOAT),
    "SequenceEmpty": ("dtype", TensorProto.FLOAT),
}
# Attributes of any operator that name an element type.
_NAMING = ("to", "dtype", "output_datatype", "output_dtype", "stash_type", "precision", "softmax_precision")
_CONSTANTS = {
    "value_float": TensorProto.FLOAT, "value_floats": TensorProto.FLOAT, "value_int": TensorProto.INT64,
    "value_ints": TensorProto.INT64,
}  # fmt: skip


class Scope:
    """One graph, and through ``outer`` those around it.

    kinds: element type by tensor; that of a sequence or optional value is negative; 0 if unknown.
    constants: initializers and outputs of Constant nodes. inner: the graphs within a node, by its name.
    """

    def __init__(self, graph: GraphProto, outer: "Optional[Scope]") -> None:
        self.graph, self.outer = graph, outer
        self.kinds: Dict[str, int] = {tensor.name: tensor.data_type for tensor in graph.initializer}
        self.kinds.update((sparse.values.name, sparse.values.data_type) for sparse in graph.sparse_initializer)
        self.told = {value.name: declared(value) for value in (*graph.value_info, *graph.output)}
        self.inner: Dict[str, List[Scope]] = {}
        self.constants: Dict[str, TensorProto] = {tensor.name: tensor for tensor in graph.initializer}

    def all(self) -> "Iterator[Scope]":
        """Yield all graphs within this one, the innermost first, and then this one."""
        for scopes in self.inner.values():
            for inner in scopes:
                yield from inner.all()
        yield self

    def home(self, name: str) -> "Scope":
        """Return the graph that a tensor belongs to; the outermost one if it is unknown."""
        scope = self
        while name not in scope.kinds and scope.outer is not None:
            scope = scope.outer
        return scope

    def constant(self, name: str) -> Optional[TensorProto]:
        """Return the values of a tensor if they are in the model, else None."""
        return self.home(name).constants.get(name)

    def get(self, name: str) -> int:
        """Return the element type of a tensor that this graph sees, as in ``kinds``."""
        return self.home(name).kinds.get(name, 0)


def declared(value: ValueInfoProto) -> int:
    """Return the element type that a graph declares for a value."""
    return _of_type(value.type)


def _of_type(kind: TypeProto) -> int:
    which = kind.WhichOneof("value")
    if which in ("tensor_type", "sparse_tensor_type"):
        return int(getattr(kind, which).elem_type)
    if which in ("sequence_type", "optional_type"):
        return -abs(_of_type(getattr(kind, which).elem_type))
    return 0


def of(model: ModelProto) -> Scope:
    """Return the types of a model; node names must be unique, as ``prepare`` makes them."""
    return _scope(model.graph, None, schemas.opsets(model), [])


def _scope(graph: GraphProto, outer: Optional[Scope], versions: Mapping[str, int], fed: List[int]) -> Scope:
    scope = Scope(graph, outer)
    for index, value in enumerate(graph.input):
        kind = declared(value) or (fed[index] if index < len(fed) else 0)
        scope.kinds.setdefault(value.name, kind)
    for node in graph.node:
        values = constant_of(node)
        if values is not None:
            scope.constants[node.output[0]] = values
        kinds = _outputs(node, scope, versions)
        for name, kind in zip(node.output, kinds):
            if name:
                scope.kinds[name] = kind or scope.told.get(name, 0)
    return scope


def _outputs(node: NodeProto, scope: Scope, versions: Mapping[str, int]) -> List[int]:
    carried = bodies(node)
    if carried:
        return _of_bodies(node, carried, scope, versions)
    if node.op_type == "Constant" and node.domain in schemas.STANDARD:
        return [_of_constant(node)]
    signature = schemas.signature(node, versions)
    if signature is None:
        return [0] * len(node.output)
    bound = binding(node, signature, scope)
    return [_of_output(node, signature.output(index), bound, scope) for index in range(len(node.output))]


def binding(node: NodeProto, signature: schemas.Signature, scope: Scope) -> Dict[str, int]:
    """Return the element type of each type variable that a node's inputs determine."""
    bound: Dict[str, int] = {}
    for index, name in enumerate(node.input):
        formal = signature.input(index)
        kind = scope.get(name) if name else 0
        if formal is not None and formal.variable is not None and kind:
            bound.setdefault(formal.variable, kind)
    return bound


def _of_output(node: NodeProto, formal: Optional[schemas.Formal], bound: Mapping[str, int], scope: Scope) -> int:
    if formal is None:
        return 0
    if formal.fixed is not None:
        return formal.fixed
    if formal.variable is not None and formal.variable in bound and node.op_type not in ("Cast", "BitCast"):
        return bound[formal.variable]
    return _unbound(node, scope)


def _unbound(node: NodeProto, scope: Scope) -> int:
    given = attributes(node)
    first = scope.get(node.input[0]) if node.input else 0
    if node.op_type == "ConstantOfShape":
        return int(given["value"].data_type) if "value" in given else int(TensorProto.FLOAT)
    if node.op_type == "DequantizeLinear":
        return given.get("output_dtype") or scope.get(node.input[1])
    if node.op_type in ("SequenceConstruct", "SplitToSequence", "Optional"):
        return -abs(first)
    if node.op_type in ("SequenceAt", "ConcatFromSequence", "OptionalGetElement"):
        return abs(first)
    if node.op_type not in BY_ATTRIBUTE:
        return 0
    name, default = BY_ATTRIBUTE[node.op_type]
    kind = given.get(name, 0) or default or first
    if isinstance(kind, bytes):  # Cast before opset 6
        kind = TensorProto.DataType.Value(kind.decode("ascii", "replace").upper())
    return -kind if node.op_type == "SequenceEmpty" else kind


def constant_of(node: NodeProto) -> Optional[TensorProto]:
    """Return the values of a Constant node of numbers, None for other nodes and for sparse values and text."""
    if node.op_type != "Constant" or node.domain not in schemas.STANDARD:
        return None
    for attribute in node.attribute:
        if attribute.name == "value":
            tensor: TensorProto = attribute.t
            return tensor
        if attribute.name in _CONSTANTS:
            values = np.array(helper.get_attribute_value(attribute))
            return helper.make_tensor("", _CONSTANTS[attribute.name], values.shape, values.reshape(-1))
    return None


def _of_constant(node: NodeProto) -> int:
    values = constant_of(node)
    if values is not None:
        return int(values.data_type)
    given = {attribute.name: attribute for attribute in node.attribute}
    if "sparse_value" in given:
        return int(given["sparse_value"].sparse_tensor.values.data_type)
    return int(TensorProto.STRING if given.keys() & {"value_string", "value_strings"} else 0)


def convert_attributes(node: NodeProto, kinds: Container[int], to: int) -> None:
    """Make attributes name the element type ``to`` instead of ``kinds``, and convert tensors in them."""
    for attribute in node.attribute:
        if attribute.name in _NAMING and attribute.i in kinds:
            attribute.i = to
        elif attribute.type == AttributeProto.TENSOR and attribute.t.data_type in kinds:
            attribute.t.CopyFrom(weights.converted(attribute.t, to))


def _of_bodies(node: NodeProto, carried: List[GraphProto], scope: Scope, versions: Mapping[str, int]) -> List[int]:
    given = [scope.get(name) if name else 0 for name in node.input]
    if node.op_type == "Loop":
        given = [TensorProto.INT64, TensorProto.BOOL, *given[2:]]
    inner = [_scope(body, scope, versions, given) for body in carried]
    scope.inner[node.name] = inner
    outputs = [inner[0].get(value.name) or declared(value) for value in inner[0].graph.output]
    if node.op_type == "SequenceMap":
        return [-abs(kind) for kind in outputs]
    return outputs[1:] if node.op_type == "Loop" else outputs
