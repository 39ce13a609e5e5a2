"""Building a parsed network with the TensorRT module. Like the backend, only for child processes."""

from __future__ import annotations

import contextlib
from typing import Any, Dict, Iterator, List, Optional, Sequence, cast

from .. import gpu_turn
from ..contract.report import ProfileShapes
from ..errors import ConvertError
from ..onnx_graph.calibration_cache import CalibrationCache
from . import build_time, timing_cache
from .backend import Network, info, needs_no_gpu, trt
from .messages import from_builder_log
from .request import BuildRequest, Progress
from .settings import apply

_CHOOSING = 4  # level of the phases in which a builder chooses implementations, after checking sizes and types


class Builder:
    """A network with all build settings of the manifest; refuses those that this backend lacks."""

    def __init__(
        self, network: Network, profiles: List[Dict[str, ProfileShapes]], request: BuildRequest, flags: Sequence[str]
    ) -> None:
        """Configure the build. ``flags``: names of the builder flags that set the precision."""
        model = request.model
        self.network, self.request = network, request
        self.config = config = network.builder.create_builder_config()
        obeys = ("OBEY_PRECISION_CONSTRAINTS",) if model.kept_patterns and flags else ()
        self.effective = apply(trt, config, network.definition, model.builder, (*flags, *obeys))
        if flags and model.builder.profiling_verbosity is None:
            config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED  # else an engine can't report its precision
        dynamic = any(-1 in binding["shape"] for binding in network.bindings() if binding["mode"] == "input")
        sizes = any("values" in shapes for profile in profiles for shapes in profile.values())
        if dynamic or sizes or len(profiles) > 1:
            for profile in profiles:
                _add_profile(network, config, profile)

    def build(self, cache: Optional[CalibrationCache], *, progress: Progress) -> trt.IHostMemory:
        """Return the plan as a bytes-like object.

        Raises:
            ConvertError: the builder refused the network, or did not use the calibration cache.
        """
        config, network = self.config, self.network
        calibrator = _calibrator(cache)
        if calibrator is not None:
            config.int8_calibrator = calibrator
        timings = timing_cache.cache(config, info(), self.request)
        directory = None if needs_no_gpu() else self.request.timing_dir  # a backend that times kernels has its turn
        turn = gpu_turn.held(directory, lambda: progress(gpu_turn.WAITING, 0, 0))
        with turn, timings, _watched(config, progress, self.request.expected_s):
            plan = _plan(network, config)
        if calibrator is not None and calibrator.asked:
            raise ConvertError(
                "calibration-cache-refused",
                f"{trt.__name__} {trt.__version__} did not take the calibration cache and asked for samples",
                hint="use the calibration cache of exactly this model, or make one with calibration: {images: DIR}",
            )
        if plan is None:
            raise from_builder_log(network.log.errors, network.warnings())
        return plan

    def rehearse(self, *, whole: bool) -> bool:
        """Begin the build to get the builder's objections, and return whether that was possible.

        The backend must need no GPU to build, and report progress. Sizes and types are checked in milliseconds; then
        the build is cancelled, unless ``whole`` is set, which also shows what the compiler refuses.
        """
        if not needs_no_gpu() or not hasattr(trt, "IProgressMonitor"):
            return False
        rehearsal = _rehearsal(whole=whole)
        self.config.progress_monitor = rehearsal
        plan = _plan(self.network, self.config)
        if plan is None and not rehearsal.cancelled:
            raise from_builder_log(self.network.log.errors, self.network.warnings())
        return True


def _plan(network: Network, config: trt.IBuilderConfig) -> Optional[trt.IHostMemory]:
    return cast("Optional[trt.IHostMemory]", network.builder.build_serialized_network(network.definition, config))


def _calibrator(cache: Optional[CalibrationCache]) -> Any:
    """Return a calibrator that only returns the cache: it never calibrates and never writes."""
    if cache is None:
        return None
    base: Any = {
        "EntropyCalibration2": trt.IInt8EntropyCalibrator2,
        "MinMaxCalibration": trt.IInt8MinMaxCalibrator,
        "EntropyCalibration": trt.IInt8EntropyCalibrator,
    }[cache.algorithm]

    class CacheOnly(base):  # type: ignore[misc]  # which base it has is the cache's affair
        def __init__(self, blob: bytes) -> None:
            base.__init__(self)
            self.blob = blob
            self.asked = False

        def get_batch_size(self) -> int:
            return 1

        def get_batch(self, names: List[str]) -> Optional[List[int]]:
            del names
            self.asked = True
            return None

        def read_calibration_cache(self) -> bytes:
            return self.blob

        def write_calibration_cache(self, cache: bytes) -> None:
            del cache

    return CacheOnly(cache.for_version(trt.__version__))


def _add_profile(network: Network, config: trt.IBuilderConfig, shapes: Dict[str, ProfileShapes]) -> None:
    profile = network.builder.create_optimization_profile()
    for index in range(network.definition.num_inputs):
        tensor = network.definition.get_input(index)
        one = shapes[tensor.name]
        profile.set_shape(tensor.name, trt.Dims(one["min"]), trt.Dims(one["opt"]), trt.Dims(one["max"]))
        if "values" in one:
            profile.set_shape_input(tensor.name, one["values"]["min"], one["values"]["opt"], one["values"]["max"])
    if config.add_optimization_profile(profile) < 0:
        raise from_builder_log(network.log.errors or ["the builder refuses the optimization profile"])


@contextlib.contextmanager
def _watched(config: trt.IBuilderConfig, progress: Progress, expected_s: Optional[float]) -> Iterator[None]:
    """Report the build's phases if the backend has a progress monitor (TensorRT 9 and later), else the time."""
    if not hasattr(trt, "IProgressMonitor"):
        with build_time.reported(progress, expected_s):
            yield
        return
    monitor = _monitor(progress)
    config.progress_monitor = monitor
    yield
    del monitor  # not earlier: the configuration doesn't keep it alive


def _monitor(progress: Progress) -> trt.IProgressMonitor:
    """Return a monitor that reports the outermost phases."""

    class Monitor(trt.IProgressMonitor):
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self.steps: Dict[str, int] = {}

        def phase_start(self, phase_name: str, parent_phase: Optional[str], num_steps: int) -> None:
            if not parent_phase:
                self.steps[phase_name] = num_steps
                progress(phase_name, 0, num_steps)

        def step_complete(self, phase_name: str, step: int) -> bool:
            if phase_name in self.steps:
                progress(phase_name, step + 1, self.steps[phase_name])
            return True

        def phase_finish(self, phase_name: str) -> None:
            self.steps.pop(phase_name, None)

    return Monitor()


def _rehearsal(*, whole: bool) -> Any:
    """Return a monitor that cancels a build once it begins to choose implementations, its fourth level of phases."""

    class Rehearsal(trt.IProgressMonitor):  # type: ignore[misc,unused-ignore]
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self.levels: Dict[str, int] = {}
            self.cancelled = False

        def phase_start(self, phase_name: str, parent_phase: Optional[str], num_steps: int) -> None:
            del num_steps
            self.levels[phase_name] = self.levels.get(parent_phase or "", 0) + 1

        def step_complete(self, phase_name: str, step: int) -> bool:
            del step
            self.cancelled = self.cancelled or (not whole and self.levels.get(phase_name, 0) >= _CHOOSING)
            return not self.cancelled

        def phase_finish(self, phase_name: str) -> None:
            del phase_name

    return Rehearsal()
