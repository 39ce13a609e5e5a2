"""Functions of a model: each call is replaced by the function's nodes, as programs differ in how they read calls."""

from __future__ import annotations

from typing import Dict, Iterator, List, Tuple

from onnx import AttributeProto, FunctionProto, ModelProto, NodeProto, defs, inliner

from ..errors import ConvertError
from ..third_party import ThirdPartyError, third_party
from . import graph
from .schemas import STANDARD, opsets
from .walk import within

_Key = Tuple[str, str, str]


def inline(model: ModelProto) -> ModelProto:
    """Return the model without functions, or the model itself if it has none. The given model may be modified.

    Raises:
        ConvertError: ``onnx-invalid``: a function can't be inlined, as it calls itself for instance.
            ``onnx-unsupported-operator``: its operators can't be converted to the model's operator set.
    """
    if not model.functions:
        return model
    _check_ends(model)
    _bind_defaults(model)
    _adopt_version(model)
    versions = {item.version for each in model.functions for item in each.opset_import if item.domain in STANDARD}
    code = "onnx-invalid" if versions <= {opsets(model)[""]} else "onnx-unsupported-operator"
    try:
        with third_party():
            found = inliner.inline_local_functions(model, convert_version=True)
    except ThirdPartyError as error:
        raise _refused(model, str(error), code) from error
    left = {_key(node) for node in graph.nodes(found)} & {_key(each) for each in model.functions}
    if left:
        raise _refused(model, f"calls are left of {', '.join('.'.join(key).strip('.') for key in sorted(left))}", code)
    del found.functions[:]
    return found


def _check_ends(model: ModelProto) -> None:
    """Refuse functions that call themselves or each other in a circle, on which older inliners crash."""
    calls = {_key(each): {_key(node) for node in _within(each)} for each in model.functions}
    while calls:
        ending = [key for key, called in calls.items() if not called & set(calls)]
        if not ending:
            raise _refused(model, "they call themselves, or each other in a circle")
        for key in ending:
            del calls[key]


def _bind_defaults(model: ModelProto) -> None:
    """Give calls the attributes that they leave to a function's default, which ONNX's inliner forgets."""
    defaults: Dict[_Key, List[AttributeProto]] = {_key(each): list(each.attribute_proto) for each in model.functions}
    for node in _called(model):
        given = {attribute.name for attribute in node.attribute}
        node.attribute.extend(each for each in defaults.get(_key(node), ()) if each.name not in given)


def _adopt_version(model: ModelProto) -> None:
    """Have functions import the model's operators where these mean the same as those that they import."""
    wanted = opsets(model)[""]
    for function in model.functions:
        for item in function.opset_import:
            if item.domain in STANDARD and _same(function, item.version, wanted):
                item.version = wanted


def _same(function: FunctionProto, version: int, other: int) -> bool:
    used = {node.op_type for node in _within(function) if node.domain in STANDARD}
    return all(
        defs.has(name, version, "")
        and defs.has(name, other, "")
        and defs.get_schema(name, version, "").since_version == defs.get_schema(name, other, "").since_version
        for name in used
    )


def _called(model: ModelProto) -> Iterator[NodeProto]:
    yield from graph.nodes(model)
    for function in model.functions:
        yield from _within(function)


def _within(function: FunctionProto) -> Iterator[NodeProto]:
    for node in function.node:
        yield from within(node)


def _key(item: "NodeProto | FunctionProto") -> _Key:
    name = item.op_type if isinstance(item, NodeProto) else item.name
    return item.domain, name, getattr(item, "overload", "")


def _refused(model: ModelProto, why: str, code: str = "onnx-invalid") -> ConvertError:
    names = sorted({f"{each.domain}.{each.name}" for each in model.functions})
    return ConvertError(
        code,
        f"the model's functions ({', '.join(names[:5])}) can't be replaced by their nodes: {why}",
        hint="export the model without functions of its own, or with functions of its own opset",
    )
