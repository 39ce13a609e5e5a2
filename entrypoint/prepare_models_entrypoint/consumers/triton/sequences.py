"""Tensors of sequence batching: controls that Triton fills, and states that it passes from one request to the next."""

from __future__ import annotations

from typing import Iterator, List, Optional, Sequence, Tuple

from ...contract.report import Binding
from .core_rules import CONTROL_VALUES, CORRELATION, Finding
from .tensors import TYPES, fits
from .text_format import Message, first, messages


def inputs(config: Message) -> List[str]:
    """Return the names of the inputs that sequence batching fills."""
    return [name for name, _ in _controls(config)] + [first(state, "input_name", "") for state in _states(config)]


def outputs(config: Message) -> List[str]:
    """Return the names of the outputs that are states."""
    return [first(state, "output_name", "") for state in _states(config)]


def judge(config: Message, io: Sequence[Binding], configured: Sequence[str], *, batching: bool) -> Iterator[Finding]:
    """Compare controls and states with the engine. ``configured``: names of the inputs that requests fill."""
    for name, data_type in _controls(config):
        if name in configured:
            yield "triton-sequence", f"control input {name!r} is also an input of requests"
        yield from _control(name, data_type, _find(io, "input", name), batching=batching)
    for state in _states(config):
        for mode in ("input", "output"):
            name = first(state, f"{mode}_name", "")
            yield from _state(name, mode, state, _find(io, mode, name), batching=batching)


def _find(io: Sequence[Binding], mode: str, name: str) -> Optional[Binding]:
    return next((binding for binding in io if binding["name"] == name and binding["mode"] == mode), None)


def _states(config: Message) -> List[Message]:
    return messages(config, "sequence_batching", "state")


def _controls(config: Message) -> List[Tuple[str, str]]:
    """Return name and type of each control."""
    found = []
    for tensor in messages(config, "sequence_batching", "control_input"):
        for control in messages(tensor, "control"):
            typed = first(control, "kind", "") == CORRELATION
            boolean = next((kind for key, kind in CONTROL_VALUES.items() if control.get(key)), "")
            kind = str(first(control, "data_type", "")) if typed else boolean
            found.append((first(tensor, "name", ""), kind))
    return found


def _control(name: str, data_type: str, binding: Optional[Binding], *, batching: bool) -> Iterator[Finding]:
    if binding is None:
        yield "triton-sequence", f"control input {name!r} is not an input of the engine"
        return
    if data_type != TYPES.get(binding["dtype"]):
        yield "triton-sequence", f"control input {name!r} is {binding['dtype']}, config.pbtxt says {data_type}"
    shape = binding["shape"]
    if -1 in shape:
        good = shape[0] == (-1 if batching else 1) and all(size == 1 for size in shape[1:])
    else:
        good = len(shape) == 2 and shape[1] == 1 if batching else shape == [1]
    if not good:
        expected = "[-1, 1]" if batching else "[1]"
        yield "triton-sequence", f"control input {name!r} is {shape}, Triton fills {expected}"


def _state(name: str, mode: str, state: Message, binding: Optional[Binding], *, batching: bool) -> Iterator[Finding]:
    if binding is None:
        yield "triton-sequence", f"state {mode} {name!r} is not an {mode} of the engine"
        return
    data_type = str(first(state, "data_type", ""))
    if data_type != TYPES.get(binding["dtype"]):
        yield "triton-sequence", f"state {mode} {name!r} is {binding['dtype']}, config.pbtxt says {data_type}"
    whole = [-1, *state.get("dims", ())] if batching else list(state.get("dims", ()))
    if not fits(binding["shape"], whole):
        yield "triton-sequence", f"state {mode} {name!r} is {binding['shape']}, config.pbtxt says {whole}"
