"""Checks of a parsed network against the manifest, before any time is spent on a build. Pure functions, no backend."""

from __future__ import annotations

from typing import List, Sequence

from ..contract.codec import ContractError
from ..contract.report import Binding, TensorNames
from ..contract.ros import RosConfig
from ..errors import ConvertError


def check_network(bindings: Sequence[Binding], layers: int) -> None:
    """Refuse a network without layers or outputs: parsers accept an empty file as a model. Inputs are optional."""
    outputs = sum(binding["mode"] == "output" for binding in bindings)
    if not layers or not outputs:
        raise ConvertError(
            "network-empty",
            f"the model parses to {layers} layers, {len(bindings) - outputs} inputs and {outputs} outputs",
        )


def check_outputs(bindings: Sequence[Binding], expected: Sequence[str]) -> None:
    """Compare the network's outputs with the manifest's ``outputs`` (empty: any outputs)."""
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
        raise ConvertError("tensor-names-mismatch", f"the names for ROS don't fit the model: {error}") from None


def _quoted(names: Sequence[str]) -> List[str]:
    return [f'"{name}"' for name in names]
