"""Inputs and outputs of a model as config.pbtxt describes them, and as Triton completes them from an engine."""

from __future__ import annotations

from dataclasses import replace
from typing import Dict, List, Optional, Sequence, Tuple

from ...contract.report import Binding
from ...contract.values import Value
from .text_format import Message, first, messages

# Triton's names for the types of TensorRT's bindings.
TYPES: Dict[str, str] = {
    "float32": "TYPE_FP32",
    "float16": "TYPE_FP16",
    "bfloat16": "TYPE_BF16",
    "int8": "TYPE_INT8",
    "int32": "TYPE_INT32",
    "int64": "TYPE_INT64",
    "uint8": "TYPE_UINT8",
    "bool": "TYPE_BOOL",
}
UNSET = "TYPE_INVALID"
MODES = ("input", "output")
Shape = Tuple[int, ...]


class Tensor(Value):
    """One input or output. ``dims`` omit the batch if the model batches; -1 is any size.

    reshape: the shape that the model gets instead; None if it gets ``dims``.
    """

    mode: str
    name: str
    data_type: str
    dims: Shape
    reshape: Optional[Shape] = None
    layout: str = "FORMAT_NONE"
    is_shape: bool = False
    ragged: bool = False
    optional: bool = False
    nonlinear: bool = False

    @property
    def wanted(self) -> Shape:
        """Return the shape that the model gets, without the batch."""
        return self.dims if self.reshape is None else self.reshape


def fits(shape: Sequence[int], other: Sequence[int]) -> bool:
    """Return whether two shapes are equal for Triton: -1 on either side is any size."""
    return len(shape) == len(other) and all(-1 in (a, b) or a == b for a, b in zip(shape, other))


def configured(config: Message, *modes: str) -> List[Tensor]:
    """Return the inputs or the outputs of a configuration; both if no mode is given."""
    return [_tensor(mode, message) for mode in modes or MODES for message in messages(config, mode)]


def _tensor(mode: str, message: Message) -> Tensor:
    reshape = messages(message, "reshape")
    return Tensor(
        mode=mode,
        name=first(message, "name", ""),
        data_type=str(first(message, "data_type", UNSET)),
        dims=tuple(message.get("dims", ())),
        reshape=tuple(reshape[0].get("shape", ())) if reshape else None,
        layout=str(first(message, "format", "FORMAT_NONE")),
        is_shape=first(message, "is_shape_tensor", default=False),
        ragged=first(message, "allow_ragged_batch", default=False),
        optional=first(message, "optional", default=False),
        nonlinear=first(message, "is_non_linear_format_io", default=False),
    )


def completed(tensors: Sequence[Tensor], io: Sequence[Binding], mode: str, *, batching: bool) -> List[Tensor]:
    """Return inputs or outputs after auto-complete: missing types and dims are taken from the engine."""
    own = {binding["name"]: _of_engine(binding, batching=batching) for binding in io if binding["mode"] == mode}
    if not tensors:
        return list(own.values())
    return [_filled(tensor, own.get(tensor.name)) for tensor in tensors]


def _filled(tensor: Tensor, own: Optional[Tensor]) -> Tensor:
    if own is None:
        return tensor
    if tensor.data_type == UNSET:
        tensor = replace(tensor, data_type=own.data_type)
    return tensor if tensor.dims else replace(tensor, dims=own.dims, reshape=own.reshape)


def _of_engine(binding: Binding, *, batching: bool) -> Tensor:
    shape = tuple(binding["shape"][1:] if batching else binding["shape"])
    return Tensor(
        mode=binding["mode"],
        name=binding["name"],
        data_type=TYPES.get(binding["dtype"], UNSET),
        dims=shape or (1,),
        reshape=None if shape else (),
    )
