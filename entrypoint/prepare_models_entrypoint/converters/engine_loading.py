"""Loading an engine on a machine with a GPU. Like the backend, only for child processes."""

from __future__ import annotations

from pathlib import Path
from typing import Optional, Sequence, cast

from ..contract.conversion import Plugin
from ..contract.values import Value
from . import plugins as libraries
from .backend import Log, first, trt


class Loaded(Value):
    """An engine, or why it doesn't load. ``log`` and ``runtime`` live as long as it does."""

    engine: Optional[trt.ICudaEngine]
    why_not: Optional[str]
    log: Log
    runtime: trt.Runtime


def load_engine(plan: Path, *, own: bool, plugins: Sequence[Plugin] = ()) -> Loaded:
    """Load an engine. Call it only if there is a GPU: without one, TensorRT may crash.

    ``own``: whether it was built here; only then may a lean runtime inside it (``version_compatible``) run.

    Raises:
        ConvertError: ``plugin-invalid``.
    """
    log = Log()
    libraries.load(plugins, trt, log)
    runtime = trt.Runtime(log)
    if own and hasattr(runtime, "engine_host_code_allowed"):
        runtime.engine_host_code_allowed = True
    engine = cast("Optional[trt.ICudaEngine]", runtime.deserialize_cuda_engine(plan.read_bytes()))
    why_not = first(log.errors, "the runtime gives no reason") if engine is None else None
    return Loaded(engine, why_not, log, runtime)


def memory_of(engine: trt.ICudaEngine) -> Optional[int]:
    """Return the GPU memory in bytes that one execution needs besides the weights; None if the engine can't say.

    TensorRT 11 removed ``device_memory_size``; ``_v2`` exists since 10.1, and is 0 for an engine of TensorRT 8.
    """
    sizes = [getattr(engine, name, 0) for name in ("device_memory_size_v2", "device_memory_size")]
    return next((int(size) for size in sizes if size), None)
