"""Data that config.pbtxt gives to a model before its first request: warm-up samples, and the states of sequences.

Follows triton-inference-server/core at 73aad7c: GenerateWarmupData in src/backend_model_instance.cc (a sample that
fails stops the model from loading) and GenerateInitialStateData in
src/sequence_batch_scheduler/sequence_batch_scheduler.cc.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Dict, Iterator, Mapping, Optional, Sequence, Tuple

from .core_rules import Finding
from .text_format import Message, first, mapping, messages

CODE = "triton-warmup"
WARMUP, INITIAL_STATE = "warmup", "initial_state"  # folders with the files
_SIZES: Dict[str, int] = {
    "TYPE_BOOL": 1, "TYPE_UINT8": 1, "TYPE_UINT16": 2, "TYPE_UINT32": 4, "TYPE_UINT64": 8, "TYPE_INT8": 1,
    "TYPE_INT16": 2, "TYPE_INT32": 4, "TYPE_INT64": 8, "TYPE_FP16": 2, "TYPE_BF16": 2, "TYPE_FP32": 4, "TYPE_FP64": 8,
}  # fmt: skip
Limits = Optional[Tuple[Sequence[int], Sequence[int]]]


def judge(config: Message, directory: Path) -> Iterator[Finding]:
    """Yield what is wrong with samples and states by themselves. ``directory``: directory of the model."""
    for sample in messages(config, "model_warmup"):
        if first(sample, "batch_size", 0):
            for name, value in mapping(sample, "inputs").items():
                yield from _data(f"warm-up of input {name!r}", value or {}, directory / WARMUP, "input_data_file")
    names = []
    for state in messages(config, "sequence_batching", "state"):
        for initial in messages(state, "initial_state"):
            names.append(first(state, "input_name", ""))
            yield from _initial(state, initial, directory / INITIAL_STATE)
    if len(set(names)) < len(names):
        yield "triton-sequence", f"each state takes one initial_state, config.pbtxt has those of {names}"


def of_engine(
    config: Message, batch: int, sizes: Mapping[str, Tuple[str, Limits]], required: Sequence[str]
) -> Iterator[Finding]:
    """Yield samples and states that an engine doesn't accept.

    ``batch``: max_batch_size. ``sizes``: type, smallest and largest complete shape of each input of the engine; None if
    unknown. ``required``: the inputs that every request fills.
    """
    for sample in messages(config, "model_warmup"):
        count, inputs = first(sample, "batch_size", 0), mapping(sample, "inputs")
        text = f"model_warmup {first(sample, 'name', '')!r}"
        if not count:
            continue
        if count > max(batch, 1):
            yield CODE, f"{text} has batch_size {count}, max_batch_size is {batch}"
        missing = [name for name in required if name not in inputs]
        unknown = [name for name in inputs if name not in sizes]
        if missing or unknown:
            yield CODE, f"{text} has the inputs {sorted(inputs)}, the engine {sorted(sizes)}"
        for name in set(inputs) & set(required) & set(sizes):
            yield from _fits(f"{text}, input {name!r}", inputs[name] or {}, sizes[name], count if batch else 0)


def _fits(where: str, value: Message, of: "Tuple[str, Limits]", count: int) -> Iterator[Finding]:
    (data_type, limits), given = of, str(first(value, "data_type", ""))
    if _SIZES.get(given) != _SIZES.get(data_type):
        yield CODE, f"{where} is {data_type}, the sample {given or 'of no type'}"
    shape = [count, *value.get("dims", ())] if count else list(value.get("dims", ()))
    if limits is None or -1 in shape or (not limits[0] and math.prod(shape) == 1):
        return
    low, high = limits
    if len(low) != len(shape) or not all(a <= size <= b for a, size, b in zip(low, shape, high)):
        yield CODE, f"{where} takes {list(low)} to {list(high)}, the sample has {shape}"


def _initial(state: Message, initial: Message, folder: Path) -> Iterator[Finding]:
    name = first(state, "input_name", "")
    where = f"initial_state of {name!r}"
    dims, own = state.get("dims", []), initial.get("dims", [])
    if first(initial, "data_type", "") != first(state, "data_type", "") or not first(initial, "name", ""):
        yield "triton-sequence", f"{where} needs a name, and the type of its state"
    if len(dims) != len(own) or any(a not in (-1, b) for a, b in zip(dims, own)):
        yield "triton-sequence", f"{where} has the dims {own}, its state {dims}"
    yield from _data(where, initial, folder, "data_file")


def _data(where: str, value: Message, folder: Path, key: str) -> Iterator[Finding]:
    """Check what fills a tensor: zeros, random numbers, or a file with enough bytes."""
    dims, kind = value.get("dims", []), str(first(value, "data_type", ""))
    if -1 in dims:
        yield CODE, f"{where} has the dims {dims}; all of them must be sizes"
    if not any(name in value for name in ("zero_data", "random_data", key)):
        yield CODE, f"{where} has no data: zero_data, random_data or {key}"
    file = str(first(value, key, ""))
    if key not in value or -1 in dims:
        return
    needed = _SIZES.get(kind, 0) * math.prod(dims)
    if not (folder / file).is_file():
        yield CODE, f"{where} takes {file!r}, which is not in {folder}"
    elif (folder / file).stat().st_size < needed:
        yield CODE, f"{where} takes {needed} bytes, {file!r} has {(folder / file).stat().st_size}"
