"""Calibration from samples: the model runs in ONNX Runtime with its float tensors observed, and a cache comes of it."""

from __future__ import annotations

import fnmatch
from dataclasses import replace
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Mapping, Sequence

import numpy as np
from onnx import ModelProto, helper

from ..contract.conversion import CalibrationConfig
from ..contract.files import write_atomic
from ..contract.job import ModelJob
from ..contract.verification import VerifyConfig
from ..converters import profiles
from ..errors import ConvertError
from ..inspect.onnx_model import bindings
from ..verify import runners
from ..verify.judging import judge
from . import batch_norm, calibration_cache, graph, harm, sample_files, weight_chains
from .calibration_cache import CalibrationCache
from .histogram import Range, amax
from .sample_files import Feed, Input
from .segments import Segments

Progress = Callable[[str, int, int], None]

_ALGORITHMS = {"minmax": "MinMaxCalibration", "entropy": "EntropyCalibration2", "percentile": "MinMaxCalibration"}
_SEGMENT_BYTES = 256 << 20
_FIRST, _MOST = 16, 512  # nodes of a segment
# Batches on which outputs are judged: more of them where a run is quick, as small outputs tell little.
_FEWEST_JUDGED, _MOST_JUDGED, _JUDGED_VALUES = 3, 12, 3e8


def produce(
    model: ModelProto, job: ModelJob, target: Path, progress: Progress, *, check_only: bool = False
) -> CalibrationCache:
    """Write the cache of a model, and return it: the range of each float tensor over the samples, over 127.

    Activations that int8 would harm beyond the thresholds of a verification are left out.

    Args:
        model: as ``prepare`` returns it, with the changes that the manifest asks; it is changed.
        job: shapes of the inputs, ``calibration``, ``verify`` for its thresholds, and ``keep_fp32``.
        target: the cache file.
        progress: called with phase, samples done and samples in all.
        check_only: measure one batch only, and see that all samples fit.

    Raises:
        ConvertError: samples that can't be used, inputs without shapes, a model that ONNX Runtime can't run, or one
            that int8 harms everywhere.
    """
    config = job.calibration or CalibrationConfig("")
    inputs = inputs_of(model, job)
    paths = sample_files.files(config)
    sample_files.check(paths, config, inputs)
    weight_chains.fold(model)
    batch_norm.fold(model)
    measured = _Measured(model, config.method)
    try:
        measured.run(
            sample_files.feeds(paths, config, inputs), lambda done: progress("calibrate", done, len(paths)), check_only
        )
        scales = measured.scales()
        if not any(scales.values()):
            raise _all_zero(config.images)
        left_out = {} if check_only else _harmful(measured, scales, job, progress)
    except runners.runtime_errors() as error:
        raise _impossible(str(error)) from None
    kept = {name: scale for name, scale in scales.items() if name not in left_out}
    write_atomic(target, calibration_cache.write(kept, _ALGORITHMS[config.method]))
    made = calibration_cache.read(target, "the cache made from samples")
    return replace(made, method=config.method, unusable={**made.unusable, **left_out})


def _harmful(measured: "_Measured", scales: Mapping[str, float], job: ModelJob, progress: Progress) -> Dict[str, str]:
    """Return the activations that int8 harms, with how much."""
    progress("try int8", 0, 0)
    judged = judge(job.verify or VerifyConfig(), "int8")
    kept = {node.name for node in graph.nodes(measured.model) if _matches(node.name, job.kept_patterns)}
    found = harm.search(
        measured.model, scales, measured.first, lambda pairs: not judged(pairs).doubtful,
        keep=kept, values=measured.values,
    )  # fmt: skip
    told = {
        name: f"alone in int8 it moves an output by {moved:.1%} of its deviation"
        for name, moved in found.left_out.items()
    }
    if found.right:
        return told
    shown = ", ".join(f"{name} ({why})" for name, why in list(told.items())[:5])
    raise ConvertError(
        "precision-not-delivered",
        f"int8 moves the outputs too far on the samples, whichever activations stay out of it; worst are {shown}",
        hint="use precision: fp16, or set wider thresholds under verify: if such outputs serve you",
    )


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def inputs_of(model: ModelProto, job: ModelJob) -> List[Input]:
    """Return the model's inputs in the shapes of the first optimization profile, or their own where these are static.

    Raises:
        ConvertError: dynamic dimensions without shapes in the manifest, or shapes that contradict the model.
    """
    shapes = profiles.resolve([each for each in bindings(model) if each["mode"] == "input"], job.inputs, job.profiles)[
        0
    ]
    kinds = {value.name: value.type.tensor_type.elem_type for value in model.graph.input}
    return [
        Input(name, helper.tensor_dtype_to_np_dtype(kinds[name]), tuple(shape["opt"])) for name, shape in shapes.items()
    ]


def _is_writable(name: str) -> bool:
    """Tell whether a tensor's name survives the lines of a cache."""
    return name == name.strip() and len(name.splitlines()) == 1


class _Measured:
    """Ranges of a model's float tensors. first: the first samples. values: how many values a run computes."""

    def __init__(self, model: ModelProto, method: str) -> None:
        self.model, self.method = model, method
        self.first: List[Feed] = []
        self.values = 0.0
        self._ranges: Dict[str, Range] = {}

    def run(self, feeds: Iterator[Feed], done: Callable[[int], None], once: bool) -> None:
        """Run the samples, or one batch of them where ``once``."""
        runner, count = _Observed(self.model), 0
        for feed in feeds:
            done(count)
            judged = len(self.first) + 1
            if judged <= _FEWEST_JUDGED or (judged <= _MOST_JUDGED and judged * self.values < _JUDGED_VALUES):
                self.first.append(feed)
            self.values = 0.0
            self._take(feed)
            runner.run(feed, self._take)
            count += max(1, len(next(iter(feed.values()))))
            if once:
                break

    def _take(self, values: Mapping[str, Any]) -> None:
        for name, value in values.items():
            if isinstance(value, np.ndarray) and value.dtype.kind == "f" and value.size:
                if name not in self._ranges:
                    self._ranges[name] = Range(counted=self.method != "minmax")
                self._ranges[name].take(value)
                self.values += value.size

    def scales(self) -> Dict[str, float]:
        """Return the scale of each tensor."""
        return {name: amax(seen, self.method) / 127 for name, seen in self._ranges.items() if _is_writable(name)}


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


def _all_zero(images: str) -> ConvertError:
    return ConvertError(
        "calibration-samples-unusable",
        f"all values of the model are 0 on the samples in {images}",
        hint="give typical images, and check preprocess:",
    )


def _impossible(why: str) -> ConvertError:
    first_line = (why.strip().splitlines() or ["no reason given"])[0]
    return ConvertError(
        "calibration-samples-unusable",
        f"ONNX Runtime can't run the model on the samples: {first_line}",
        hint="give a calibration_cache: made with a tool that knows the model's operators, or use precision: fp16",
    )
