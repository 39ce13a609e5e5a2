"""What is tried when a build runs out of memory, from the mildest step to the last. Pure: one rung after another."""

from __future__ import annotations

import dataclasses
from typing import Any, Dict, Iterator, Mapping, Tuple

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
    model: ModelJob, *, backend: str, version: str, converter: str = "api"
) -> Iterator[Tuple[ModelJob, Dict[str, Any]]]:
    """Yield ever smaller requests, each with what it changed.

    Settings that backend or converter do not know are left out, and one that the manifest set lower stays. The largest
    batch is halved last, and only where the manifest allows a fallback: it changes what the engine can do.
    """
    for rung in _BUILDER_RUNGS:
        changed = {name: value for name, value in rung.items() if _smaller(model, name, value)}
        changed = {
            k: v for k, v in changed.items() if _known(BuilderConfig(**{k: v}), model, backend, version, converter)
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


def _known(builder: BuilderConfig, model: ModelJob, backend: str, version: str, converter: str) -> bool:
    try:
        options.check(builder, backend, version, precision=model.precision, has_gpu=True)
        if converter == "tao-converter":
            options.check_tao(builder)
    except ConvertError:
        return False
    return converter != "trtexec" or not any(options.lost_by_trtexec(*chosen) for chosen in builder.chosen())


def _halved(shapes: ShapeRange) -> ShapeRange:
    """Return the range with half the largest batch; axis 0 is the batch, and where it is fixed nothing changes."""
    if shapes.values or not shapes.max or shapes.min[0] == shapes.max[0]:
        return shapes
    most = max(shapes.min[0], shapes.max[0] // 2, 1)
    middle = min(shapes.opt[0], most)
    return ShapeRange(shapes.min, (middle, *shapes.opt[1:]), (most, *shapes.max[1:]))
