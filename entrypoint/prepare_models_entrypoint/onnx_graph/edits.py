"""Changes to the graph that a manifest asks for: static input shapes, other outputs, folded constants."""

from __future__ import annotations

import onnx
from onnx import ModelProto

from ..contract.conversion import OnnxConfig
from ..errors import ConvertError, missing
from . import graph, model_file
from .walk import leading


def apply(model: ModelProto, changes: OnnxConfig) -> ModelProto:
    """Return the model with the changes applied in the order shapes, outputs, folding."""
    if changes.static_shapes:
        model = _with_shapes(model, changes)
    if changes.outputs:
        model = _with_outputs(model, changes)
    return _sanitized(model) if changes.sanitize else model


def _with_shapes(model: ModelProto, changes: OnnxConfig) -> ModelProto:
    inputs = {value.name: value for value in model.graph.input}
    for name, dims in changes.static_shapes.items():
        if name not in inputs:
            raise ConvertError(
                "inputs-unknown",
                f"onnx.static_shapes names {name!r}; the model's inputs are {', '.join(inputs)}",
                hint="use the model's own input names",
            )
        ranked = inputs[name].type.tensor_type.HasField("shape")
        shape = inputs[name].type.tensor_type.shape
        if not ranked:
            shape.dim.extend(onnx.TensorShapeProto.Dimension() for _ in dims)
        if len(shape.dim) != len(dims):
            raise ConvertError(
                "inputs-mismatch",
                f"onnx.static_shapes: {name!r} has rank {len(shape.dim)}, not {len(dims)}",
                hint="give one size for each dimension",
            )
        for dim, size in zip(shape.dim, dims):
            dim.dim_value = size
    del model.graph.value_info[:]
    for output in model.graph.output:
        output.type.tensor_type.ClearField("shape")
    return graph.inferred(model)


def _with_outputs(model: ModelProto, changes: OnnxConfig) -> ModelProto:
    known = graph.tensor_names(model)
    unknown = [name for name in changes.outputs if name not in known]
    if unknown:
        raise ConvertError(
            "onnx-outputs-unknown",
            f"the model has no tensor {', '.join(unknown)} to select as output",
            hint="'prepare-models inspect FILE' shows the outputs; other tensor names are in the exporter's graph",
        )
    inferred = graph.inferred(model).graph
    values = {value.name: value for value in (*inferred.output, *inferred.value_info)}
    del model.graph.output[:]
    for name in changes.outputs:
        found = values.get(name) or onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None)
        model.graph.output.append(found)
    kept = leading(model.graph.node, changes.outputs)
    del model.graph.node[:]
    model.graph.node.extend(kept)
    return model


def _sanitized(model: ModelProto) -> ModelProto:
    try:
        import onnx_graphsurgeon as gs
        from polygraphy.backend.onnx import fold_constants
    except ImportError as error:
        raise missing(ConvertError, "onnx: {sanitize: true}", "sanitize", error) from error
    model_file.bring(model)
    folded: ModelProto = fold_constants(model)
    cleaned: ModelProto = gs.export_onnx(gs.import_onnx(folded).cleanup())
    cleaned.ir_version = model.ir_version
    return cleaned
