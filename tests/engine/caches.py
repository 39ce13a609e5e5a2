"""Calibration caches for test networks, measured by running them on random data with ONNX Runtime."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime

from prepare_models_entrypoint.onnx_graph.calibration_cache import write


def measured(model_file: Path, target: Path, samples: list[Any] | None = None) -> Path:
    """Write the cache of a network with one input: the largest absolute value of every float tensor over 127."""
    model = onnx.load(str(model_file))
    known = {value.name for value in model.graph.output}
    inferred = onnx.shape_inference.infer_shapes(model).graph
    types = {value.name: value.type.tensor_type.elem_type for value in (*inferred.value_info, *inferred.output)}
    for node in model.graph.node:
        for name in node.output:
            if name not in known and types.get(name) == onnx.TensorProto.FLOAT:
                model.graph.output.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None))
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    value = session.get_inputs()[0]
    shape = [size if isinstance(size, int) else 1 for size in value.shape]
    feeds = samples or [np.random.default_rng(0).standard_normal(shape).astype(np.float32)]
    largest: dict[str, float] = {}
    for feed in feeds:
        results = zip(session.get_outputs(), session.run(None, {value.name: feed}), strict=True)
        arrays = {value.name: feed, **{output.name: array for output, array in results}}
        for name, array in arrays.items():
            if array.dtype == np.float32:
                largest[name] = max(largest.get(name, 0.0), float(np.abs(array).max()))
    target.write_bytes(write({name: amax / 127 for name, amax in largest.items()}))
    return target
