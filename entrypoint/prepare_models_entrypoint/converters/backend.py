"""The TensorRT module and its networks: the same code for ``tensorrt`` 8.6 to 11 and ``tensorrt_rtx``.

What differs between them is found by looking for names, never by comparing versions. This module imports the backend,
so only a child process may import it.
"""

from __future__ import annotations

import ctypes
import fnmatch
import importlib
import mmap
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Dict, Iterator, List, Mapping, Optional, Sequence

from ..contract import skeleton
from ..contract.backends import name_here
from ..contract.environment import BackendInfo
from ..contract.report import Binding, EngineDetails, KeptLayer, Layer
from ..errors import ConvertError
from .messages import is_noise
from .parser_errors import Finding, judge
from .profiles import Traits

if TYPE_CHECKING:
    import tensorrt as trt
else:
    _name = name_here()
    if _name is None:
        raise ImportError("neither tensorrt nor tensorrt_rtx is installed")
    trt = importlib.import_module(_name)

__all__ = [
    "LOG", "Log", "Network", "dims", "dtype_name", "first", "flag_names", "info", "needs_no_gpu", "trt",
    "weakly_typed",
]  # fmt: skip

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
    "E8M0": "e8m0",
}

# What a parser needs to take weights by address; that of TensorRT 10.7 lacks some of it.
_BY_ADDRESS = ("load_model_proto", "load_initializer", "parse_model_proto")
_COMPUTE = ("CONVOLUTION", "DECONVOLUTION", "MATRIX_MULTIPLY", "FULLY_CONNECTED")
_QUANTIZED = {"FP8": "fp8"}
_PRECISIONS = {"FLOAT": "fp32", "HALF": "fp16", "BF16": "bf16", "FP8": "fp8", "INT8": "int8"}


def info() -> BackendInfo:
    """Return the name and exact version of the backend."""
    return BackendInfo(name=trt.__name__, version=trt.__version__)


def weakly_typed() -> bool:
    """Return whether precision is chosen by builder flags (TensorRT 8 to 10) rather than by the types in the graph."""
    return hasattr(trt.BuilderFlag, "FP16")


def needs_no_gpu() -> bool:
    """Return whether this backend builds without running anything on a GPU, so a check may begin a build."""
    return hasattr(trt, "ComputeCapability")


def flag_names() -> List[str]:
    """Return the names of the builder flags."""
    return list(trt.BuilderFlag.__members__)


class Log(trt.ILogger):
    """The process's only logger: everything goes to standard error, and errors are kept for the report."""

    def __init__(self) -> None:
        trt.ILogger.__init__(self)
        self.errors: List[str] = []
        self.warnings: List[str] = []

    def log(self, severity: trt.ILogger.Severity, message: str) -> None:
        """Handle a message from the backend."""
        if severity in (trt.ILogger.Severity.ERROR, trt.ILogger.Severity.INTERNAL_ERROR):
            if not is_noise(message):
                self.errors.append(message)
        elif severity == trt.ILogger.Severity.WARNING:
            self.warnings.append(message)
        if severity != trt.ILogger.Severity.VERBOSE:
            sys.stderr.write(f"[{severity.name}] {message}\n")


LOG = Log()  # the backend would ignore a second one


class Network:
    """A parsed model. Keeps every object of the backend alive: a dropped network crashes the parser."""

    def __init__(self, onnx: Path, source: Path, *, strongly_typed: bool, in_place: bool) -> None:
        """Parse a model.

        ``source``: the original model, for errors. ``in_place``: whether weights may stay in the file, where they are
        not aligned, if the parser can do that.
        """
        self.log = LOG
        try:
            self.builder = trt.Builder(self.log)
        except (RuntimeError, TypeError, ValueError) as error:  # raised by pybind11 when the library has no device
            raise ConvertError(
                "backend-unusable",
                f"{trt.__name__} {trt.__version__} creates no builder: "
                + first([*self.log.errors, *self.log.warnings], error),
                hint="full TensorRT needs an NVIDIA GPU and driver; without one install tensorrt-rtx-cu13",
            ) from error
        self.weights: Optional[mmap.mmap] = None
        before = len(self.log.warnings)
        self.log.errors.clear()  # errors of an earlier network, before rewriting, don't concern this one
        self._begin(strongly_typed=strongly_typed)
        if in_place and all(hasattr(self.parser, name) for name in _BY_ADDRESS):
            self.weights = _in_place(self.parser, onnx)
            if self.weights is None:
                self._begin(strongly_typed=strongly_typed)
        if self.weights is None and not self.parser.parse_from_file(str(onnx)):
            raise judge(_findings(self.parser), f"{trt.__name__} {trt.__version__}", source)
        self.remarks = self.log.warnings[before:]
        self._remarked = len(self.log.warnings)
        self.layers: int = self.definition.num_layers

    def warnings(self) -> List[str]:
        """Return the builder's warnings since the network was parsed."""
        return self.log.warnings[self._remarked :]

    def _begin(self, *, strongly_typed: bool) -> None:
        definition = self.builder.create_network(_creation_flags(strongly_typed=strongly_typed))
        self.parser = trt.OnnxParser(definition, self.log)
        self.definition = definition  # only now: an earlier network must not be freed before its parser

    def bindings(self) -> List[Binding]:
        """Return inputs and outputs in the model's order, with -1 for dynamic dimensions."""
        definition = self.definition
        inputs = [_binding(definition.get_input(i), "input") for i in range(definition.num_inputs)]
        return inputs + [_binding(definition.get_output(i), "output") for i in range(definition.num_outputs)]

    def traits(self) -> Dict[str, Traits]:
        """Return what the parser reports about each input besides its binding."""
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
        """Return whether the model contains Q/DQ nodes."""
        return any(layer.type.name in ("QUANTIZE", "DEQUANTIZE") for layer in self)

    def precisions(self) -> Dict[str, int]:
        """Return the number of compute layers by the precision of the model's own types."""
        dequantized = {
            layer.get_output(0).name: _QUANTIZED.get(layer.get_input(0).dtype.name, "int8")
            for layer in self
            if layer.type.name == "DEQUANTIZE"
        }
        found: Dict[str, int] = {}
        for layer in self:
            if layer.type.name in _COMPUTE:
                tensor = layer.get_input(0)
                name = dequantized.get(tensor.name) or _PRECISIONS.get(tensor.dtype.name, "fp32")
                found[name] = found.get(name, 0) + 1
        return found

    def tensors(self) -> List[str]:
        """Return the names of all tensors."""
        inputs = [self.definition.get_input(index).name for index in range(self.definition.num_inputs)]
        return inputs + [layer.get_output(i).name for layer in self for i in range(layer.num_outputs)]

    def activations(self) -> List[str]:
        """Return the names of the float inputs of layers that can compute in int8."""
        constants = {layer.get_output(0).name for layer in self if layer.type.name == "CONSTANT"}
        names = [
            layer.get_input(i).name for layer in self if layer.type.name in _COMPUTE for i in range(layer.num_inputs)
        ]
        return [name for name in names if name not in constants]

    def keep_fp32(self, patterns: Sequence[str], reasons: Mapping[str, str]) -> List[KeptLayer]:
        """Make layers with matching names compute, and output their results, in fp32.

        ``reasons``: by name, if more is known than the pattern.
        """
        kept = []
        for layer in self:
            pattern = next((each for each in patterns if fnmatch.fnmatchcase(layer.name, each)), None)
            if pattern is None:
                continue
            layer.precision = trt.DataType.FLOAT
            for index in range(layer.num_outputs):
                if layer.get_output(index).dtype == trt.DataType.FLOAT:
                    layer.set_output_type(index, trt.DataType.FLOAT)
            reason = reasons.get(layer.name, f"keep_fp32: {pattern}")
            kept.append(KeptLayer(name=layer.name, op_type=layer.type.name, reason=reason))
        return kept


def _layer(layer: trt.ILayer) -> Layer:
    outputs = [layer.get_output(index) for index in range(layer.num_outputs)]
    precision = _PRECISIONS.get(outputs[0].dtype.name) or dtype_name(outputs[0].dtype) if outputs else None
    names = [tensor.name for tensor in outputs]
    return Layer(name=layer.name, type=layer.type.name, precision=precision, outputs=names)


def _creation_flags(*, strongly_typed: bool) -> int:
    # TensorRT 8 needs EXPLICIT_BATCH for ONNX; later versions have no such name, and that bit means something else.
    mask = 0
    names = ["EXPLICIT_BATCH"] + (["STRONGLY_TYPED"] if strongly_typed and weakly_typed() else [])
    for name in names:
        flag = getattr(trt.NetworkDefinitionCreationFlag, name, None)
        mask |= 0 if flag is None else 1 << int(flag)
    return mask


def _binding(tensor: trt.ITensor, mode: str) -> Binding:
    dtype = dtype_name(tensor.dtype)
    return Binding(name=tensor.name, mode=mode, dtype=dtype, shape=dims(tensor.shape), profiles=[], source="network")


def _traits(tensor: trt.ITensor) -> Traits:
    axes = range(len(tensor.shape)) if hasattr(tensor, "get_dimension_name") else ()
    return Traits(tuple(tensor.get_dimension_name(axis) or None for axis in axes), sizes=tensor.is_shape_tensor)


def dims(shape: trt.Dims) -> List[int]:
    """Return the dimensions of a shape, -1 for dynamic ones."""
    return [shape[axis] for axis in range(len(shape))]


def dtype_name(dtype: trt.DataType) -> str:
    """Return the common name of a TensorRT data type, such as float32."""
    name: str = dtype.name
    return _DTYPES.get(name, name.lower())


def _findings(parser: trt.OnnxParser) -> List[Finding]:
    # node_name and node_operator exist since TensorRT 10; 8.6 has only the number of the node.
    errors = [parser.get_error(index) for index in range(parser.num_errors)]
    return [
        Finding(
            str(error.code()),
            (error.node_operator() if hasattr(error, "node_operator") else "") or _imported(error.func()),
            error.node_name() if hasattr(error, "node_name") else f"number {error.node()}" if error.node() >= 0 else "",
            error.desc(),
            error.node(),
        )
        for error in errors
    ]


def _imported(function: str) -> str:
    """Return the operator that a function of the parser is for: the only trace of it in some errors."""
    match = re.match(r"import(?!Input$|Initializers$|Model$|Placeholder$|\w+Importer$)(\w+)$", function)
    return match[1] if match else ""


def first(messages: Sequence[str], fallback: object) -> str:
    """Return the first message: those that follow are mostly its consequences."""
    return messages[0].strip() if messages else str(fallback)


def _in_place(parser: trt.OnnxParser, source: Path) -> Optional[mmap.mmap]:
    """Parse a file, of whose large weights the parser gets only the addresses, and return what has to outlive it.

    None: the parser has to read the whole file, such as one that it refuses, as its message should be about that file.
    """
    try:
        with open(str(source), "rb") as stream:
            # A private mapping, because ctypes gets the address only of a writable one. Nothing writes to it.
            view = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_COPY)
    except (OSError, ValueError):
        return None
    found = skeleton.of(view)
    if found is None or not parser.load_model_proto(found.model, str(source)):
        return None
    address = ctypes.addressof(ctypes.c_char.from_buffer(view))
    taken = all(parser.load_initializer(name, address + at, size) for name, (at, size) in found.weights.items())
    return view if taken and parser.parse_model_proto() else None
