"""config.pbtxt for Triton's tensorrt_plan backend, in protobuf text format."""

from __future__ import annotations

import json
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


def config(name: str, bindings: Sequence[Binding]) -> str:
    """Return the model configuration: whole shapes, -1 for dynamic, no batching by Triton (``max_batch_size: 0``)."""
    lines = [
        f"name: {json.dumps(name)}",
        'platform: "tensorrt_plan"',
        'default_model_filename: "model.plan"',
        "max_batch_size: 0",
    ]
    for binding in bindings:
        lines += _tensor(binding)
    return "\n".join(lines) + "\n"


def _tensor(binding: Binding) -> List[str]:
    dtype = DTYPES.get(binding["dtype"])
    if dtype is None:
        raise InspectError(
            "engine-unusable",
            f"{binding['mode']} {binding['name']!r} has the type {binding['dtype']}, which Triton can't serve",
            hint="export the model with a type that Triton knows at its inputs and outputs",
        )
    # Triton wants at least one dimension; a scalar is declared as [1] and reshaped.
    scalar = not binding["shape"]
    lines = [
        f"{binding['mode']} {{",
        f"  name: {json.dumps(binding['name'])}",
        f"  data_type: {dtype}",
        f"  dims: {json.dumps(binding['shape'] or [1])}",
    ]
    return lines + (["  reshape { shape: [] }"] if scalar else []) + ["}"]
