"""Building with the TensorRT Python API: one code for ``tensorrt`` 8.6 to 11 and ``tensorrt_rtx``.

What differs between them is found by looking for names, never by comparing versions. This module imports the backend,
so only a child process may import it.
"""

from __future__ import annotations

import contextlib
import fnmatch
import importlib
import mmap
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, Dict, Iterator, List, Optional, Sequence

from ..contract.environment import BackendInfo
from ..contract.report import Binding, EngineDetails, Layer, ProfileShapes
from ..contract.runtime import installed_backend
from ..errors import ConvertError
from ..foreign import ForeignError, foreign
from ..onnx_graph.calibration_cache import CalibrationCache
from . import build_time, timing_cache, weights_in_place
from .messages import from_builder_log, is_noise
from .parser_errors import Finding, judge
from .profiles import Traits
from .request import BuildRequest
from .settings import apply

if TYPE_CHECKING:
    import tensorrt as trt
else:
    _installed = installed_backend()
    if _installed is None:
        raise ImportError("neither tensorrt nor tensorrt_rtx is installed")
    trt = importlib.import_module(_installed["name"])

__all__ = ["LOG", "Builder", "Log", "Network", "dtype_name", "flag_names", "info", "trt", "weakly_typed"]

Progress = Callable[[str, int, int], None]

_DTYPES = {
    "FLOAT": "float32",
    "HALF": "float16",
    "BF16": "bfloat16",
    "INT8": "int8",
    "INT32": "int32",
    "INT64": "int64",
    "UINT8": "uint8",
    "BOOL": "bool",
    "FP8": "float8",
    "INT4": "int4",
    "FP4": "float4",
}

_COMPUTE = ("CONVOLUTION", "DECONVOLUTION", "MATRIX_MULTIPLY", "FULLY_CONNECTED")
_CHOOSING = 4  # level of the phases in which a builder chooses implementations, after it judged sizes and types
_PRECISIONS = {"FLOAT": "fp32", "HALF": "fp16", "BF16": "bf16", "FP8": "fp8", "INT8": "int8"}


def info() -> BackendInfo:
    """Return the name and exact version of the backend."""
    return BackendInfo(name=trt.__name__, version=trt.__version__)


def weakly_typed() -> bool:
    """Tell whether precision is chosen by builder flags (TensorRT 8 to 10) rather than by the types in the graph."""
    return hasattr(trt.BuilderFlag, "FP16")


def flag_names() -> List[str]:
    """Return the names of the builder flags."""
    return list(trt.BuilderFlag.__members__)


class Log(trt.ILogger):
    """The process's one logger: everything goes to standard error, what went wrong is kept for the report."""

    def __init__(self) -> None:
        trt.ILogger.__init__(self)
        self.errors: List[str] = []
        self.warnings: List[str] = []

    def log(self, severity: trt.ILogger.Severity, message: str) -> None:
        """Take a message of the backend."""
        if severity in (trt.ILogger.Severity.ERROR, trt.ILogger.Severity.INTERNAL_ERROR):
            if not is_noise(message):
                self.errors.append(message)
        elif severity == trt.ILogger.Severity.WARNING:
            self.warnings.append(message)
        if severity != trt.ILogger.Severity.VERBOSE:
            sys.stderr.write(f"[{severity.name}] {message}\n")


LOG = Log()  # a second one would be ignored by the backend


class Network:
    """A parsed model. Keeps every object of the backend alive: a dropped network crashes the parser."""

    def __init__(self, onnx: Path, source: Path, *, strongly_typed: bool, check_only: bool = False) -> None:
        self.log = LOG
        try:
            with foreign():
                self.builder = trt.Builder(self.log)
        except ForeignError as error:
            raise ConvertError(
                "backend-unusable",
                f"{trt.__name__} {trt.__version__} creates no builder: "
                + first([*self.log.errors, *self.log.warnings], error),
                hint="full TensorRT needs an NVIDIA GPU and driver; without one install tensorrt-rtx-cu13",
            ) from error
        self.weights: Optional[mmap.mmap] = None
        before = len(self.log.warnings)
        self.log.errors.clear()  # those of an earlier network, which was rewritten, say nothing of this one
        self._begin(strongly_typed=strongly_typed)
        if check_only and hasattr(self.parser, "load_initializer"):
            self.weights = weights_in_place.parse(self.parser, onnx)
            if self.weights is None:
                self._begin(strongly_typed=strongly_typed)
        if self.weights is None and not self.parser.parse_from_file(str(onnx)):
            raise judge(_findings(self.parser), f"{trt.__name__} {trt.__version__}", source)
        self.remarks = self.log.warnings[before:]
        self._remarked = len(self.log.warnings)
        self.layers: int = self.definition.num_layers

    def warnings(self) -> List[str]:
        """Return what the builder warned of since the network was parsed."""
        return self.log.warnings[self._remarked :]

    def _begin(self, *, strongly_typed: bool) -> None:
        definition = self.builder.create_network(_creation_flags(strongly_typed=strongly_typed))
        self.parser = trt.OnnxParser(definition, self.log)
        self.definition = definition  # only now: an earlier network must not go before its parser

    def bindings(self) -> List[Binding]:
        """Return inputs and outputs in the model's order, with -1 for dynamic dimensions."""
        definition = self.definition
        inputs = [_binding(definition.get_input(i), "input") for i in range(definition.num_inputs)]
        return inputs + [_binding(definition.get_output(i), "output") for i in range(definition.num_outputs)]

    def traits(self) -> Dict[str, Traits]:
        """Return what the parser tells of each input beside its binding."""
        inputs = (self.definition.get_input(index) for index in range(self.definition.num_inputs))
        return {tensor.name: _traits(tensor) for tensor in inputs}

    def __iter__(self) -> Iterator[trt.ILayer]:
        """Yield the layers."""
        return (self.definition.get_layer(index) for index in range(self.layers))

    def details(self) -> EngineDetails:
        """Return the network's layers, which are not yet the engine's: the builder fuses them."""
        return EngineDetails(
            source="network",
            name=self.definition.name or "Unnamed Network 0",
            device_memory_bytes=None,
            streamable_weights_bytes=None,
            layers=[_layer(layer) for layer in self],
        )

    def has_qdq(self) -> bool:
        """Tell whether the model carries Q/DQ nodes."""
        return any(layer.type.name in ("QUANTIZE", "DEQUANTIZE") for layer in self)

    def precisions(self) -> Dict[str, int]:
        """Return the number of compute layers by the precision that the model's own types give them."""
        dequantized = {layer.get_output(0).name for layer in self if layer.type.name == "DEQUANTIZE"}
        found: Dict[str, int] = {}
        for layer in self:
            if layer.type.name in _COMPUTE:
                tensor = layer.get_input(0)
                name = "int8" if tensor.name in dequantized else _PRECISIONS.get(tensor.dtype.name, "fp32")
                found[name] = found.get(name, 0) + 1
        return found

    def tensors(self) -> List[str]:
        """Return the names of all tensors."""
        inputs = [self.definition.get_input(index).name for index in range(self.definition.num_inputs)]
        return inputs + [layer.get_output(i).name for layer in self for i in range(layer.num_outputs)]

    def activations(self) -> List[str]:
        """Return the names of the float tensors that enter layers which can compute in int8."""
        constants = {layer.get_output(0).name for layer in self if layer.type.name == "CONSTANT"}
        names = [
            layer.get_input(i).name for layer in self if layer.type.name in _COMPUTE for i in range(layer.num_inputs)
        ]
        return [name for name in names if name not in constants]

    def keep_fp32(self, patterns: Sequence[str]) -> None:
        """Pin the layers whose names match to fp32."""
        for layer in self:
            if any(fnmatch.fnmatchcase(layer.name, pattern) for pattern in patterns):
                layer.precision = trt.DataType.FLOAT


def _layer(layer: trt.ILayer) -> Layer:
    outputs = [layer.get_output(index) for index in range(layer.num_outputs)]
    precision = _precision(outputs[0].dtype) if outputs else None
    return Layer(
        name=layer.name, type=layer.type.name, precision=precision, outputs=[tensor.name for tensor in outputs]
    )


def _precision(dtype: trt.DataType) -> str:
    return _PRECISIONS.get(dtype.name) or dtype_name(dtype)


def _creation_flags(*, strongly_typed: bool) -> int:
    # TensorRT 8 needs EXPLICIT_BATCH for ONNX; later versions have no such name, and their bits mean other things.
    mask = 0
    names = ["EXPLICIT_BATCH"] + (["STRONGLY_TYPED"] if strongly_typed and weakly_typed() else [])
    for name in names:
        flag = getattr(trt.NetworkDefinitionCreationFlag, name, None)
        mask |= 0 if flag is None else 1 << int(flag)
    return mask


def _binding(tensor: trt.ITensor, mode: str) -> Binding:
    dtype = dtype_name(tensor.dtype)
    return Binding(name=tensor.name, mode=mode, dtype=dtype, shape=_dims(tensor.shape), profiles=[], source="network")


def _traits(tensor: trt.ITensor) -> Traits:
    axes = range(len(tensor.shape)) if hasattr(tensor, "get_dimension_name") else ()
    return Traits(tuple(tensor.get_dimension_name(axis) or None for axis in axes), sizes=tensor.is_shape_tensor)


def _dims(shape: trt.Dims) -> List[int]:
    return [shape[axis] for axis in range(len(shape))]


def dtype_name(dtype: trt.DataType) -> str:
    """Return the common name of a TensorRT data type, such as float32."""
    name: str = dtype.name
    return _DTYPES.get(name, name.lower())


def _findings(parser: trt.OnnxParser) -> List[Finding]:
    # node_name and node_operator came with TensorRT 10; 8.6 knows the number of the node only.
    errors = [parser.get_error(index) for index in range(parser.num_errors)]
    return [
        Finding(
            str(error.code()),
            error.node_operator() if hasattr(error, "node_operator") else "",
            error.node_name() if hasattr(error, "node_name") else f"number {error.node()}" if error.node() >= 0 else "",
            error.desc(),
        )
        for error in errors
    ]


class Builder:
    """A network with everything that the manifest asks of its build; refuses what this backend can't be asked."""

    def __init__(
        self, network: Network, profiles: List[Dict[str, ProfileShapes]], request: BuildRequest, flags: Sequence[str]
    ) -> None:
        """Configure the build.

        Args:
            network: what was parsed.
            profiles: min, opt and max shape of every input, for each optimization profile.
            request: settings of the manifest, and where timing caches are kept.
            flags: names of the builder flags that bring the precision about.
        """
        model = request.model
        self.network, self.request = network, request
        self.config = config = network.builder.create_builder_config()
        self.effective: Dict[str, Any] = apply(trt, config, network.definition, model.builder, flags)
        if flags and model.builder.profiling_verbosity is None:
            config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED  # else an engine can't tell its precision
        if model.kept_patterns and flags:
            config.set_flag(trt.BuilderFlag.OBEY_PRECISION_CONSTRAINTS)
        dynamic = any(-1 in binding["shape"] for binding in network.bindings() if binding["mode"] == "input")
        sizes = any("values" in shapes for profile in profiles for shapes in profile.values())
        if dynamic or sizes or len(profiles) > 1:
            for profile in profiles:
                _add_profile(network, config, profile)

    def build(self, cache: Optional[CalibrationCache], *, progress: Progress) -> Any:
        """Return the plan as a bytes-like object.

        Args:
            cache: calibration cache for a builder that takes one.
            progress: called with phase name, step and number of steps.
        """
        config, network = self.config, self.network
        calibrator = _calibrator(cache)
        if calibrator is not None:
            config.int8_calibrator = calibrator
        with timing_cache.cache(trt, config, self.request), _watched(config, progress, self.request.expected_s):
            plan = network.builder.build_serialized_network(network.definition, config)
        if calibrator is not None and calibrator.asked:
            raise ConvertError(
                "calibration-cache-refused",
                f"{trt.__name__} {trt.__version__} did not take the calibration cache and asked for samples",
                hint="use the calibration cache of exactly this model, or make one with calibration: {images: DIR}",
            )
        if plan is None:
            raise from_builder_log(network.log.errors)
        return plan

    def rehearse(self, *, whole: bool) -> bool:
        """Begin the build to hear the builder's objections, and return whether it could be asked.

        The backend must need no GPU to build and report progress. Sizes and types are judged in milliseconds; then the
        build is cancelled, unless it is to be done as a whole, which shows what the compiler refuses, too.
        """
        if not rehearsed() or not hasattr(trt, "IProgressMonitor"):
            return False
        rehearsal = _rehearsal(whole=whole)
        self.config.progress_monitor = rehearsal
        plan: Any = self.network.builder.build_serialized_network(self.network.definition, self.config)
        if plan is None and not rehearsal.cancelled:
            raise from_builder_log(self.network.log.errors)
        return True


def rehearsed() -> bool:
    """Tell whether this backend builds without running anything on a GPU, so that a check may begin a build."""
    return hasattr(trt, "ComputeCapability")


def _calibrator(cache: Optional[CalibrationCache]) -> Any:
    """Return a calibrator that hands out the cache and nothing else: it never calibrates and never writes."""
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
    """Report the build's phases where the backend has a progress monitor (TensorRT 9 and later), else the time."""
    if not hasattr(trt, "IProgressMonitor"):
        with build_time.told(progress, expected_s):
            yield
        return
    monitor = _monitor(progress)
    config.progress_monitor = monitor
    yield
    del monitor  # not before: the configuration does not keep it alive


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


def first(messages: Sequence[str], fallback: object) -> str:
    """Return the first thing that went wrong: what follows it is mostly its consequence."""
    return messages[0].strip() if messages else str(fallback)
