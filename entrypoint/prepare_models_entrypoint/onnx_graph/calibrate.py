"""Calibration from samples: the model runs in ONNX Runtime with its float tensors observed, and a cache comes of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List

import numpy as np
from onnx import ModelProto, helper

from ..contract.files import write_atomic
from ..contract.job import ModelJob
from ..converters import preflight
from ..errors import ConvertError
from ..inspect.onnx_model import bindings
from ..verify import runners
from . import calibration_cache, sample_files
from .histogram import Range, amax
from .sample_files import Feed, Input
from .segments import Segments

Progress = Callable[[str, int, int], None]

_ALGORITHMS = {"minmax": "MinMaxCalibration", "entropy": "EntropyCalibration2", "percentile": "MinMaxCalibration"}
_SEGMENT_BYTES = 256 << 20
_FIRST, _MOST = 16, 512  # nodes of a segment


def produce(model: ModelProto, job: ModelJob, target: Path, progress: Progress, *, check_only: bool = False) -> None:
    """Write the cache of a model: the range of each float tensor over the samples, over 127.

    Args:
        model: as ``prepare`` returns it, with the changes that the manifest asks.
        job: shapes of the inputs, and ``calibration``.
        target: the cache file.
        progress: called with phase, samples done and samples in all.
        check_only: measure one batch only, and see that all samples fit.

    Raises:
        ConvertError: samples that can't be used, inputs without shapes, or a model that ONNX Runtime can't run.
    """
    config = job.calibration
    assert config is not None
    inputs = inputs_of(model, job)
    paths = sample_files.files(config)
    sample_files.check(paths, config, inputs)
    found = _measured(
        model, sample_files.feeds(paths, config, inputs), config.method, _told(progress, len(paths)), check_only
    )
    scales = {name: amax(seen, config.method) / 127 for name, seen in found.items() if _is_writable(name)}
    if not any(scales.values()):
        raise ConvertError(
            "calibration-samples-unusable",
            f"all values of the model are 0 on the samples in {config.images}",
            hint="give typical images, and check preprocess:",
        )
    write_atomic(target, calibration_cache.write(scales, _ALGORITHMS[config.method]))


def inputs_of(model: ModelProto, job: ModelJob) -> List[Input]:
    """Return the model's inputs in the shapes of the first optimization profile, or their own where these are static.

    Raises:
        ConvertError: dynamic dimensions without shapes in the manifest, or shapes that contradict the model.
    """
    shapes = preflight.resolve_profiles(
        [each for each in bindings(model) if each["mode"] == "input"], job.inputs, job.profiles
    )[0]
    kinds = {value.name: value.type.tensor_type.elem_type for value in model.graph.input}
    return [
        Input(name, helper.tensor_dtype_to_np_dtype(kinds[name]), tuple(shape["opt"])) for name, shape in shapes.items()
    ]


def _told(progress: Progress, total: int) -> Callable[[int], None]:
    return lambda done: progress("calibrate", min(done, total), total)


def _is_writable(name: str) -> bool:
    """Tell whether a tensor's name survives the lines of a cache."""
    return name == name.strip() and len(name.splitlines()) == 1


def _measured(
    model: ModelProto, feeds: Iterator[Feed], method: str, done: Callable[[int], None], once: bool
) -> Dict[str, Range]:
    found: Dict[str, Range] = {}

    def take(values: Dict[str, Any]) -> None:
        for name, value in values.items():
            if isinstance(value, np.ndarray) and value.dtype.kind == "f" and value.size:
                if name not in found:
                    found[name] = Range(counted=method != "minmax")
                found[name].take(value)

    runner = _Observed(model)
    count = 0
    for feed in feeds:
        done(count)
        take(feed)
        try:
            runner.run(feed, take)
        except runners.runtime_errors() as error:
            raise _impossible(str(error)) from None
        count += len(next(iter(feed.values()), ())) or 1
        if once:
            break
    done(count)
    return found


class _Observed:
    """A model whose tensors are handed out as they are computed, no more of them at a time than memory should hold."""

    def __init__(self, model: ModelProto) -> None:
        self._segments = Segments(model)
        self._ends: List[int] = []

    def run(self, feed: Feed, take: Callable[[Dict[str, Any]], None]) -> None:
        values, start, index, step = dict(feed), 0, 0, _FIRST
        while start < len(self._segments.nodes):
            if index == len(self._ends):
                self._ends.append(self._segments.end(start, start + step))
            found = self._segments.advance(values, start, self._ends[index], observed=True)
            take(found)
            size = sum(value.nbytes for value in found.values() if isinstance(value, np.ndarray))
            step = max(1, min(_MOST, 2 * step, int(step * _SEGMENT_BYTES / max(1, size))))
            start, index = self._ends[index], index + 1


def _impossible(why: str) -> ConvertError:
    first_line = (why.strip().splitlines() or ["no reason given"])[0]
    return ConvertError(
        "calibration-samples-unusable",
        f"ONNX Runtime can't run the model on the samples: {first_line}",
        hint="give a calibration_cache: made with a tool that knows the model's operators, or use precision: fp16",
    )
