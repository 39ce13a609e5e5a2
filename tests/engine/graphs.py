"""Graphs made, quantized and run in place, for tests of what rewriting does to them."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from prepare_models_entrypoint.onnx_graph import graph, quantize

FLOAT = TensorProto.FLOAT


def quantized(model: onnx.ModelProto, *names: str, **options: Any) -> quantize.Quantized:
    scales = dict.fromkeys(names, 0.05)
    return quantize.insert(model, scales, names=graph.tensor_names(model), **options)


def answers(model: onnx.ModelProto | str, feed: Any) -> list[Any]:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    source = model if isinstance(model, str) else model.SerializeToString()
    session = onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    results: list[Any] = session.run(None, {session.get_inputs()[0].name: feed})
    return results


def loop_free(nodes: list[Any], weights: dict[str, Any], shape: Any = (1, 4, 8, 8)) -> onnx.ModelProto:
    proto = helper.make_graph(
        nodes, "test", [helper.make_tensor_value_info("input", FLOAT, shape)],
        [helper.make_tensor_value_info("output", FLOAT, ("a", "b", "c", "d"))],
        initializer=[numpy_helper.from_array(array, name) for name, array in weights.items()],
    )  # fmt: skip
    return helper.make_model(proto, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def weight(*shape: int) -> Any:
    return np.random.default_rng(1).standard_normal(shape).astype(np.float32)
