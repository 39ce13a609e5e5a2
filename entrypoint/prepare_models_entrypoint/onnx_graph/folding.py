"""Inputs that a manifest fixes, and the branches that they decide: an If with a known condition is not an If."""

from __future__ import annotations

import math
from pathlib import Path
from typing import List, Sequence, Tuple

import numpy as np
from onnx import ModelProto, TensorProto, TypeProto, helper, numpy_helper

from ..contract.job import ModelJob
from ..errors import ConvertError, missing
from . import domains, equivalence, graph, model_file, rescue


def fix(model: ModelProto, job: ModelJob) -> None:
    """Replace inputs by the manifest's constants.

    Raises:
        ConvertError: there is no such input, or the values don't fit it.
    """
    main = model.graph
    for name, values in job.onnx.constants.items():
        found = next((value for value in main.input if value.name == name), None)
        if found is None:
            own = {tensor.name for tensor in main.initializer}
            inputs = ", ".join(value.name for value in main.input if value.name not in own) or "none"
            raise ConvertError(
                "inputs-unknown",
                f"onnx.constants names {name!r}; the model's inputs are {inputs}",
                hint="use the model's own input names",
            )
        main.input.remove(found)
        for tensor in [tensor for tensor in main.initializer if tensor.name == name]:
            main.initializer.remove(tensor)  # a default, which the manifest's value replaces
        main.initializer.append(_tensor(found.type.tensor_type, name, values))


def by_constants(model: ModelProto, job: ModelJob, work_dir: Path) -> Tuple[ModelProto, List[str]]:
    """Return the model without the branches that its constants decide, and a description of what was removed.

    Raises:
        ConvertError: the manifest has constants, but ONNX Runtime is not installed.
    """
    before = branches(model)
    if not before or not job.onnx.constants:
        return model, []
    if not equivalence.available():
        what = f"finding out which branches of {before} If onnx.constants decides"
        raise missing(ConvertError, what, "verify", "onnxruntime")
    model = _folded(model, work_dir, 1)
    gone = before - branches(model)
    return model, [f"{gone} of {before} If are decided by onnx.constants and disappear"] if gone else []


def by_sizes(model: ModelProto, job: ModelJob, work_dir: Path) -> Tuple[ModelProto, List[str]]:
    """Return the model without the branches that the manifest's sizes decide, and a description of what was removed.

    A separate step after ``by_constants``: ONNX Runtime crashed on a public model given constants and sizes at once.
    """
    before = branches(model)
    if not before or not equivalence.available():
        return model, []
    fixed = ModelProto()
    fixed.CopyFrom(model)
    sized = rescue.set_fixed_sizes(fixed, job)
    folded = _folded(fixed, work_dir, 2)
    gone = before - branches(folded)
    if not gone:
        return model, []
    text = f": {', '.join(sized)} can't vary" if sized else ""
    return folded, [f"the manifest's sizes decide {gone} of {before} If{text}"]


def branches(model: ModelProto) -> int:
    """Return the number of If nodes in a model."""
    return sum(node.op_type == "If" and not node.domain for node in graph.nodes(model))


def _tensor(kind: "TypeProto.Tensor", name: str, values: Sequence[float]) -> TensorProto:
    dims = [dim.dim_value if dim.HasField("dim_value") else None for dim in kind.shape.dim]
    dtype = np.dtype(helper.tensor_dtype_to_np_dtype(kind.elem_type))
    free = [axis for axis, size in enumerate(dims) if size is None]
    shape = [1 if size is None else size for size in dims]
    if len(free) == 1 and len(values) % max(math.prod(shape), 1) == 0:
        shape[free[0]] = len(values) // max(math.prod(shape), 1)
    count = math.prod(shape)
    if len(values) not in (1, count):
        raise ConvertError(
            "inputs-mismatch",
            f"onnx.constants: {name!r} has the shape {'x'.join(map(str, shape)) or 'scalar'}, not {len(values)} values",
            hint=f"give {count} numbers, or one that fills it",
        )
    array = np.array(values if len(values) == count else list(values) * count)
    made = array.astype(dtype).reshape(shape)
    if not np.array_equal(made.reshape(-1).astype(np.float64), array.astype(np.float64)) and dtype.kind != "f":
        raise ConvertError(
            "inputs-mismatch",
            f"onnx.constants: {name!r} is of the type {dtype}, which can't hold {', '.join(map(str, values[:5]))}",
            hint=f"give numbers of the type {dtype}",
        )
    return numpy_helper.from_array(made, name)


def _folded(model: ModelProto, work_dir: Path, step: int) -> ModelProto:
    """Return the model after ONNX Runtime's basic optimizations, or unchanged if these are not available."""
    source, target = work_dir / f"rewritten.onnx.before-{step}", work_dir / f"rewritten.onnx.folded-{step}"
    model_file.save(model, source)
    answer = equivalence.run("fold", work_dir, source=str(source), target=str(target))
    if answer["why_not"] is not None or not target.exists():
        return model
    folded = model_file.load(target)
    domains.drop_unused(folded)
    return folded
