"""Names of tensors in ROS 2 TensorLists, which are a graph's own business and not the model's."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Dict, List, Mapping, Sequence, Tuple

from . import codec
from .codec import ContractError
from .report import Binding, TensorNames

# What Isaac ROS' encoders and decoders use by default for one tensor.
_SINGLE = {"input": "input_tensor", "output": "output_tensor"}


@dataclass(frozen=True)
class RosConfig:
    """How the tensors of a TensorList are called.

    input_tensor_names, output_tensor_names: one name for each binding, in the engine's order; empty: the defaults.
    by_binding: names for single bindings, which win over the lists.
    """

    input_tensor_names: Tuple[str, ...] = ()
    output_tensor_names: Tuple[str, ...] = ()
    by_binding: Mapping[str, str] = field(default_factory=dict)

    KEYS = ("input_tensor_names", "output_tensor_names", "by_binding")

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> RosConfig:
        """Read the names."""
        codec.check_keys(raw, cls.KEYS, "ros")
        by_binding: Dict[str, Any] = codec.optional(raw, "by_binding", dict, "ros") or {}
        return cls(
            input_tensor_names=codec.strings(raw, "input_tensor_names", "ros"),
            output_tensor_names=codec.strings(raw, "output_tensor_names", "ros"),
            by_binding={name: codec.require(by_binding, name, str, "ros.by_binding") for name in by_binding},
        )

    def to_dict(self) -> Dict[str, Any]:
        """Return the JSON form."""
        return {
            "input_tensor_names": list(self.input_tensor_names),
            "output_tensor_names": list(self.output_tensor_names),
            "by_binding": dict(self.by_binding),
        }

    def resolve(self, bindings: Sequence[Binding]) -> TensorNames:
        """Return a name for every binding.

        Without a list, a single input or output gets the name that Isaac ROS uses by default, and each of several the
        name of its binding.

        Raises:
            ContractError: a list is not as long as the engine's, names repeat, or a binding is unknown.
        """
        unknown = sorted(set(self.by_binding) - {binding["name"] for binding in bindings})
        if unknown:
            known = ", ".join(binding["name"] for binding in bindings)
            raise ContractError(f"no binding is called {', '.join(unknown)}; the engine has {known}")
        return TensorNames(
            input_tensor_names=self._names("input", bindings, self.input_tensor_names),
            output_tensor_names=self._names("output", bindings, self.output_tensor_names),
        )

    def _names(self, mode: str, bindings: Sequence[Binding], listed: Sequence[str]) -> List[str]:
        own = [binding["name"] for binding in bindings if binding["mode"] == mode]
        if listed and len(listed) != len(own):
            raise ContractError(
                f"{mode}_tensor_names has {len(listed)} names for the {len(own)} {mode}s {', '.join(own)}"
            )
        default = [_SINGLE[mode]] if len(own) == 1 else own
        names = [self.by_binding.get(name, given) for name, given in zip(own, listed or default)]
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated:
            raise ContractError(f"the {mode} tensor name {', '.join(repeated)} is used twice")
        return names
