"""Do a calibration cache's scales fit the samples? Outputs alone don't reveal too large scales, which lose bits.

A calibrator never chooses a range beyond the largest value that it has seen. So if real samples reach only a fraction
of most scales' ranges, the cache is from another model, from inputs in another range, or wrong.
"""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any, Dict, Iterable, List, Mapping, Optional, Tuple

import numpy as np

from ..contract.comparison import ScaleFit, TensorScale
from ..contract.verification import SCALE_ROOM, VerifyConfig
from . import runners

_LARGEST = 127  # the largest int8 value; scales are symmetric
_SHOWN = 5
_PREFIX = "prepare-models/reached/"


def fit(
    source: Path, scales: Mapping[str, float], feeds: Iterable[Mapping[str, Any]], folder: Path, config: VerifyConfig
) -> Optional[ScaleFit]:
    """Return how far the scales' ranges exceed the samples' values, or None if the model has none of the tensors.

    Args:
        source: the model, before it was rewritten.
        scales: by tensor name; the real value of one step.
        feeds: the samples.
        folder: private directory for the model that is observed.
        config: the limit.
    """
    limit = config.scale_room or SCALE_ROOM
    count, reached = _reached(source, [name for name, scale in scales.items() if scale > 0], feeds, folder)
    found = [
        TensorScale(tensor=name, holds=float(scales[name]) * _LARGEST, reached=value)
        for name, value in reached.items()
        if value > 0
    ]
    if not found:
        return None
    found.sort(key=room, reverse=True)
    median = statistics.median(map(room, found))
    text = f"scales hold {median:.3g} times what the samples reach (median of {len(found)} tensors)"
    return ScaleFit(
        tensors=len(found),
        median_room=median,
        limit=limit,
        judged=config.judges_scales(count),
        problem=f"{text}, at most {limit:g} is allowed" if median > limit else None,
        widest=found[:_SHOWN],
    )


def room(tensor: TensorScale) -> float:
    """Return the range of a tensor's scale divided by the largest value that occurred."""
    return tensor["holds"] / tensor["reached"]


def _reached(
    source: Path, names: List[str], feeds: Iterable[Mapping[str, Any]], folder: Path
) -> Tuple[int, Dict[str, float]]:
    """Return how many samples there are, and the largest absolute value that each tensor has on them."""
    from onnx import TensorProto, helper

    from ..onnx_graph import model_file

    model = model_file.load(source)
    there = {name for node in model.graph.node for name in node.output}
    computed = [name for name in names if name in there]
    for index, name in enumerate(computed):
        steps = (f"{_PREFIX}{index}/float", f"{_PREFIX}{index}/abs", f"{_PREFIX}{index}")
        model.graph.node.extend(
            [
                helper.make_node("Cast", [name], [steps[0]], to=TensorProto.FLOAT),
                helper.make_node("Abs", [steps[0]], [steps[1]]),
                helper.make_node("ReduceMax", [steps[1]], [steps[2]], keepdims=0),
            ]
        )
        model.graph.output.append(helper.make_tensor_value_info(steps[2], TensorProto.FLOAT, ()))
    folder.mkdir(mode=0o700, exist_ok=True)
    model_file.save(model, folder / "reached.onnx")
    del model
    session = runners.session(folder / "reached.onnx")
    asked = [f"{_PREFIX}{index}" for index in range(len(computed))]
    most: Dict[str, float] = {}
    count = 0
    for feed in feeds:
        count += 1
        values = dict(zip(computed, session.run(asked, dict(feed)) if asked else ()))
        values.update({name: np.abs(feed[name].astype(np.float64)).max() for name in names if name in feed})
        for name, value in values.items():
            most[name] = max(most.get(name, 0.0), float(value))
    return count, most
