"""What Triton's core checks in an ensemble: its flow of tensors, and the models of its steps.

Follows triton-inference-server/core at 73aad7c: ValidateEnsembleSchedulingConfig in src/model_config_utils.cc,
src/ensemble_scheduler/ensemble_utils.cc, and CircularDependencyCheck in src/model_repository_manager.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, Callable, Dict, Iterable, Iterator, List, Mapping, Optional, Sequence

from ...contract.values import Value
from .core_rules import Finding, of_shape
from .tensors import Tensor, configured, fits
from .text_format import Message, first, mapping, messages

CODE = "triton-ensemble"
_NOT_FOR_ENSEMBLES = ("instance_group", "optimization", "model_warmup")


class Served(Value):
    """A model that a step may name. tensors and versions: None if unknown. steps: models of an ensemble's steps."""

    batch: int
    tensors: Optional[Sequence[Tensor]]
    versions: Optional[Sequence[int]] = None
    steps: Sequence[str] = ()
    decoupled: bool = False


Lookup = Callable[[str], Optional[Served]]


class _Step(Value):
    model: str
    version: int
    inputs: Mapping[str, str]
    outputs: Mapping[str, str]


def models(config: Message) -> List[str]:
    """Return the names of the models that the steps of an ensemble run."""
    return [first(step, "model_name", "") for step in messages(config, "ensemble_scheduling", "step")]


def judge(config: Message, name: str, lookup: Lookup) -> Iterator[Finding]:
    """Yield what keeps Triton from loading an ensemble. ``lookup``: returns a model of the repository by name."""
    for key in _NOT_FOR_ENSEMBLES:
        if config.get(key):
            yield CODE, f"an ensemble takes no {key}"
    tensors = configured(config)
    batch: int = first(config, "max_batch_size", 0)
    for tensor in tensors:
        yield from of_shape(tensor, batching=batch > 0)
    steps = [_step(raw) for raw in messages(config, "ensemble_scheduling", "step")]
    unfinished = [number for number, step in enumerate(steps) if not (step.model and step.inputs and step.outputs)]
    if not steps or unfinished:
        text = f"step {unfinished[0]} lacks model_name, input_map or output_map" if unfinished else "it has no step"
        yield CODE, f"an ensemble needs steps: {text}"
        return
    yield from _flow(tensors, steps)
    yield from _models(tensors, steps, batch, lookup)
    if name in _needed(models(config), lookup):
        yield CODE, "one of its steps runs this ensemble again"
    yield from _streams(tensors, steps, lookup)


def _needed(names: Sequence[str], lookup: Lookup) -> Dict[str, Served]:
    """Return models, and those that ensembles among them run, by name."""
    found: Dict[str, Served] = {}
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        served = None if name in found else lookup(name)
        if served is not None:
            found[name] = served
            waiting += served.steps
    return found


def _streams(tensors: Sequence[Tensor], steps: Sequence[_Step], lookup: Lookup) -> Iterator[Finding]:
    """Find where answers of different decoupled models meet: Triton can't tell which belong together."""
    origin = {tensor.name: 0 for tensor in tensors if tensor.mode == "input"}
    for number, step in _in_order(steps, origin):
        origins = {origin[name] for name in step.inputs.values()}
        if len(origins) > 1:
            yield CODE, f"{step.model!r} takes tensors from different decoupled models"
        needed = _needed([step.model], lookup).values()
        several = any(served.decoupled and not served.steps for served in needed)  # Triton sets it of ensembles
        origin.update(dict.fromkeys(step.outputs.values(), number if several else min(origins)))
    results = {origin[tensor.name] for tensor in tensors if tensor.mode == "output" and tensor.name in origin}
    if len(results) > 1:
        yield CODE, "its outputs come from different decoupled models"


def _in_order(steps: Sequence[_Step], given: Iterable[str]) -> "Iterator[tuple[int, _Step]]":
    """Yield the steps that can run, counted from 1, each after those that write its inputs."""
    lacking = [set(step.inputs.values()) for step in steps]
    readers: Dict[str, List[int]] = {}
    for index, names in enumerate(lacking):
        for name in names:
            readers.setdefault(name, []).append(index)
    written = list(given)
    while written:
        name = written.pop()
        for index in readers.pop(name, ()):
            lacking[index].discard(name)
            if not lacking[index]:
                yield index + 1, steps[index]
                written += steps[index].outputs.values()


def _step(raw: Message) -> _Step:
    version = first(raw, "model_version", 0)
    return _Step(first(raw, "model_name", ""), version, mapping(raw, "input_map"), mapping(raw, "output_map"))


def _flow(tensors: Sequence[Tensor], steps: Sequence[_Step]) -> Iterator[Finding]:
    written = [name for step in steps for name in step.outputs.values()]
    read = {name for step in steps for name in step.inputs.values()}
    for name in sorted(name for name, times in Counter(written).items() if times > 1):
        yield CODE, f"the tensor {name!r} is written twice"
    ready = {tensor.name for tensor in tensors if tensor.mode == "input"}
    ready.update(name for _, step in _in_order(steps, tuple(ready)) for name in step.outputs.values())
    results = {tensor.name for tensor in tensors if tensor.mode == "output"}
    for tensor in tensors:
        if tensor.name not in read and tensor.name not in written:
            yield CODE, f"no step uses the {tensor.mode} {tensor.name!r}"
        elif tensor.mode == "output" and tensor.name not in ready:
            yield CODE, f"no step writes the output {tensor.name!r} from the inputs"
    for name in sorted((read | set(written)) - results):
        if name not in ready or name not in read:
            yield CODE, f"the tensor {name!r} is {'never read' if name in ready else 'never written'}"


def _models(tensors: Sequence[Tensor], steps: Sequence[_Step], batch: int, lookup: Lookup) -> Iterator[Finding]:
    known: Dict[str, Any] = {tensor.name: (tensor.data_type, _dims(tensor.wanted, batch)) for tensor in tensors}
    for step in steps:
        served = lookup(step.model)
        if served is None:
            yield CODE, f"the repository has no model {step.model!r}"
            continue
        if 0 < served.batch < batch:
            yield CODE, f"max_batch_size is {batch}, and that of {step.model!r} {served.batch}"
        if step.version != -1 and served.versions is not None and step.version not in served.versions:
            text = f"version {step.version} of {step.model!r}, which serves {list(served.versions)}"
            yield CODE, f"a step takes {text}; -1 is the newest"
        if served.tensors is not None:
            yield from _mapped(step, served.tensors, served.batch, known)


def _mapped(step: _Step, tensors: Sequence[Tensor], batch: int, known: Dict[str, Any]) -> Iterator[Finding]:
    for mode, names in (("input", step.inputs), ("output", step.outputs)):
        own = {tensor.name: tensor for tensor in tensors if tensor.mode == mode}
        for name in sorted(set(names) - set(own)):
            yield CODE, f"{step.model!r} has no {mode} {name!r}"
        if mode == "input":
            for name in sorted(set(own) - set(names)):
                if not own[name].optional:
                    yield CODE, f"the input {name!r} of {step.model!r} is not mapped"
        for name, tensor in own.items():
            if name in names:
                yield from _same(names[name], f"{mode} {name!r} of {step.model!r}", tensor, batch, known)


def _same(name: str, where: str, tensor: Tensor, batch: int, known: Dict[str, Any]) -> Iterator[Finding]:
    data_type, shapes = known.setdefault(name, (tensor.data_type, _dims(tensor.dims, batch)))
    if data_type != tensor.data_type:
        yield CODE, f"the tensor {name!r} is {data_type}, the {where} {tensor.data_type}"
    elif not any(fits(a, b) for a, b in zip(shapes, _dims(tensor.dims, batch))):
        yield CODE, f"the tensor {name!r} has the dims {shapes[0]}, the {where} {list(tensor.dims)}"


def _dims(dims: Sequence[int], batch: int) -> "tuple[List[int], List[int]]":
    """Return dims without and with the batch."""
    return list(dims), [-1, *dims] if batch else list(dims)
