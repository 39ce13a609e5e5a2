"""A narrow model that ONNX Runtime really rounds: each narrow tensor is computed in fp32 and cast back and forth."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper

from prepare_models_entrypoint.onnx_graph import names, types, weights

NARROW = (TensorProto.FLOAT16, TensorProto.BFLOAT16)


def rounded(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a model that computes each narrow tensor in fp32 and rounds it."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    names.name_nodes(copy)
    _graph(types.of(copy), names.Names(copy))
    return copy


def _graph(scope: types.Scope, free: names.Names) -> None:
    graph = scope.graph
    for tensor in graph.initializer:
        _widen(tensor)
    for value in (*graph.input, *graph.output, *graph.value_info):
        if value.type.tensor_type.elem_type in NARROW:
            value.type.tensor_type.elem_type = TensorProto.FLOAT
    nodes = []
    for node in list(graph.node):
        for inner in scope.inner.get(node.name, ()):
            _graph(inner, free)
        for attribute in node.attribute:
            if attribute.name == "value" and attribute.HasField("t"):
                _widen(attribute.t)
            if attribute.name in ("to", "dtype") and attribute.i in NARROW:
                attribute.i = TensorProto.FLOAT
        pairs = [] if node.name in scope.inner else _pairs(node, scope, free)
        nodes += [node, *pairs]
    del graph.node[:]
    graph.node.extend(nodes)


def _pairs(node: onnx.NodeProto, scope: types.Scope, free: names.Names) -> list[onnx.NodeProto]:
    """Have a node write its narrow outputs elsewhere, and return the Casts from there."""
    pairs = []
    for index, name in enumerate(node.output):
        kind = scope.get(name) if name else 0
        if kind in NARROW:
            raw, narrow = free.fresh(f"{name}_raw"), free.fresh(f"{name}_narrow")
            node.output[index] = raw
            pairs.append(helper.make_node("Cast", [raw], [narrow], name=narrow, to=kind))
            pairs.append(helper.make_node("Cast", [narrow], [name], name=f"{narrow}_back", to=TensorProto.FLOAT))
    return pairs


def _widen(tensor: TensorProto) -> None:
    if tensor.data_type in NARROW:
        wide = weights.tensor(np.asarray(weights.array(tensor), np.float32), tensor.name)
        tensor.CopyFrom(wide)


def session(model: Any) -> onnxruntime.InferenceSession:
    """Return a session that computes node by node, as the model says."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    source = model if isinstance(model, str) else model.SerializeToString()
    return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
