"""What is tried when a build runs out of memory, from the mildest step to the last. Pure functions."""

from __future__ import annotations

import dataclasses
from typing import Any, Callable, Dict, Iterator, Mapping, Tuple

from ..contract.builder import BuilderConfig
from ..contract.job import ModelJob
from ..contract.shapes import ShapeRange
from ..errors import ConvertError
from . import options

_MIB = 1 << 20
_BUILDER_RUNGS: Tuple[Mapping[str, Any], ...] = (
    {"workspace_bytes": 1024 * _MIB},
    {"workspace_bytes": 512 * _MIB, "max_aux_streams": 0},
    {"workspace_bytes": 256 * _MIB, "tactic_dram_bytes": 512 * _MIB},
    {"optimization_level": 1},
)


def rungs(
    model: ModelJob, *, backend: str, version: str, takes: Callable[[BuilderConfig], bool] = lambda _: True
) -> Iterator[Tuple[ModelJob, Dict[str, Any]]]:
    """Yield smaller and smaller requests, each with what it changed.

    Settings that the backend or the converter lacks are skipped, and one that the manifest sets lower stays. The
    largest batch is halved last, and only if the manifest allows a fallback, as it changes what the engine can do.
    """

    def known(builder: BuilderConfig) -> bool:
        return takes(builder) and _known(builder, model, backend, version)

    for rung in _BUILDER_RUNGS:
        changed = {
            name: value
            for name, value in rung.items()
            if _smaller(model, name, value) and known(BuilderConfig(**{name: value}))
        }
        if changed:
            model = dataclasses.replace(model, builder=dataclasses.replace(model.builder, **changed))
            yield model, changed
    while model.allow_fallback:
        inputs = {name: _halved(shapes) for name, shapes in model.inputs.items()}
        if inputs == dict(model.inputs):
            return
        model = dataclasses.replace(model, inputs=inputs)
        yield model, {"max_batch": max(shapes.max[0] for shapes in inputs.values() if not shapes.values)}


def _smaller(model: ModelJob, name: str, value: int) -> bool:
    current = getattr(model.builder, name)
    return current is None or current > value


def _known(builder: BuilderConfig, model: ModelJob, backend: str, version: str) -> bool:
    try:
        options.check(builder, backend, version, precision=model.precision, has_gpu=True)
    except ConvertError:
        return False
    return True


def _halved(shapes: ShapeRange) -> ShapeRange:
    """Return the range with half the largest batch; axis 0 is the batch; if it is fixed, nothing changes."""
    if shapes.values or not shapes.max or shapes.min[0] == shapes.max[0]:
        return shapes
    most = max(shapes.min[0], shapes.max[0] // 2, 1)
    middle = min(shapes.opt[0], most)
    return ShapeRange(shapes.min, (middle, *shapes.opt[1:]), (most, *shapes.max[1:]))
