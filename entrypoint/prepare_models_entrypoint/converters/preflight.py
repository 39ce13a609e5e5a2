"""Checks of a parsed network against the manifest, before any time is spent on a build. Pure: no backend here."""

from __future__ import annotations

from typing import Dict, List, Mapping, Sequence, Tuple

from ..contract.codec import ContractError
from ..contract.report import Binding, ProfileShapes, TensorNames
from ..contract.ros import RosConfig
from ..contract.shapes import ShapeRange
from ..errors import ConvertError

DYNAMIC = -1


def check_network(bindings: Sequence[Binding], layers: int) -> None:
    """Refuse a network without layers, inputs or outputs: parsers take zero bytes for a model."""
    counts = {mode: sum(binding["mode"] == mode for binding in bindings) for mode in ("input", "output")}
    if not layers or not counts["input"] or not counts["output"]:
        raise ConvertError(
            "network-empty",
            f"the model parses to {layers} layers, {counts['input']} inputs and {counts['output']} outputs",
            hint="check that the file is the exported network: an empty or zeroed file parses without an error",
        )


def check_outputs(bindings: Sequence[Binding], expected: Sequence[str]) -> None:
    """Compare the network's outputs with the manifest's ``outputs`` (none: anything goes)."""
    found = [binding["name"] for binding in bindings if binding["mode"] == "output"]
    if expected and sorted(expected) != sorted(found):
        raise ConvertError(
            "outputs-mismatch",
            f"expected outputs {', '.join(expected)}; the model has {', '.join(found)}",
            hint=f"write outputs: [{', '.join(_quoted(found))}] in the manifest, or remove outputs",
        )


def check_tensor_names(bindings: Sequence[Binding], ros: RosConfig) -> TensorNames:
    """Return the names of tensors in ROS 2 messages; refuse names that don't fit the bindings."""
    try:
        return ros.resolve(bindings)
    except ContractError as error:
        raise ConvertError(
            "tensor-names-mismatch",
            f"the names for ROS don't fit the model: {error}",
            hint="give one name for each binding, in the engine's order, under ros:, or --tensor-names BINDING=NAME",
        ) from None


def resolve_profile(bindings: Sequence[Binding], inputs: Mapping[str, ShapeRange]) -> Dict[str, ProfileShapes]:
    """Return the shapes of every input in the optimization profile.

    Static inputs need no entry in ``inputs``; one that is given must agree with the model.
    """
    network = {binding["name"]: binding["shape"] for binding in bindings if binding["mode"] == "input"}
    unknown = [name for name in inputs if name not in network]
    if unknown:
        raise ConvertError(
            "inputs-unknown",
            f"the model has no input {', '.join(_quoted(unknown))}; its inputs are {_listing(network)}",
            hint="use the model's own input names under inputs:",
        )
    missing = [name for name, shape in network.items() if DYNAMIC in shape and name not in inputs]
    if missing:
        raise ConvertError(
            "inputs-missing",
            f"dynamic dimensions without shapes: {_listing({name: network[name] for name in missing})}",
            hint="add to the manifest  inputs: {"
            + ", ".join(_suggestion(name, network[name]) for name in missing)
            + "}",
        )
    return {name: _profile(name, shape, inputs.get(name)) for name, shape in network.items()}


def resolve_profiles(
    bindings: Sequence[Binding], inputs: Mapping[str, ShapeRange], more: Sequence[Mapping[str, ShapeRange]]
) -> List[Dict[str, ProfileShapes]]:
    """Return every optimization profile: the one of ``inputs``, then those of ``more``."""
    if not inputs and more:
        return [resolve_profile(bindings, each) for each in more]
    return [resolve_profile(bindings, each) for each in (inputs, *more)]


def _profile(name: str, shape: List[int], wanted: "ShapeRange | None") -> ProfileShapes:
    if wanted is None:
        return ProfileShapes(min=list(shape), opt=list(shape), max=list(shape))
    if len(wanted.opt) != len(shape):
        raise _mismatch(name, shape, wanted.opt, f"has rank {len(wanted.opt)}, the model's has rank {len(shape)}")
    for axis, fixed in enumerate(shape):
        for dims in (wanted.min, wanted.opt, wanted.max):
            if fixed not in (DYNAMIC, dims[axis]):
                raise _mismatch(name, shape, dims, f"has {dims[axis]} on axis {axis}, the model fixes {fixed}")
    return ProfileShapes(min=list(wanted.min), opt=list(wanted.opt), max=list(wanted.max))


def _mismatch(name: str, shape: Sequence[int], wanted: Sequence[int], why: str) -> ConvertError:
    return ConvertError(
        "inputs-mismatch",
        f"input {name!r}: the manifest's shape {_text(wanted)} {why}",
        hint=f"the model's shape is {_text(shape)} (-1 is dynamic); only dynamic dimensions are yours to choose",
    )


def _suggestion(name: str, shape: Sequence[int]) -> str:
    lines: Tuple[str, ...] = tuple(_text([free if size == DYNAMIC else size for size in shape]) for free in (1, 1, 8))
    return f'"{name}": {{min: {lines[0]}, opt: {lines[1]}, max: {lines[2]}}}'


def _listing(shapes: Mapping[str, Sequence[int]]) -> str:
    return ", ".join(f"{name!r} ({_text(shape)})" for name, shape in shapes.items())


def _text(shape: Sequence[int]) -> str:
    return "x".join(str(size) for size in shape)


def _quoted(names: Sequence[str]) -> List[str]:
    return [f'"{name}"' for name in names]
