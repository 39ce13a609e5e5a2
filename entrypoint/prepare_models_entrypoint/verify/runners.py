"""Runs models with Polygraphy: ONNX Runtime on the CPU, and the engine where a GPU can load it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Iterator, List, Mapping, Optional

import numpy as np

from ..contract.report import Latency
from ..errors import VerifyError

_WARM_UP, _MOST, _LEAST_S = 10, 500, 2.0


def load(backend_name: Optional[str]) -> Any:
    """Import Polygraphy for a backend and return its comparator module.

    Raises:
        VerifyError: ``module-missing``.
    """
    if backend_name == "tensorrt_rtx":
        os.environ["POLYGRAPHY_USE_TENSORRT_RTX"] = "1"
    try:
        import onnxruntime
        from polygraphy import comparator
        from polygraphy.logger import G_LOGGER
    except ImportError as error:
        raise missing(error) from error
    G_LOGGER.module_severity = G_LOGGER.ERROR
    onnxruntime.set_default_logger_severity(3)
    return comparator


def missing(error: ImportError) -> VerifyError:
    """Return the error of a package that is not installed."""
    return VerifyError("module-missing", f"verifying needs {error.name}", hint="pip install 'prepare-models[verify]'")


def session(model: Path) -> Any:
    """Return ONNX Runtime's session of a model on the CPU.

    Raises:
        VerifyError: ``verification-impossible``: ONNX Runtime lacks an operator, for instance.
    """
    import onnxruntime

    try:
        return onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    except Exception as error:  # noqa: BLE001  # the library's exceptions have no common type but this
        first_line = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise VerifyError(
            "verification-impossible",
            f"ONNX Runtime can't run the model: {first_line}",
            hint="remove verify: from this model, or export it with operators of the ONNX standard",
        ) from None


@dataclass
class Engine:
    """A loaded engine, or why it does not load. ``runtime`` keeps what the engine needs alive."""

    engine: Any
    why_not: Optional[str]
    runtime: Any = None


def engine_of(plan: Path) -> Engine:
    """Load an engine. Only where a CUDA device exists: elsewhere TensorRT may crash."""
    from ..converters import backend

    loaded = backend.load_engine(plan, own=True)
    return Engine(loaded.engine, loaded.why_not, loaded)


def engine_runner(engine: Any) -> Any:
    """Return the runner of an engine, on its first optimization profile."""
    from polygraphy.backend.trt import TrtRunner

    return TrtRunner(engine, name="candidate", optimization_profile=0)


def onnx_runner(model_session: Any, name: str) -> Any:
    """Return the runner of an ONNX Runtime session."""
    from polygraphy.backend.onnxrt import OnnxrtRunner

    return OnnxrtRunner(model_session, name=name)


def measure(runner: Any, feed: Mapping[str, Any], *, memory_bytes: Optional[int]) -> Latency:
    """Run one sample again and again; copies from and to the host are part of the time."""
    with runner as active:
        for _ in range(_WARM_UP):
            active.infer(feed_dict=feed)
        times = np.array(list(_times(active, feed)))
    return Latency(
        iterations=len(times),
        throughput_per_s=float(len(times) / times.sum()),
        median_ms=float(np.median(times) * 1e3),
        p99_ms=float(np.percentile(times, 99) * 1e3),
        execution_memory_bytes=memory_bytes,
    )


def _times(active: Any, feed: Mapping[str, Any]) -> Iterator[float]:
    spent: List[float] = []
    while len(spent) < _MOST and (len(spent) < _WARM_UP or sum(spent) < _LEAST_S):
        active.infer(feed_dict=feed)
        spent.append(active.last_inference_time())
        yield spent[-1]


def memory_of(engine: Any) -> Optional[int]:
    """Return the device memory in bytes that one execution of an engine needs beside its weights."""
    from ..converters import backend

    return backend.memory_of(engine)
