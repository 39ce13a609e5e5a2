"""Building with the TensorRT Python API: one code for ``tensorrt`` 8.6 to 11 and ``tensorrt_rtx``.

What differs between them is found by looking for names, never by comparing versions. This module imports the backend,
so only a child process may import it.
"""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Any, Callable, Dict, List, Optional, Sequence, Tuple

from ..contract import BuilderConfig
from ..contract.report import BackendInfo, Binding, ProfileShapes
from ..contract.runtime import installed_backend
from ..errors import ConvertError
from .messages import from_builder_log

if TYPE_CHECKING:
    import tensorrt as trt
else:
    _installed = installed_backend()
    if _installed is None:
        raise ImportError("neither tensorrt nor tensorrt_rtx is installed")
    trt = importlib.import_module(_installed["name"])

__all__ = ["Log", "Network", "build", "dtype_name", "info", "trt", "weakly_typed"]

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


def info() -> BackendInfo:
    """Return the name and exact version of the backend."""
    return BackendInfo(name=trt.__name__, version=trt.__version__)


def weakly_typed() -> bool:
    """Tell whether precision is chosen by builder flags (TensorRT 8 to 10) rather than by the types in the graph."""
    return hasattr(trt.BuilderFlag, "FP16")


class Log(trt.ILogger):
    """The process's one logger: everything goes to standard error, what went wrong is kept for the report."""

    def __init__(self) -> None:
        trt.ILogger.__init__(self)
        self.errors: List[str] = []

    def log(self, severity: trt.ILogger.Severity, message: str) -> None:
        """Take a message of the backend."""
        if severity in (trt.ILogger.Severity.ERROR, trt.ILogger.Severity.INTERNAL_ERROR):
            self.errors.append(message)
        if severity != trt.ILogger.Severity.VERBOSE:
            sys.stderr.write(f"[{severity.name}] {message}\n")


class Network:
    """A parsed model. Keeps every object of the backend alive: a dropped network crashes the parser."""

    def __init__(self, onnx: str) -> None:
        self.log = Log()
        try:
            self.builder = trt.Builder(self.log)
        except Exception as error:  # the binding raises several types when the library has no device
            raise ConvertError(
                "backend-unusable",
                f"{trt.__name__} {trt.__version__} creates no builder: {_last(self.log.errors, error)}",
                hint="full TensorRT needs an NVIDIA GPU and driver; without one install tensorrt-rtx-cu13",
            ) from error
        self.definition = self.builder.create_network(_creation_flags())
        self.parser = trt.OnnxParser(self.definition, self.log)
        if not self.parser.parse_from_file(onnx):
            raise parser_error([self.parser.get_error(index) for index in range(self.parser.num_errors)])
        self.layers: int = self.definition.num_layers

    def bindings(self) -> List[Binding]:
        """Return inputs and outputs in the model's order, with -1 for dynamic dimensions."""
        definition = self.definition
        inputs = [_binding(definition.get_input(i), "input") for i in range(definition.num_inputs)]
        return inputs + [_binding(definition.get_output(i), "output") for i in range(definition.num_outputs)]


def _creation_flags() -> int:
    # TensorRT 8 needs EXPLICIT_BATCH for ONNX; later versions have no such name, and their bits mean other things.
    flag = getattr(trt.NetworkDefinitionCreationFlag, "EXPLICIT_BATCH", None)
    return 0 if flag is None else 1 << int(flag)


def _binding(tensor: trt.ITensor, mode: str) -> Binding:
    dtype = dtype_name(tensor.dtype)
    return Binding(name=tensor.name, mode=mode, dtype=dtype, shape=_dims(tensor.shape), profiles=[], source="network")


def _dims(shape: trt.Dims) -> List[int]:
    return [shape[axis] for axis in range(len(shape))]


def dtype_name(dtype: trt.DataType) -> str:
    """Return the common name of a TensorRT data type, such as float32."""
    name: str = dtype.name
    return _DTYPES.get(name, name.lower())


def parser_error(errors: Sequence[trt.ParserError]) -> ConvertError:
    """Turn the parser's findings into one error that names nodes and operators."""
    unsupported = [
        error for error in errors if "UNSUPPORTED" in str(error.code()) or "Plugin not found" in error.desc()
    ]
    if unsupported:
        nodes = "; ".join(_node(error) for error in unsupported[:5])
        more = f" and {len(unsupported) - 5} more" if len(unsupported) > 5 else ""
        return ConvertError(
            "onnx-unsupported-operator",
            f"{trt.__name__} {trt.__version__} can't take {nodes}{more}",
            hint="export the model with operators that TensorRT knows, or use a backend that has the plugin",
        )
    why = "; ".join(f"{_node(error)}" for error in errors[:5]) or "the parser gives no reason"
    return ConvertError(
        "onnx-invalid",
        f"the model can't be parsed: {why}",
        hint="check that the file is complete and of this format; 'prepare-models inspect FILE' shows what it is",
    )


def _node(error: trt.ParserError) -> str:
    # node_name and node_operator came with TensorRT 10; 8.6 knows the number of the node only.
    operator = error.node_operator() if hasattr(error, "node_operator") else ""
    name = error.node_name() if hasattr(error, "node_name") else f"number {error.node()}"
    where = f"operator {operator} at node {name!r}: " if operator or error.node() >= 0 else ""
    description: str = error.desc()
    return where + description.strip()


def build(
    network: Network, profile: Dict[str, ProfileShapes], options: BuilderConfig, precision: str, progress: Progress
) -> Tuple[Any, Dict[str, Any]]:
    """Build the engine.

    Args:
        network: what was parsed.
        profile: min, opt and max shape of every input.
        options: builder configuration of the manifest.
        precision: fp32 or fp16; on strongly typed backends the graph already carries it.
        progress: called with phase name, step and number of steps.

    Returns:
        The plan as a bytes-like object, and the effective builder configuration.
    """
    config = network.builder.create_builder_config()
    effective = _configure(config, options, precision)
    if any(shapes["min"] != shapes["max"] for shapes in profile.values()):
        _add_profile(network, config, profile)
    monitor = _monitor(config, progress)
    plan = network.builder.build_serialized_network(network.definition, config)
    del monitor
    if plan is None:
        raise from_builder_log(network.log.errors)
    return plan, effective


def _configure(config: trt.IBuilderConfig, options: BuilderConfig, precision: str) -> Dict[str, Any]:
    if options.workspace_bytes is not None:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, options.workspace_bytes)
    if options.optimization_level is not None:
        config.builder_optimization_level = options.optimization_level
    if options.tf32 is not None:
        (config.set_flag if options.tf32 else config.clear_flag)(trt.BuilderFlag.TF32)
    if precision == "fp16" and weakly_typed():
        config.set_flag(trt.BuilderFlag.FP16)
    return {
        "workspace_bytes": _workspace(config),
        "optimization_level": config.builder_optimization_level,
        "flags": _flags(config),
    }


def _flags(config: trt.IBuilderConfig) -> List[str]:
    members: Dict[str, trt.BuilderFlag] = trt.BuilderFlag.__members__
    is_set: Callable[[trt.BuilderFlag], object] = config.get_flag
    return [name for name, flag in members.items() if is_set(flag)]


def _workspace(config: trt.IBuilderConfig) -> Optional[int]:
    limit: int = config.get_memory_pool_limit(trt.MemoryPoolType.WORKSPACE)
    return limit if 0 < limit < 2**63 else None


def _add_profile(network: Network, config: trt.IBuilderConfig, shapes: Dict[str, ProfileShapes]) -> None:
    profile = network.builder.create_optimization_profile()
    for index in range(network.definition.num_inputs):
        tensor = network.definition.get_input(index)
        one = shapes[tensor.name]
        profile.set_shape(tensor.name, trt.Dims(one["min"]), trt.Dims(one["opt"]), trt.Dims(one["max"]))
    if config.add_optimization_profile(profile) < 0:
        raise from_builder_log(network.log.errors or ["the builder refuses the optimization profile"])


def _monitor(config: trt.IBuilderConfig, progress: Progress) -> Any:
    """Report the outermost build phases, where the backend has a progress monitor (TensorRT 9 and later)."""
    if not hasattr(trt, "IProgressMonitor"):
        return None

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

    monitor = Monitor()
    config.progress_monitor = monitor
    return monitor


def _last(errors: Sequence[str], fallback: object) -> str:
    return errors[-1].strip() if errors else str(fallback)
