"""Sample files as input tensors: images, arrays (.npy) and several arrays by input name (.npz)."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path
from typing import Any, Dict, Iterator, List, NamedTuple, Sequence, Tuple

import numpy as np

from ..contract.verification import PIXEL_SCALE, SAMPLES_HINT, SampleConfig
from ..errors import ConvertError, missing

Feed = Dict[str, Any]

_FEWEST_LEVELS = 16  # that pixels may become; with fewer, little is left of an image
# What numpy raises for a damaged file.
BROKEN = (OSError, ValueError, TypeError, AttributeError, EOFError, zipfile.BadZipFile, zlib.error)


class Input(NamedTuple):
    """An input of a model: its name, numpy type, and the shape in which it is fed, the batch first."""

    name: str
    dtype: Any
    shape: Tuple[int, ...]


def files(config: SampleConfig) -> List[Path]:
    """Return the sample files, sorted by name.

    Raises:
        ConvertError: ``calibration-samples-unusable``: there are none.
    """
    problem = config.problem()
    if problem is not None:
        raise ConvertError("calibration-samples-unusable", problem, hint=SAMPLES_HINT)
    return config.samples()


def check(paths: Sequence[Path], config: SampleConfig, inputs: Sequence[Input]) -> None:
    """Refuse samples that don't fit the inputs; images are opened but not decoded.

    Raises:
        ConvertError: ``calibration-samples-unusable``.
    """
    for path in paths:
        if path.suffix.lower() in (".npy", ".npz"):
            one(path, config, inputs)
        else:
            _size(path, config, _only(path, inputs))
            _opened(path, lambda image: image.verify())


def feeds(paths: Sequence[Path], config: SampleConfig, inputs: Sequence[Input]) -> Iterator[Feed]:
    """Yield feeds of full batches; the last one repeats its samples to be full."""
    batch = max([each.shape[0] for each in inputs if each.shape], default=1)
    waiting: List[Feed] = []
    for path in paths:
        sample = one(path, config, inputs)
        if _is_whole(sample, inputs):
            yield sample
            continue
        waiting.append(sample)
        if len(waiting) == batch:
            yield _joined(waiting, inputs)
            waiting = []
    if waiting:
        yield _joined([waiting[index % len(waiting)] for index in range(batch)], inputs)


def _is_whole(sample: Feed, inputs: Sequence[Input]) -> bool:
    return all(sample[each.name].shape == each.shape for each in inputs)


def _joined(samples: Sequence[Feed], inputs: Sequence[Input]) -> Feed:
    joined = {}
    for each in inputs:
        arrays = [sample[each.name] for sample in samples]
        whole = arrays[0].shape == each.shape
        joined[each.name] = arrays[0] if whole else np.concatenate(arrays)[: each.shape[0]]
    return joined


def one(path: Path, config: SampleConfig, inputs: Sequence[Input]) -> Feed:
    """Return one file's arrays by input name: of the whole shape, or with a batch of 1.

    An image is resized to the input's height and width, and a pixel p becomes ``(p * scale - mean) / std``. If none of
    these is set, an input of whole numbers takes pixels unchanged. An array must have the input's shape.

    Raises:
        ConvertError: ``calibration-samples-unusable``.
    """
    if path.suffix.lower() == ".npz":
        arrays = _load(path)
        missing = [each.name for each in inputs if each.name not in arrays]
        if missing:
            has = ", ".join(sorted(arrays)) or "none"
            raise unusable(path, f"has no array {', '.join(missing)}; it has {has}", "name arrays by input")
        return {each.name: _shaped(arrays[each.name], path, each) for each in inputs}
    only = _only(path, inputs)
    if path.suffix.lower() == ".npy":
        return {only.name: _shaped(_load(path), path, only)}
    return {only.name: _typed(_image(path, config, only), path, only)}


def _only(path: Path, inputs: Sequence[Input]) -> Input:
    if len(inputs) == 1:
        return inputs[0]
    names = ", ".join(each.name for each in inputs)
    raise unusable(
        path, f"feeds one input, and the model has {len(inputs)} ({names})",
        "give .npz files, one for each sample, written with numpy.savez(FILE, **{input name: array})",
    )  # fmt: skip


def _load(path: Path) -> Any:
    try:
        loaded = np.load(str(path), allow_pickle=False)
        if path.suffix.lower() == ".npy":
            return np.asarray(loaded)
        with loaded as archive:
            return {name: archive[name] for name in archive.files}
    except BROKEN as error:
        raise unusable(path, f"can't be read: {error}", "write it with numpy.save or numpy.savez") from None


def _shaped(array: Any, path: Path, to: Input) -> Any:
    single = (1, *to.shape[1:]) if to.shape else ()
    if array.shape == to.shape[1:] and to.shape:
        array = array.reshape(single)
    if array.shape not in (to.shape, single):
        wanted = "x".join(map(str, to.shape)) or "a scalar"
        found = "x".join(map(str, array.shape)) or "a scalar"
        raise unusable(
            path, f"has shape {found}, input {to.name!r} is fed as {wanted}",
            "save arrays of this shape, or set inputs: in the manifest to the shape of the samples",
        )  # fmt: skip
    return _typed(array, path, to)


def _typed(array: Any, path: Path, to: Input) -> Any:
    """Return an array in the input's type; only precision may be lost."""
    dtype = np.dtype(to.dtype)
    if array.dtype.kind not in "fiub":
        raise unusable(path, f"holds {array.dtype}, input {to.name!r} takes {dtype}", "save numbers")
    if array.dtype.kind == "f":
        with np.errstate(over="ignore"):
            held = array.astype(dtype) if dtype.kind == "f" else array
        if not np.isfinite(held).all():
            raise unusable(path, f"has values that are not finite in {held.dtype}", "remove this sample")
    if dtype.kind in "iu" and array.size:
        limits = np.iinfo(dtype)
        fits = limits.min <= array.min() and array.max() <= limits.max and (np.rint(array) == array).all()
        if not fits:
            raise unusable(
                path, f"gives values from {array.min():g} to {array.max():g}, input {to.name!r} takes {dtype}",
                "leave preprocess: scale, mean and std out, or save whole numbers",
            )  # fmt: skip
    return np.asarray(array, dtype, order="C")  # np.ascontiguousarray would give a scalar an axis


def _image(path: Path, config: SampleConfig, to: Input) -> Any:
    height, width = _size(path, config, to)
    mode = "L" if config.colour == "gray" else "RGB"
    pixels = _opened(path, lambda image: np.asarray(image.convert(mode).resize((width, height))))
    pixels = pixels[:, :, None] if pixels.ndim == 2 else pixels
    pixels = pixels[:, :, ::-1] if config.colour == "bgr" else pixels
    if np.dtype(to.dtype).kind in "iu":
        values = pixels if _is_plain(config) else np.rint(_scaled(pixels, config))
    else:
        values = _scaled(pixels, config)
    return (values.transpose(2, 0, 1) if config.layout == "nchw" else values)[None]


def _scaled(pixels: Any, config: SampleConfig) -> Any:
    values = pixels.astype(np.float32) * np.float32(config.scale)
    return (values - np.asarray(config.mean or 0, np.float32)) / np.asarray(config.std or 1, np.float32)


def _size(path: Path, config: SampleConfig, to: Input) -> Tuple[int, int]:
    """Return the height and width to which an image is resized."""
    shape = "x".join(map(str, to.shape))
    if len(to.shape) != 4:
        raise unusable(path, f"is an image, and input {to.name!r} is fed as {shape}", "give samples as .npy or .npz")
    axis, other = (1, 3) if config.layout == "nchw" else (3, 1)
    channels = 1 if config.colour == "gray" else 3
    if to.shape[axis] != channels:
        hint = "set preprocess: {colour: gray}" if to.shape[axis] == 1 else "give samples as .npy"
        if to.shape[other] in (1, 3):
            hint = f"set preprocess: {{layout: {'nhwc' if config.layout == 'nchw' else 'nchw'}}}"
        raise unusable(
            path, f"gives {channels} channels in layout {config.layout}, input {to.name!r} is fed as {shape}", hint
        )
    _check_preprocess(config, channels, to)
    return (to.shape[2], to.shape[3]) if config.layout == "nchw" else (to.shape[1], to.shape[2])


def _check_preprocess(config: SampleConfig, channels: int, to: Input) -> None:
    """Refuse settings of ``preprocess`` that don't fit an image's channels, or that leave nothing of its pixels."""
    for name in ("mean", "std"):
        count = len(getattr(config, name))
        if count not in (0, 1, channels):
            why = f"preprocess: {name} has {count} numbers, and images have {channels} channels"
            raise ConvertError("calibration-samples-unusable", why, hint="give one number, or one for each channel")
    span = 255 * abs(config.scale) / max(config.std or (1.0,))
    is_whole = np.dtype(to.dtype).kind in "iu" and not _is_plain(config)
    if span < (_FEWEST_LEVELS if is_whole else np.finfo(np.float32).tiny):
        kind = f"{np.dtype(to.dtype)}, which have only whole numbers" if is_whole else str(np.dtype(to.dtype))
        why = f"preprocess: makes a range of {span:g} of pixels, for values of {to.name!r} in {kind}"
        raise ConvertError("calibration-samples-unusable", why, hint="leave preprocess: scale, mean and std out")


def _is_plain(config: SampleConfig) -> bool:
    """Return whether nothing is set that changes the values of pixels."""
    return (config.scale, config.mean, config.std) == (PIXEL_SCALE, (), ())


def _opened(path: Path, use: Any) -> Any:
    try:
        from PIL import Image
    except ImportError as error:
        raise missing(ConvertError, "reading images", "calibrate", error) from error
    try:
        with Image.open(str(path)) as image:
            return use(image)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise unusable(path, f"is not a readable image: {error}", "remove it, or save it again") from None


def unusable(path: Path, why: str, hint: str) -> ConvertError:
    """Return the error for a sample that can't be used."""
    return ConvertError("calibration-samples-unusable", f"sample {path.name} {why}", hint=hint)
