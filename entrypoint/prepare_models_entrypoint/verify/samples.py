"""Sample inputs of a verification: images, arrays of a .npz file, or seeded random numbers."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any, Iterator, List, Mapping, Optional, Tuple

import numpy as np

from ..contract.files import open_regular
from ..contract.job import ModelJob
from ..contract.verification import SampleConfig, VerifyConfig
from ..errors import ConvertError, VerifyError
from ..onnx_graph import sample_files

Input = sample_files.Input
Feed = sample_files.Feed

_WHOLE = "iub"


def shape_of(name: str, declared: "List[Any]", model: ModelJob) -> Tuple[int, ...]:
    """Return the shape in which an input is fed: its own, else the profile's optimum, else 1 for dynamic sizes."""
    profile = model.inputs or (model.profiles[0] if model.profiles else {})
    if name in model.onnx.static_shapes:
        return tuple(model.onnx.static_shapes[name])
    if name in profile and not profile[name].values:
        return profile[name].opt
    return tuple(size if isinstance(size, int) and size > 0 else 1 for size in declared)


def feeds(config: VerifyConfig, inputs: List[Input]) -> Tuple[str, Iterator[Feed]]:
    """Return a description of the samples and the samples: arrays by input name.

    Raises:
        VerifyError: ``verification-samples-unusable``, now or while iterating.
    """
    images = config.images
    if images is not None:
        files = _usable(lambda: sample_files.files(images))
        return f"{len(files)} images of {images.images}", _of_images(images, inputs, files)
    if config.npz is not None:
        arrays = _load(Path(config.npz))
        count = _count(arrays, inputs, config.npz)
        return f"{count} samples of {config.npz}", _of_arrays(arrays, inputs, count)
    return f"{config.count} random samples (seed {config.seed})", _random(config, inputs)


def _of_images(config: SampleConfig, inputs: List[Input], files: List[Path]) -> Iterator[Feed]:
    feeds = sample_files.feeds(files, config, inputs)
    while True:
        feed = _usable(lambda: next(feeds, None))
        if feed is None:
            return
        yield feed


def _load(file: Path) -> Mapping[str, Any]:
    try:
        with open_regular(file) as stream, np.load(stream, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except sample_files.BROKEN as error:
        raise _unusable(
            f"{file} can't be read as .npz: {error}", "write it with numpy.savez, names are those of the inputs"
        ) from None


def _count(arrays: Mapping[str, Any], inputs: List[Input], where: str) -> int:
    """Return how many samples there are: the first axis of each array contains one or more of the input's batches.

    A scalar serves all samples.
    """
    counts = set()
    for name, _, shape in inputs:
        array = arrays.get(name)
        if array is None:
            raise _unusable(
                f"{where} has no array {name!r}; it has {', '.join(sorted(arrays)) or 'none'}", "name arrays by input"
            )
        fits = array.ndim == len(shape) and array.shape[1:] == shape[1:] and (not shape or array.shape[0] >= shape[0])
        if not fits or (shape and array.shape[0] % shape[0]):
            raise _unusable(
                f"array {name!r} has shape {array.shape}, the input is {shape}", "stack samples along the first axis"
            )
        if shape:
            counts.add(array.shape[0] // shape[0])
    if len(counts) > 1:
        raise _unusable(f"{where} has different numbers of samples: {sorted(counts)}", "give as many for each input")
    return int(counts.pop()) if counts else 1


def _of_arrays(arrays: Mapping[str, Any], inputs: List[Input], count: int) -> Iterator[Feed]:
    for index in range(count):
        yield {
            name: np.asarray(arrays[name][index * shape[0] : (index + 1) * shape[0]] if shape else arrays[name], dtype)
            for name, dtype, shape in inputs
        }


def _random(config: VerifyConfig, inputs: List[Input]) -> Iterator[Feed]:
    unknown = sorted(set(config.ranges) - {name for name, _, _ in inputs})
    if unknown:
        names = ", ".join(name for name, _, _ in inputs)
        raise _unusable(f"ranges: the model has no input {', '.join(unknown)}", f"its inputs: {names}")
    for index in range(config.count):
        yield {name: _uniform(config, name, index, dtype, shape) for name, dtype, shape in inputs}


def _uniform(config: VerifyConfig, name: str, index: int, dtype: Any, shape: Tuple[int, ...]) -> Any:
    random = np.random.default_rng([config.seed, index, zlib.crc32(name.encode("utf-8"))])
    kind = np.dtype(dtype).kind
    usual = 256.0 if np.dtype(dtype) == np.uint8 else 2.0 if kind in _WHOLE else 1.0
    low, high = config.ranges.get(name, (0.0, usual))
    try:
        values = random.uniform(low, high, shape)
    except ValueError:  # of numpy, for more elements than a machine can address
        raise _unusable(
            f"input {name!r} has the shape {list(shape)}, which no array can have", "set smaller sizes"
        ) from None
    return np.asarray(np.floor(values) if kind in _WHOLE else values, dtype)  # a scalar stays an array


def _usable(work: Any) -> Any:
    try:
        return work()
    except ConvertError as error:
        if error.code != "calibration-samples-unusable":
            raise
        raise _unusable(error.message, "check verify: images and preprocess") from None


def _unusable(message: str, hint: Optional[str] = None) -> VerifyError:
    return VerifyError("verification-samples-unusable", message, hint=hint or "check verify: in the manifest")
