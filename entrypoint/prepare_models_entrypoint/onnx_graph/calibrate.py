"""Calibration from samples: how images become input tensors, and a cache measured with ONNX Runtime's calibrator."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Optional, Sequence

from ..contract.conversion import SAMPLE_ENDINGS, CalibrationConfig
from ..contract.files import write_atomic
from ..errors import ConvertError
from . import calibration_cache

FILE = "calibration.cache"

Progress = Callable[[str, int, int], None]


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


def produce(model: Path, config: CalibrationConfig, target: Path, progress: Progress) -> None:
    """Write the cache of ``model``: the largest absolute value of each activation over the samples, over 127."""
    try:
        import onnxruntime
        from onnxruntime.quantization.calibrate import CalibrationDataReader, CalibrationMethod, create_calibrator
    except ImportError as error:
        raise ConvertError(
            "module-missing", f"calibration needs {error.name}", hint="pip install 'prepare-models[calibrate]'"
        ) from error
    onnxruntime.set_default_logger_severity(3)
    session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    inputs = session.get_inputs()
    if len(inputs) != 1:
        raise ConvertError(
            "calibration-samples-unusable",
            f"the model has {len(inputs)} inputs; calibration from images feeds one",
            hint="give a calibration_cache: made with your own tool",
        )
    shape = [size if isinstance(size, int) else 1 for size in inputs[0].shape]
    del session

    class Reader(CalibrationDataReader):  # type: ignore[misc]  # the library has no types
        def __init__(self) -> None:
            self._feeds = _feeds(config, inputs[0].name, shape, progress)

        def get_next(self) -> Optional[Dict[str, Any]]:
            return next(self._feeds, None)

    with tempfile.TemporaryDirectory(dir=str(target.parent)) as private:
        calibrator = create_calibrator(
            str(model),
            augmented_model_path=str(Path(private) / "augmented.onnx"),
            calibrate_method=CalibrationMethod.MinMax,
        )
        calibrator.collect_data(Reader())
        ranges = calibrator.compute_data()
    scales = {name: max(abs(float(low)), abs(float(high))) / 127 for name, (low, high) in _ranges(ranges)}
    write_atomic(target, calibration_cache.write(scales))


def _feeds(config: CalibrationConfig, name: str, shape: "list[int]", progress: Progress) -> Iterator[Dict[str, Any]]:
    files = samples(config)
    for index, file in enumerate(files):
        progress("calibrate", index, len(files))
        yield {name: tensor(file, config, shape)}


def _ranges(ranges: Any) -> "Iterator[tuple[str, tuple[Any, Any]]]":
    for name in ranges:
        low, high = ranges[name].range_value
        yield name, (low.min(), high.max())
