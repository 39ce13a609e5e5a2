"""config.pbtxt for Triton's tensorrt_plan backend, in protobuf text format."""

from __future__ import annotations

from typing import Dict, List, Sequence

from ...contract.report import Binding
from ...errors import InspectError

# Triton's DataType names for the types that TensorRT bindings have.
DTYPES: Dict[str, str] = {
    "float32": "TYPE_FP32",
    "float16": "TYPE_FP16",
    "bfloat16": "TYPE_BF16",
    "int8": "TYPE_INT8",
    "int32": "TYPE_INT32",
    "int64": "TYPE_INT64",
    "uint8": "TYPE_UINT8",
    "bool": "TYPE_BOOL",
}


def max_batch_size(bindings: Sequence[Binding]) -> int:
    """Return the batch up to which Triton may put requests together, or 0 where it can't.

    That needs a dynamic first dimension in every binding, further dimensions behind it, and optimization profiles that
    take every batch from 1 on, the same for all inputs.
    """
    if not bindings or any(len(binding["shape"]) < 2 or binding["shape"][0] != -1 for binding in bindings):
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


def config(name: str, bindings: Sequence[Binding]) -> str:
    """Return the model configuration.

    Shapes are whole, with -1 for dynamic dimensions, and ``max_batch_size`` is 0. Where Triton may batch they are
    without the first dimension, and the dynamic batcher is on.
    """
    batch = max_batch_size(bindings)
    lines = [
        f"name: {quoted(name)}",
        'platform: "tensorrt_plan"',
        'default_model_filename: "model.plan"',
        f"max_batch_size: {batch}",
        "version_policy { latest { num_versions: 1 } }",
    ]
    lines += ["dynamic_batching { }"] if batch else []
    profiles = max((len(binding["profiles"]) for binding in bindings), default=0)
    if profiles > 1:  # without this Triton uses the first profile alone
        names = " ".join(f'profile: "{index}"' for index in range(profiles))
        lines.append(f"instance_group {{ count: 1 kind: KIND_GPU {names} }}")
    for binding in bindings:
        lines += _tensor(binding, binding["shape"][1:] if batch else binding["shape"])
    return "\n".join(lines) + "\n"


def _tensor(binding: Binding, shape: Sequence[int]) -> List[str]:
    dtype = DTYPES.get(binding["dtype"])
    if dtype is None:
        raise InspectError(
            "engine-unusable",
            f"{binding['mode']} {binding['name']!r} has the type {binding['dtype']}, which Triton can't serve",
            hint="export the model with a type that Triton knows at its inputs and outputs",
        )
    # Triton wants at least one dimension; a scalar is declared as [1] and reshaped.
    lines = [
        f"{binding['mode']} {{",
        f"  name: {quoted(binding['name'])}",
        f"  data_type: {dtype}",
        f"  dims: [{', '.join(map(str, shape)) or 1}]",
    ]
    return lines + ([] if shape else ["  reshape { shape: [] }"]) + ["}"]


def quoted(text: str) -> str:
    """Return a string of the text format: bytes that are no plain ASCII in octal, which every parser reads."""
    parts = [
        f"\\{byte:03o}" if not 0x20 <= byte < 0x7F or byte in b'"\\' else chr(byte)
        for byte in text.encode("utf-8", "surrogateescape")
    ]
    return '"' + "".join(parts) + '"'
