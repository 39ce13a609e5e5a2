"""Runs models: with ONNX Runtime on the CPU (rewritten ones rounded), and the engine if a GPU can load it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Dict, List, Mapping, Optional, Sequence, Tuple, Type

import numpy as np

from ..contract.backends import loads_compatible_alone, take
from ..contract.comparison import Latency
from ..contract.conversion import Plugin
from ..errors import VerifyError, missing
from ..onnx_graph.runtime_worker import TYPES

if TYPE_CHECKING:
    from ..converters.engine_loading import Loaded

_WARM_UP, _MOST, _LEAST_S = 10, 500, 2.0


def dtype_of(name: str, kind: str) -> Any:
    """Return numpy's type for an input of ONNX Runtime.

    Raises:
        VerifyError: numpy has no such type.
    """
    if kind not in TYPES:
        raise VerifyError(
            "verification-impossible",
            f"input {name!r} is a {kind}, for which there are no samples",
            hint="remove verify: from this model",
        )
    return TYPES[kind]


def session(model: Path) -> Any:
    """Return ONNX Runtime's session of a model on the CPU.

    Raises:
        VerifyError: ``verification-impossible``: ONNX Runtime lacks an operator, for instance.
    """
    import onnxruntime

    try:
        return onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    except runtime_errors() as error:
        raise cannot_run(error) from None


def runtime_errors() -> Tuple[Type[Exception], ...]:
    """Return the types that ONNX Runtime raises, which have no common base."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    own = [kind for kind in vars(state).values() if isinstance(kind, type) and issubclass(kind, Exception)]
    return (*own, RuntimeError, ValueError)


def cannot_run(error: Exception) -> VerifyError:
    """Return the error that ONNX Runtime can't run a model."""
    first_line = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return VerifyError(
        "verification-impossible",
        f"ONNX Runtime can't run the model: {first_line}",
        hint="remove verify: from this model (and name a precision in place of auto), or export it with operators and "
        "types that ONNX Runtime has",
    )


def engine_of(plan: Path, module: str, *, own: bool, plugins: Sequence[Plugin]) -> Loaded:
    """Load an engine with a TensorRT module. Call it only if there is a GPU: without one, TensorRT may crash."""
    take(module)
    from ..converters import engine_loading

    return engine_loading.load_engine(plan, own=own, plugins=plugins)


class EngineRunner:
    """Runs an engine with one of Polygraphy's runners.

    Samples have the source model's types and are converted to those of the engine's inputs, which ``io_formats`` and
    older versions of TensorRT without int64 change.
    """

    def __init__(self, runner: Any) -> None:
        self._runner = runner
        self._types: Dict[str, Any] = {}

    def __enter__(self) -> "EngineRunner":  # noqa: PYI034  # Python 3.8 has no Self
        try:
            self._runner.activate()
        except OSError as error:
            raise VerifyError(
                "verification-impossible",
                f"the engine can't be run: {error}",
                hint="install CUDA's runtime library (nvidia-cuda-runtime from PyPI, or NVIDIA's CUDA image as base)",
            ) from None
        known = self._runner.get_input_metadata(use_numpy_dtypes=False)
        self._types = {name: _numpy_type(name, value.dtype) for name, value in known.items()}
        return self

    def __exit__(self, *_: object) -> None:
        self._runner.deactivate()

    def infer(self, feed_dict: Mapping[str, Any]) -> Dict[str, Any]:
        """Return the outputs by name."""
        feed = {name: np.asarray(value, self._types.get(name)) for name, value in feed_dict.items()}
        outputs: Dict[str, Any] = self._runner.infer(feed_dict=feed)
        return outputs

    def last_inference_time(self) -> float:
        """Return the seconds that the last sample took."""
        return float(self._runner.last_inference_time())


def _numpy_type(name: str, dtype: Any) -> Any:
    from polygraphy.datatype import DataType
    from polygraphy.exception import DataTypeConversionException

    try:
        return DataType.to_dtype(dtype, "numpy")
    except DataTypeConversionException:
        raise VerifyError(
            "verification-impossible",
            f"input {name!r} of the engine is a {dtype.name}, for which there are no samples",
            hint="remove verify: from this model, or change builder.io_formats",
        ) from None


def engine_runner(engine: Any, module: str) -> Any:
    """Return a runner of an engine on its first optimization profile: Polygraphy's, which needs full TensorRT, or ours.

    Raises:
        VerifyError: ``module-missing``.
    """
    if loads_compatible_alone(module):
        from .lean_runner import LeanRunner

        return LeanRunner(engine)
    if module == "tensorrt_rtx":
        os.environ["POLYGRAPHY_USE_TENSORRT_RTX"] = "1"
    try:
        from polygraphy.backend.trt import TrtRunner
        from polygraphy.logger import G_LOGGER
    except ImportError as error:
        raise missing(VerifyError, "verifying", "verify", error) from error
    G_LOGGER.module_severity = G_LOGGER.ERROR
    return EngineRunner(TrtRunner(engine, name="candidate", optimization_profile=0))


class RoundedRunner:
    """Runs a rewritten model on the CPU with each fp16 and bf16 tensor rounded as on the GPU."""

    def __init__(self, model: Path) -> None:
        from ..onnx_graph import model_file, rounding
        from ..onnx_graph.segments import Segments

        self.rounded = rounding.rounded(model_file.load(model))
        self._segments = Segments(self.rounded.model)

    def __enter__(self) -> "RoundedRunner":  # noqa: PYI034  # Python 3.8 has no Self
        return self

    def __exit__(self, *_: object) -> None:
        """Do nothing: there is nothing to free."""

    def infer(self, feed_dict: Mapping[str, Any]) -> Dict[str, Any]:
        """Return the outputs by name."""
        try:
            return self._segments.run(feed_dict)
        except runtime_errors() as error:
            raise cannot_run(error) from None


def measure(runner: Any, feed: Mapping[str, Any], *, memory_bytes: Optional[int]) -> Latency:
    """Run one sample again and again, and return its latency; copies to and from the GPU are included."""
    with runner as active:
        for _ in range(_WARM_UP):
            active.infer(feed_dict=feed)
        spent: List[float] = []
        while len(spent) < _MOST and (len(spent) < _WARM_UP or sum(spent) < _LEAST_S):
            active.infer(feed_dict=feed)
            spent.append(active.last_inference_time())
    times = np.array(spent)
    return Latency(
        iterations=len(times),
        throughput_per_s=float(len(times) / times.sum()),
        median_ms=float(np.median(times) * 1e3),
        p99_ms=float(np.percentile(times, 99) * 1e3),
        execution_memory_bytes=memory_bytes,
    )
