"""Names of tensors in ROS 2 TensorLists, which depend on the ROS graph and not on the model."""

from __future__ import annotations

from typing import TYPE_CHECKING, List, Mapping, Sequence, Tuple

from .codec import ContractError
from .kinds import ByName, ListOf, Text
from .settings import Record, setting

if TYPE_CHECKING:
    from .report import Binding, TensorNames

# The names that Isaac ROS' encoders and decoders use by default for a single tensor.
_SINGLE = {"input": "input_tensor", "output": "output_tensor"}
_NAMES = ListOf(Text("tensor names"), "a list of tensor names")


class RosConfig(Record):
    """Names of the tensors in a TensorList. Empty lists mean the defaults; ``by_binding`` overrides both."""

    input_tensor_names: Tuple[str, ...] = setting(
        _NAMES, "one name for each input, in the engine's order", ["left_image", "right_image"], default=()
    )
    output_tensor_names: Tuple[str, ...] = setting(
        _NAMES, "one name for each output, in the engine's order", ["disparity"], default=()
    )
    by_binding: Mapping[str, str] = setting(
        ByName(Text("a tensor name"), "names by binding"), "names of single bindings", default=dict, key=""
    )

    def resolve(self, bindings: Sequence[Binding]) -> TensorNames:
        """Return a name for every binding.

        Without a list, a single input or output gets Isaac ROS's default name; of several, each gets the name of its
        binding.

        Raises:
            ContractError: a list's length differs from the engine's, names repeat, or a binding is unknown.
        """
        unknown = sorted(set(self.by_binding) - {binding["name"] for binding in bindings})
        if unknown:
            known = ", ".join(binding["name"] for binding in bindings)
            raise ContractError(f"no binding is called {', '.join(unknown)}; the engine has {known}")
        return {
            "input_tensor_names": self._names("input", bindings, self.input_tensor_names),
            "output_tensor_names": self._names("output", bindings, self.output_tensor_names),
        }

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
