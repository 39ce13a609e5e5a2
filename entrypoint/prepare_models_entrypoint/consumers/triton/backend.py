"""What Triton's TensorRT backend makes of a configuration and an engine, in the order in which it looks.

After triton-inference-server/tensorrt_backend at e2ef6d7: src/model_state.cc (auto-complete) and src/instance_state.cc
(ValidateIO, InitIOBindingBuffers, ConfigureInputDimensions). Auto-complete is on, as by default.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Iterator, List, Optional, Sequence, Tuple

from ...contract.report import Binding
from . import sequences
from .core_rules import Finding, of_shape
from .tensors import TYPES, UNSET, Shape, Tensor, completed, configured, fits
from .text_format import Message, first, mapping, messages
from .versions import leading_number

_STRATEGIES = ("STATIC", "ON_PROFILE_CHANGE")


@dataclass(frozen=True)
class Engine:
    """The bindings of one engine."""

    io: Sequence[Binding]

    def find(self, name: str) -> Optional[Binding]:
        """Return a binding."""
        return next((binding for binding in self.io if binding["name"] == name), None)

    def of(self, mode: str) -> List[Binding]:
        """Return the inputs or the outputs."""
        return [binding for binding in self.io if binding["mode"] == mode]

    @property
    def profiles(self) -> int:
        """Return how many optimization profiles there are; an engine of fixed shapes has one."""
        return max((len(binding["profiles"]) for binding in self.io), default=0) or 1

    def largest_batch(self, chosen: Sequence[int]) -> Optional[int]:
        """Return the largest first dimension that every input of one of the profiles takes, None if nothing tells."""
        found = []
        for index in chosen:
            ranges = [limits(binding, index) for binding in self.of("input")]
            if any(each is None for each in ranges):
                return None
            found.append(min((high[0] if high else 0 for _, high in filter(None, ranges)), default=0))
        return max(found, default=0)


def limits(binding: Binding, profile: int) -> "Optional[Tuple[Shape, Shape]]":
    """Return the smallest and the largest shape of an input in a profile, None where nothing tells them."""
    if profile < len(binding["profiles"]):
        shapes = binding["profiles"][profile]
        return tuple(shapes["min"]), tuple(shapes["max"])
    shape = tuple(binding["shape"])
    return None if -1 in shape else (shape, shape)


def judge(config: Message, engine: Engine) -> Iterator[Finding]:
    """Yield what keeps the backend from loading an engine with a configuration."""
    yield from _parameters(config)
    chosen, wrong = _profiles(config, engine)
    yield from wrong
    named = list(_names(config, engine))
    yield from named
    if named or wrong:
        return
    batch, contradiction = _batch(config, engine, chosen)
    if contradiction is not None:
        yield contradiction
        return
    inputs, outputs = (completed(configured(config, mode), engine.io, mode, batching=batch > 0) for mode in _MODES)
    for tensor in (*inputs, *outputs):
        yield from _tensor(tensor, engine, batch, chosen)
    yield from _batch_of_engine(engine, batch, chosen)
    yield from sequences.judge(config, engine.io, [tensor.name for tensor in inputs], batching=batch > 0)
    yield from _missing(config, engine, inputs)


_MODES = ("input", "output")


def batching(config: Message, io: Sequence[Binding]) -> int:
    """Return the max_batch_size that Triton ends up with; 0 where it finds a contradiction."""
    engine = Engine(io)
    return _batch(config, engine, _profiles(config, engine)[0])[0]


def _parameters(config: Message) -> Iterator[Finding]:
    told = mapping(config, "parameters").get("execution_context_allocation_strategy")
    value = first(told, "string_value", "") if told else "STATIC"
    if value not in _STRATEGIES:
        yield "triton-config", f"execution_context_allocation_strategy is {value!r}, not {' or '.join(_STRATEGIES)}"


def _profiles(config: Message, engine: Engine) -> "Tuple[List[int], List[Finding]]":
    """Return the indices of the profiles that the instances use, and what is wrong with them."""
    told = [str(name) for group in messages(config, "instance_group") for name in group.get("profile", ())]
    chosen: List[int] = []
    wrong: List[Finding] = []
    for name in told:
        index = leading_number(name)
        if index is not None and 0 <= index < engine.profiles:
            chosen.append(index)
        else:
            has = f"the engine has the profiles 0 to {engine.profiles - 1}"
            wrong.append(("triton-instance", f"an instance_group uses the profile {name!r}, {has}"))
    return chosen or [0], wrong


def _names(config: Message, engine: Engine) -> Iterator[Finding]:
    for mode in _MODES:
        own = [binding["name"] for binding in engine.of(mode)]
        told = [tensor.name for tensor in configured(config, mode)]
        unknown = [name for name in told if name not in own]
        if unknown:
            yield "triton-tensors", f"config.pbtxt has the {mode}s {told}, the engine {own}"
        twice = sorted({name for name in told if told.count(name) > 1})
        if twice:
            yield "triton-tensors", f"config.pbtxt has the {mode} {', '.join(map(repr, twice))} twice"


def _batch(config: Message, engine: Engine, chosen: Sequence[int]) -> "Tuple[int, Optional[Finding]]":
    """Return the max_batch_size after auto-complete: dims that leave out one dimension hint at a batch."""
    told: int = first(config, "max_batch_size", 0)
    hint, shapes = False, 0
    for tensor in [tensor for mode in _MODES for tensor in configured(config, mode)]:
        if tensor.ragged:
            hint = True
            break
        binding = engine.find(tensor.name)
        if not tensor.wanted or binding is None or tensor.is_shape:
            continue
        shapes += 1
        leaves_out = len(binding["shape"]) == len(tensor.wanted) + 1
        if hint and not leaves_out:
            return 0, (
                "triton-dims",
                f"{tensor.mode} {tensor.name!r} has {_whole(tensor, binding)}, others leave it out",
            )
        hint = hint or leaves_out
    possible = engine.largest_batch(chosen)
    if possible is None:
        return told, None
    if hint and possible == 0:
        return 0, ("triton-batching", "dims leave out a batch, and the engine takes no batches")
    possible = possible if hint or not shapes else 0
    if told > possible:
        return 0, ("triton-batching", f"max_batch_size is {told}, the engine takes {possible or 'no batches'}")
    return told or possible, None


def _whole(tensor: Tensor, binding: Binding) -> str:
    return f"dims {list(tensor.wanted)} with the batch (the engine's shape is {binding['shape']})"


def _tensor(tensor: Tensor, engine: Engine, batch: int, chosen: Sequence[int]) -> Iterator[Finding]:
    """Compare one input or output with the engine's."""
    binding = engine.find(tensor.name)
    if binding is None:
        return
    wrong = list(of_shape(tensor, batching=batch > 0))
    yield from wrong
    where = f"{tensor.mode} {tensor.name!r}"
    if tensor.data_type == UNSET or tensor.data_type != TYPES.get(binding["dtype"]):
        yield "triton-type", f"{where} is {binding['dtype']}, config.pbtxt says {tensor.data_type}"
    if wrong or tensor.is_shape or tensor.ragged:
        return
    whole = (-1, *tensor.wanted) if batch else tensor.wanted
    if not fits(binding["shape"], whole):
        yield "triton-dims", f"{where} is {binding['shape']}, config.pbtxt says {list(whole)}"
    elif tensor.mode == "input":
        yield from _outside(where, whole, binding, chosen)


def _outside(where: str, whole: Sequence[int], binding: Binding, chosen: Sequence[int]) -> Iterator[Finding]:
    """Find fixed sizes that a profile does not take."""
    for index in chosen:
        found = limits(binding, index)
        if found is None or all(size == -1 or a <= size <= b for size, a, b in zip(whole, *found)):
            continue
        low, high = map(list, found)
        yield "triton-dims", f"{where} takes {low} to {high} in profile {index}, config.pbtxt says {list(whole)}"


def _batch_of_engine(engine: Engine, batch: int, chosen: Sequence[int]) -> Iterator[Finding]:
    """Find a batch below the smallest that an input takes: Triton sets the shape of that batch when it loads."""
    if not batch:
        return
    for binding in engine.of("input"):
        for index in chosen:
            found = limits(binding, index)
            if found is None or not found[0] or batch >= found[0][0]:
                continue
            what = f"max_batch_size is {batch}, input {binding['name']!r} takes {found[0][0]} and more"
            yield "triton-batching", what


def _missing(config: Message, engine: Engine, inputs: Sequence[Tensor]) -> Iterator[Finding]:
    """Find inputs that nothing fills."""
    filled = {tensor.name for tensor in inputs} | set(sequences.inputs(config))
    filled |= {str(name) for batch in messages(config, "batch_input") for name in batch.get("target_name", ())}
    missing = [binding["name"] for binding in engine.of("input") if binding["name"] not in filled]
    if missing:
        own = [binding["name"] for binding in engine.of("input")]
        yield "triton-tensors", f"config.pbtxt has the inputs {sorted(filled)}, the engine {own}"


def unused_outputs(config: Message, io: Sequence[Binding]) -> List[str]:
    """Return outputs of the engine that a configuration with some of them leaves out."""
    told = {tensor.name for tensor in configured(config, "output")} | set(sequences.outputs(config))
    told |= {str(name) for batch in messages(config, "batch_output") for name in batch.get("target_name", ())}
    return [b["name"] for b in io if b["mode"] == "output" and b["name"] not in told] if told else []
