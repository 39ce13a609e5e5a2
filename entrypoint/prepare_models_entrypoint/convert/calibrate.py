"""Calibration from samples: how images become input tensors. The arithmetic of one sample, without any model."""

from __future__ import annotations

from pathlib import Path
from typing import Any, List, Sequence

from ..contract import CalibrationConfig
from ..contract.conversion import SAMPLE_ENDINGS
from ..errors import ConvertError

FILE = "calibration.cache"


def samples(config: CalibrationConfig) -> List[Path]:
    """Return the sample files, sorted by name."""
    found = config.samples()
    if not found:
        raise ConvertError(
            "calibration-samples-unusable",
            f"{config.images} has no sample ({', '.join(SAMPLE_ENDINGS)})",
            hint="give a directory with some tens of typical images under calibration: images:",
        )
    return found


def tensor(file: Path, config: CalibrationConfig, shape: Sequence[int]) -> Any:
    """Return one sample as float32 of ``shape``; an image is resized to it, an array must have it."""
    import numpy as np

    if file.suffix == ".npy":
        array = np.asarray(np.load(str(file), allow_pickle=False), np.float32)
        if array.shape not in (tuple(shape), tuple(shape[1:])):
            raise _unusable(file, f"has shape {array.shape}, the input is {tuple(shape)}")
        return array.reshape(shape)
    height, width = shape[2:4] if config.layout == "nchw" else shape[1:3]
    pixels = _pixels(file, config, width, height)
    values = pixels.astype(np.float32) * np.float32(config.scale)
    values = (values - np.asarray(config.mean or 0, np.float32)) / np.asarray(config.std or 1, np.float32)
    values = values.transpose(2, 0, 1) if config.layout == "nchw" else values
    if (1, *values.shape) != tuple(shape):
        raise _unusable(file, f"gives shape {(1, *values.shape)}, the input is {tuple(shape)}")
    return np.ascontiguousarray(values[None])


def _pixels(file: Path, config: CalibrationConfig, width: int, height: int) -> Any:
    import numpy as np

    try:
        from PIL import Image
    except ImportError as error:
        raise ConvertError(
            "module-missing", f"reading images needs {error.name}", hint="pip install 'prepare-models[calibrate]'"
        ) from error
    try:
        with Image.open(str(file)) as image:
            ready = image.convert("L" if config.colour == "gray" else "RGB").resize((width, height))
            array = np.asarray(ready)
    except (OSError, ValueError) as error:
        raise _unusable(file, str(error)) from None
    array = array[:, :, None] if array.ndim == 2 else array
    return array[:, :, ::-1] if config.colour == "bgr" else array


def _unusable(file: Path, why: str) -> ConvertError:
    return ConvertError(
        "calibration-samples-unusable", f"sample {file.name} {why}", hint="check calibration: and the samples"
    )
