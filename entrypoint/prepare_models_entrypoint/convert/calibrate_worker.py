"""A calibration cache from samples, measured with ONNX Runtime's own calibrator."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, Optional

from ..contract import CalibrationConfig
from ..contract.files import write_atomic
from ..errors import ConvertError
from . import calibrate, calibration_cache

Progress = Callable[[str, int, int], None]


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
    files = calibrate.samples(config)
    for index, file in enumerate(files):
        progress("calibrate", index, len(files))
        yield {name: calibrate.tensor(file, config, shape)}


def _ranges(ranges: Any) -> "Iterator[tuple[str, tuple[Any, Any]]]":
    for name in ranges:
        low, high = ranges[name].range_value
        yield name, (low.min(), high.max())
