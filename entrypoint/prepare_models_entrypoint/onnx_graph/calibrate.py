"""Calibration from samples: the model runs in ONNX Runtime, its float tensors are observed, and a cache is written."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Callable, Dict, Iterator, List, Mapping, Sequence, Tuple

import numpy as np
from onnx import ModelProto, helper

from ..contract.files import write_atomic
from ..contract.job import ModelJob
from ..contract.precision import AUTO
from ..contract.verification import CALIBRATION_METHODS, CalibrationConfig, VerifyConfig
from ..converters import profiles
from ..errors import ConvertError
from ..inspect.onnx_model import bindings
from ..verify import runners
from ..verify.judging import judge
from . import affine, calibration_cache, graph, harm, meaning, sample_files, weight_chains, weights
from .calibration_cache import CalibrationCache
from .histogram import Range, amax
from .lockstep import Observed
from .sample_files import Feed, Input
from .segments import Values

Progress = Callable[[str, int, int], None]

_ALGORITHMS = {"minmax": "MinMaxCalibration", "entropy": "EntropyCalibration2", "percentile": "MinMaxCalibration"}
# Batches on which outputs are judged: more if a run is quick, as small outputs reveal little.
_FEWEST_JUDGED, _MOST_JUDGED, _JUDGED_VALUES = 6, 12, 6e8
_APART = 3  # each of so many judges what the others settled, where there are enough
_NEAR = 0.35  # of what a verification allows: other samples err more, and the rest of the model is rounded, too
_SHOWN = 5
_LEAST_SHARE = 0.1  # of the activations that int8 could have


def produce(model: ModelProto, job: ModelJob, target: Path, progress: Progress) -> CalibrationCache:
    """Write and return the cache of a model: for each float tensor, its range over the samples divided by 127.

    Activations are left out if int8 would add an error of more than about a third of a verification's limit.

    Args:
        model: as ``prepare`` returns it, with the changes that the manifest asks for; modified in place.
        job: shapes of the inputs, ``calibration``, ``verify`` for its thresholds, and ``keep_fp32``.
        target: the cache file.
        progress: called with phase, samples done and samples in all.

    Raises:
        ConvertError: samples that can't be used, inputs without shapes, a model that ONNX Runtime can't run, or
        (``precision-not-delivered``) one of which too little can be int8.
    """
    config = job.calibration or CalibrationConfig(images="")
    inputs = inputs_of(model, job)
    paths = sample_files.files(config)
    sample_files.check(paths, config, inputs)
    weight_chains.fold(model)
    affine.fold(model)
    measured = _Measured(model, CALIBRATION_METHODS[1:] if config.method == AUTO else (config.method,))
    try:
        measured.measure(
            sample_files.feeds(paths, config, inputs), lambda done: progress("calibrate", done, len(paths)), len(paths)
        )
        scales = measured.scales()
        if not measured.differ or not any(any(found.seen.values()) for found in scales.values()):
            why = "all values of the model are 0" if measured.differ else "each input has one value only"
            hint = "give typical images, and check preprocess:"
            raise ConvertError("calibration-samples-unusable", f"{why} on the samples in {config.images}", hint=hint)
        found = _searched(measured, scales, job, lambda done, most: progress("try int8", done, most))
    except runners.runtime_errors() as error:
        first_line = (str(error).strip().splitlines() or ["no reason given"])[0]
        raise ConvertError(
            "calibration-samples-unusable",
            f"ONNX Runtime can't run the model on the samples: {first_line}",
            hint="give a calibration_cache: made with a tool that knows the model's operators, or use precision: fp16",
        ) from None
    _check_share(found, allow_fallback=job.allow_fallback)
    kept = {name: scale for name, scale in scales[found.method].seen.items() if name not in found.left_out}
    write_atomic(target, calibration_cache.write(kept, _ALGORITHMS[found.method]))
    made = calibration_cache.read(target, "the cache made from samples")
    return replace(made, method=found.method, unusable={**made.unusable, **found.left_out})


def _searched(
    measured: "_Measured", scales: Mapping[str, harm.Scales], job: ModelJob, progress: harm.Progress
) -> harm.Harm:
    config = job.judged or VerifyConfig()
    samples = measured.samples()
    meant = meaning.of(measured.model, samples.search[0])
    judges = judge(config, "int8", near=_NEAR, meaning=meant), judge(config, "int8", meaning=meant)
    tolerable = math.inf if config.thresholds or config.outputs else harm.TOLERABLE
    return harm.search(
        measured.model, scales, samples, lambda pairs, unseen: not judges[unseen](pairs).doubtful, progress,
        keep=graph.asked_in_fp32(measured.model, job.kept_patterns).keys(), tolerable=tolerable,
        amounts=meant.quantities,
    )  # fmt: skip


def _check_share(found: harm.Harm, *, allow_fallback: bool) -> None:
    """Refuse int8 if too few of a model's activations get it."""
    tried, served = found.readers, found.served
    least = 1 if allow_fallback else max(1, math.ceil(_LEAST_SHARE * len(tried)))
    if not tried or len(served) >= least:
        return
    worst = [f"{name}, read by {tried[name][0]} ({why})" for name, why in list(found.left_out.items())[:_SHOWN]]
    those = f" (read by {', '.join(tried[name][0] for name in served[:_SHOWN])})" if served else ""
    raise ConvertError(
        "precision-not-delivered",
        f"{len(served)} of {len(tried)} activations can be int8{those} for the outputs to be right on the samples; "
        f"these harm most: {'; '.join(worst)}",
        hint="use precision: fp16 or auto, or set wider thresholds under verify: if such outputs will do"
        + (", or allow_fallback: true if so little int8 will" if served else ""),
    )


def inputs_of(model: ModelProto, job: ModelJob) -> List[Input]:
    """Return the model's inputs in the shapes of the first optimization profile, or their own if these are static.

    Raises:
        ConvertError: dynamic dimensions without shapes in the manifest, or shapes that contradict the model.
    """
    named = {
        value.name: profiles.Traits(tuple(dim.dim_param or None for dim in value.type.tensor_type.shape.dim))
        for value in model.graph.input
    }
    own = [each for each in bindings(model) if each["mode"] == "input"]
    shapes = profiles.resolve(own, job.inputs, job.profiles, traits=named)[0]
    kinds = {value.name: value.type.tensor_type.elem_type for value in model.graph.input}
    return [
        Input(name, helper.tensor_dtype_to_np_dtype(kinds[name]), tuple(shape["opt"])) for name, shape in shapes.items()
    ]


def _is_writable(name: str) -> bool:
    """Return whether a tensor's name survives the lines of a cache."""
    return name == name.strip() and len(name.splitlines()) == 1


class _Measured(Observed):
    """Ranges of a model's float tensors.

    values: how many values a run computes and reads from weights. shapes: of each tensor in a run. differ: whether an
    input has several values, in a sample or in all of them.
    """

    def __init__(self, model: ModelProto, methods: Sequence[str]) -> None:
        super().__init__(model)
        self.model, self.methods = model, methods
        self.values, self.differ = 0.0, False
        self.shapes: Dict[str, Tuple[int, ...]] = {}
        self._picked: List[Feed] = []
        self._ranges: Dict[str, Range] = {}

    def measure(self, feeds: Iterator[Feed], done: Callable[[int], None], files: int) -> None:
        """Run the samples, ``files`` in total, and keep some spread over all of them."""
        count, stored = 0, float(sum(map(weights.size, self.model.graph.initializer)))
        for feed in feeds:
            done(count)
            self.values = stored
            first = self._picked[0] if self._picked else feed
            self.differ = self.differ or any(bool((first[name].flat[:1] != each).any()) for name, each in feed.items())
            self.run(feed)
            wanted = max(_FEWEST_JUDGED, min(_MOST_JUDGED, int(_JUDGED_VALUES / max(1.0, self.values))))
            if count * wanted >= len(self._picked) * files:
                self._picked.append(feed)
            count += max(1, len(next(iter(feed.values()))))

    def samples(self) -> harm.Samples:
        """Return samples to search with: every third one only judges the result of the others."""
        every = range(len(self._picked))
        judged = [self._picked[i] for i in every if i % _APART == _APART - 1]
        search = [self._picked[i] for i in every if i % _APART != _APART - 1]
        return harm.Samples(search, judged, self.values, self.shapes)

    def take(self, found: Values) -> None:
        """See ``Observed``."""
        for name, value in found.items():
            if isinstance(value, np.ndarray) and value.dtype.kind == "f" and value.size:
                if name not in self._ranges:
                    self._ranges[name] = Range(counted=any(method != "minmax" for method in self.methods))
                self._ranges[name].take(value)
                self.values += value.size
                self.shapes[name] = value.shape

    def scales(self) -> Dict[str, harm.Scales]:
        """Return the scales of each method."""
        ranges = {name: seen for name, seen in self._ranges.items() if _is_writable(name)}
        without = {name: seen.without / 127 for name, seen in ranges.items()}
        return {
            method: harm.Scales({name: amax(seen, method) / 127 for name, seen in ranges.items()}, without)
            for method in self.methods
        }
