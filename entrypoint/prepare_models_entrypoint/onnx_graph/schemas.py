"""What the operators' schemas say about types: the only source for what may become half precision."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Dict, FrozenSet, Iterable, Mapping, Optional, Tuple

from onnx import ModelProto, NodeProto, TensorProto, defs

STANDARD = ("", "ai.onnx")
CONTRIB = "com.microsoft"  # ONNX Runtime's own operators
SCALE_AXIS, HALF_SCALES = 13, 19  # opsets from which Q/DQ nodes have an axis, and fp16 scales
_NEWEST = 1 << 20
LIKE_THE_STANDARD = ("QuantizeLinear", "DequantizeLinear", "Gelu")  # of ONNX Runtime, in each opset

# Operators with two variables for the same type, unless an attribute says otherwise.
_SAME: Mapping[str, Mapping[str, str]] = {
    "DequantizeLinear": {"T3": "T2"},
    "LinearAttention": {"S": "T"},
}

_KINDS: Dict[str, int] = {name.lower(): number for name, number in TensorProto.DataType.items() if name != "UNDEFINED"}


@dataclass(frozen=True)
class Formal:
    """One input or output of an operator: the type variable that it shares with others, and the element types allowed.

    variable: None if each of its values has a type of its own (the variadic values of Loop). fixed: its element type if
    there is only one.
    """

    variable: Optional[str]
    allowed: FrozenSet[int]
    fixed: Optional[int]


@dataclass(frozen=True)
class Signature:
    """The types of an operator; the last formal of each side covers all further values if it is variadic."""

    inputs: Tuple[Formal, ...]
    outputs: Tuple[Formal, ...]
    variadic: Tuple[bool, bool]

    def input(self, index: int) -> Optional[Formal]:
        """Return the formal of the input at ``index``, or None if the operator has no such input."""
        return _at(self.inputs, index, variadic=self.variadic[0])

    def output(self, index: int) -> Optional[Formal]:
        """Return the formal of the output at ``index``, or None if the operator has no such output."""
        return _at(self.outputs, index, variadic=self.variadic[1])


def _at(formals: Tuple[Formal, ...], index: int, *, variadic: bool) -> Optional[Formal]:
    if index < len(formals):
        return formals[index]
    return formals[-1] if variadic and formals else None


def opsets(model: ModelProto) -> Dict[str, int]:
    """Return the version of each imported operator set; the standard one has the name ''."""
    found = {"" if item.domain in STANDARD else item.domain: item.version for item in model.opset_import}
    found.setdefault("", 1)
    return found


def signature(node: NodeProto, versions: Mapping[str, int]) -> Optional[Signature]:
    """Return an operator's types in the imported version, or None if ONNX doesn't define it."""
    domain = "" if node.domain in STANDARD else node.domain
    if domain == CONTRIB and node.op_type in LIKE_THE_STANDARD:
        return _signature(node.op_type, _NEWEST, "")
    return _signature(node.op_type, versions.get(domain, 1), domain)


def newest(node: NodeProto) -> Optional[Signature]:
    """Return an operator's types in the newest version known here."""
    return _signature(node.op_type, _NEWEST, "" if node.domain in STANDARD else node.domain)


@functools.lru_cache(maxsize=None)
def _signature(operator: str, version: int, domain: str) -> Optional[Signature]:
    try:
        schema = defs.get_schema(operator, version, domain)
    except defs.SchemaError:
        return None
    constraints = {item.type_param_str: item.allowed_type_strs for item in schema.type_constraints}
    same = _SAME.get(operator, {}) if not domain else {}
    return Signature(
        tuple(_formal(item, constraints, same) for item in schema.inputs),
        tuple(_formal(item, constraints, same) for item in schema.outputs),
        (_is_variadic(schema.inputs), _is_variadic(schema.outputs)),
    )


def _formal(
    item: "defs.OpSchema.FormalParameter", constraints: Mapping[str, Iterable[str]], same: Mapping[str, str]
) -> Formal:
    names = list(constraints.get(item.type_str, [item.type_str]))
    tensors = [_KINDS[name[7:-1]] for name in names if name.startswith("tensor(") and name[7:-1] in _KINDS]
    shared = item.type_str in constraints and item.is_homogeneous
    return Formal(
        same.get(item.type_str, item.type_str) if shared else None,
        frozenset(tensors),
        tensors[0] if len(names) == len(tensors) == 1 else None,
    )


def _is_variadic(formals: "Iterable[defs.OpSchema.FormalParameter]") -> bool:
    return any(item.option == defs.OpSchema.FormalParameterOption.Variadic for item in formals)
