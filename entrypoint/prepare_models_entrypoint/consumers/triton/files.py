"""config.pbtxt for Triton's tensorrt_plan backend, in protobuf text format."""

from __future__ import annotations

from typing import List, Mapping, Optional, Sequence

from ...contract.report import Binding
from ...errors import InspectError
from . import text_format
from .tensors import TYPES


def max_batch_size(bindings: Sequence[Binding]) -> int:
    """Return the largest batch into which Triton may combine requests, or 0 if it can't.

    That needs a dynamic first dimension in every binding, further dimensions in at least one of them (a list of any
    length is not a batch), and optimization profiles that accept every batch from 1 on, the same for all inputs.
    """
    if not bindings or any(binding["shape"][:1] != [-1] for binding in bindings):
        return 0
    if all(len(binding["shape"]) == 1 for binding in bindings):
        return 0
    ranges = [
        [(profile["min"][0], profile["max"][0]) for profile in binding["profiles"]]
        for binding in bindings
        if binding["mode"] == "input"
    ]
    if not ranges or not ranges[0] or any(each != ranges[0] for each in ranges):
        return 0
    low, high = min(pair[0] for pair in ranges[0]), max(pair[1] for pair in ranges[0])
    return high if low == 1 < high else 0


def config(
    name: str,
    bindings: Sequence[Binding],
    *,
    warmup: bool = False,
    by_capability: Optional[Mapping[str, str]] = None,
    version: Optional[int] = None,
) -> str:
    """Return the model configuration.

    Shapes are complete, with -1 for dynamic dimensions, and ``max_batch_size`` is 0. If Triton may batch, shapes omit
    the first dimension, and the dynamic batcher is on.

    Args:
        name: name of the model.
        bindings: bindings of the engine.
        warmup: whether Triton runs the engine once, with zeros, before it serves requests.
        by_capability: file names of engines by compute capability, if there is one for each of several GPUs.
        version: the only version to serve; None serves the latest.
    """
    batch = max_batch_size(bindings)
    served = "latest { num_versions: 1 }" if version is None else f"specific {{ versions: [{version}] }}"
    lines = [
        f"name: {text_format.quoted(name)}",
        'platform: "tensorrt_plan"',
        *_engine_files(by_capability or {}),
        f"max_batch_size: {batch}",
        f"version_policy {{ {served} }}",
    ]
    lines += ["dynamic_batching { }"] if batch else []
    profiles = max((len(binding["profiles"]) for binding in bindings), default=0)
    if profiles > 1:  # without this, Triton uses only the first profile
        names = " ".join(f'profile: "{index}"' for index in range(profiles))
        lines.append(f"instance_group {{ count: 1 kind: KIND_GPU {names} }}")
    for binding in bindings:
        lines += _tensor(binding, binding["shape"][1:] if batch else binding["shape"])
    lines += _warmup(bindings, batching=batch > 0) if warmup else []
    return "\n".join(lines) + "\n"


def _engine_files(by_capability: Mapping[str, str]) -> List[str]:
    """Return the engine's file name; GPUs without an engine of their own find none rather than a wrong one."""
    if not by_capability:
        return ['default_model_filename: "model.plan"']
    return [
        f"cc_model_filenames {{ key: {text_format.quoted(capability)} value: {text_format.quoted(file)} }}"
        for capability, file in sorted(by_capability.items())
    ]


def _warmup(bindings: Sequence[Binding], *, batching: bool) -> List[str]:
    """Return a request of zeros in the shapes that the first profile is fastest for; empty if these are unknown."""
    inputs = [binding for binding in bindings if binding["mode"] == "input"]
    shapes = [binding["profiles"][0]["opt"] if binding["profiles"] else binding["shape"] for binding in inputs]
    if not inputs or any(-1 in shape for shape in shapes):
        return []
    lines = ["model_warmup {", '  name: "zeros"', "  batch_size: 1"]
    for binding, shape in zip(inputs, shapes):
        dims = ", ".join(map(str, shape[1:] if batching else shape)) or "1"
        value = f"data_type: {TYPES[binding['dtype']]} dims: [{dims}] zero_data: true"
        lines.append(f"  inputs {{ key: {text_format.quoted(binding['name'])} value {{ {value} }} }}")
    return [*lines, "}"]


def _tensor(binding: Binding, shape: Sequence[int]) -> List[str]:
    dtype = TYPES.get(binding["dtype"])
    if dtype is None:
        raise InspectError(
            "engine-unusable",
            f"{binding['mode']} {binding['name']!r} has the type {binding['dtype']}, which Triton can't serve",
            hint="export the model with a type that Triton knows at its inputs and outputs",
        )
    # Triton requires at least one dimension; a scalar is declared as [1] and reshaped.
    lines = [
        f"{binding['mode']} {{",
        f"  name: {text_format.quoted(binding['name'])}",
        f"  data_type: {dtype}",
        f"  dims: [{', '.join(map(str, shape)) or 1}]",
    ]
    return lines + ([] if shape else ["  reshape { shape: [] }"]) + ["}"]
