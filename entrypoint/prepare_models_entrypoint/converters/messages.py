"""What messages of builders, parsers and converters mean: ``known_messages.json``, and what no pattern says."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import List, Mapping, NamedTuple, Optional, Sequence, Tuple

from ..contract.report import WarningInfo
from ..errors import ConvertError

_REMARKS_KEPT = 5
_BAD_BOUNDS = r"Profile k(?:MIN|MAX) values are not self-consistent"
# What a backend says about the missing GPU after any error, whatever its cause.
AFTERWARDS = r"cudaError 35|catchCudaError"
_NO_MEMORY = "there is not enough memory"
_NO_IMPLEMENTATION = r"Could not find any implementation for node"
_NO_ROOM = re.compile(r"insufficient memory|memory is insufficient")  # about tactics skipped for lack of memory


class KnownMessage(NamedTuple):
    """What a message that matches a pattern means.

    cause: in plain words; of a parser, about a node. hint: what to do; empty if the code's own hint is the best.
    code: of the error; unset for a parser. sizes: whether it is about contradictory sizes, which may
    be the model's fault. decided: whether the node may need fixed values of inputs other than the first.
    """

    pattern: str = ""
    cause: str = ""
    hint: str = ""
    code: str = ""
    sizes: bool = False
    decided: bool = False


<<<<<<< HEAD
# The first match in the table wins.
TABLE: Tuple[KnownMessage, ...] = (
    KnownMessage(
        r"within workspace limit|insufficient workspace|exceeds? (?:the )?workspace",
        "workspace-too-small",
        "no implementation of a layer fits into the workspace",
    ),
    KnownMessage(
        r"OutOfMemory|[Oo]ut of memory|std::bad_alloc|Cuda failure: 2\b|Tactic Device request.*insufficient",
        "out-of-memory",
        _NO_MEMORY,
    ),
    KnownMessage(
        r"FP32 GEMM is not supported",
        "precision-unavailable",
        "this compute capability has no fp32 matrix product in TensorRT-RTX",
        "use precision: fp16",
    ),
    KnownMessage(
        r"[Cc]alibration table does not match|[Cc]alibration failure|no calibrator|needs? to be calibrated",
        "calibration-cache-refused",
        "the calibration cache is not this model's",
        "use the calibration cache of exactly this model version",
    ),
    KnownMessage(
        r"SM \d+ (?:is )?not supported|[Uu]nsupported SM|no kernel image|Target GPU SM",
        "compute-capability-unsupported",
        "this TensorRT has no code for the GPU",
        "use a TensorRT build that has code for this GPU; 10.13.3 has none for SM 8.7, 10.16 has",
    ),
    KnownMessage(
        r"UffParser|[Uu]ff.*pars|encoding key|Failed to decrypt|Decryption failed",
        "etlt-key-wrong",
        "the model can't be decrypted",
        "check the key on the model's page; the same message comes from a damaged file",
    ),
    KnownMessage(
        r"Plugin not found|getPluginCreator could not find|no importer registered",
        "plugin-missing",
        "an operator needs a plugin",
    ),
    KnownMessage(
        r"dedicated kernel",
        "onnx-unsupported-operator",
        "TensorRT has no kernel for an Attention operator of this form, and does not take it apart",
        "export attention as MatMul and Softmax, as opset 22 and earlier have it",
    ),
    KnownMessage(
        r"has no runners that implement it",
        "onnx-unsupported-operator",
        "this backend has no implementation of the layer that the builder names",
        "export the model without it, or build with another TensorRT",
    ),
    KnownMessage(
        r"inputs with same shape|validateRecurrence",
        "onnx-unsupported-operator",
        "a value that a Loop carries from one iteration to the next changes its shape",
        "export the loop with carried values of one shape, by collecting results as its scan outputs, or unroll it",
    ),
    KnownMessage(
        r"equal ranks when|ConditionalOutput",
        "onnx-unsupported-operator",
        "the branches of an If give results of different shapes, and which one is taken is not known before it runs",
        "export the one branch that you need",
    ),
    KnownMessage(
        r"K exceeds the maximum",
        "onnx-unsupported-operator",
        "TensorRT's TopK gives at most 3840 values",
        "export the model with a smaller k",
    ),
    KnownMessage(
        r"Strided & Dilated Deconv",
        "onnx-unsupported-operator",
        "TensorRT has no ConvTranspose with both strides and dilations",
        "export it with dilations of 1, or with strides of 1",
    ),
    KnownMessage(
        r"has datatype (?:FP8|FP4|Int4|E8M0|E4M3)\w* but is not (?:produced|consumed) by",
        "onnx-unsupported-operator",
        "a tensor of an 8- or 4-bit type is used outside of quantization",
        "only tensors between QuantizeLinear and DequantizeLinear have these types: export other tensors, inputs and "
        "outputs in float32 or float16",
    ),
    KnownMessage(
        r"has datatype UInt8 but is not",
        "onnx-unsupported-operator",
        "TensorRT takes uint8 only for inputs and outputs, with a Cast next to them, outside branches and loops",
        "export the model with the Cast to float32 right after its input, or with an input of float32",
    ),
    KnownMessage(
        r"(?:`?zero_point`?|`?scale`?) which is not an initializer|zero_?[pP]oint.*(?:constant|initializer)",
        "onnx-unsupported-operator",
        "scale and zero point of a Q/DQ node must be constants of the model",
        "export the model with static quantization; where they are inputs, fix them with onnx: {constants: ...}",
    ),
    KnownMessage(
        r"Unsupported ONNX data type|UNSUPPORTED_NODE|[Uu]nsupported operator",
        "onnx-unsupported-operator",
        "TensorRT does not know an operator or a type of the model",
        "export the model with operators that TensorRT knows",
    ),
    KnownMessage(
        r"Unable to load library: libnvinfer_lean",
        "builder-option-unavailable",
        "a version-compatible engine carries TensorRT's lean runtime, which is not installed here",
        "add builder: {exclude_lean_runtime: true}; or pip install tensorrt-lean of the version of tensorrt, and then: "
        "cd $(python -c 'import tensorrt; print(*tensorrt.__path__)') && ln -s ../tensorrt_lean/libnvinfer_lean.so.8 "
        "libnvinfer_lean.so.$(python -c 'import tensorrt; print(tensorrt.__version__)')",
    ),
    KnownMessage(r"No space left on device", "disk-full", "the disk is full"),
    KnownMessage(
        r"Serialized Engine Version|magicTag|Version tag does not match",
        "engine-unusable",
        "the engine is from another TensorRT version",
        "build it again",
    ),
    KnownMessage(
        r"Input dimensions with this name have different|Dimensions with name .* must be equal",
        "inputs-mismatch",
        "the model gives several dimensions one name, so they have one size, and the manifest gives different ones",
        "give them the same min, opt and max under inputs:, or fix the sizes with onnx: {static_shapes: ...}",
    ),
    KnownMessage(
        r"violate shape constraints|values are not self-consistent|dimensions must be equal|"
        r"dimensions not compatible|dimension.* cannot be negative|analyzeShapes|performVolumeCheck",
        "inputs-mismatch",
        "the network can't be computed with these sizes of its inputs",
        _SIZES_HINT,
    ),
    KnownMessage(
        r"no optimization profile has been defined|missing dimensions in profile|missing shape values",
        "inputs-missing",
        "the manifest does not say which sizes an input has",
        "add the input's shape, or for a shape tensor its values, to the manifest under inputs:",
    ),
    KnownMessage(
        r"static dimensions that don't match",
        "inputs-mismatch",
        "the manifest gives an input another size than the model fixes",
        "give the model's own size, or change it with onnx: {static_shapes: ...}",
    ),
    KnownMessage(
        r"graphScope|ScopeType|[Cc]onditional",
        "onnx-unsupported-operator",
        "the builder can't take the model's branches (If) as they are",
        "give each input one shape under inputs: the branches that those shapes decide then disappear",
    ),
    KnownMessage(
        _NO_IMPLEMENTATION,
        "build-failed",
        "TensorRT has no implementation of a layer in this form, or none that it could try here",
        "raise builder.workspace, keep that layer in fp32 with keep_fp32:, or build with another TensorRT",
    ),
    KnownMessage(
        r"profile|[Dd]ynamic (?:shape|input)",
        "inputs-mismatch",
        "the builder refuses the sizes of an input",
        _SIZES_HINT,
    ),
    KnownMessage(
        r"[Uu]nknown option|Unrecognized option|invalid option",
        "builder-option-unavailable",
        "the converter has no such option",
        "remove this setting",
    ),
    KnownMessage(
        r"libnvinfer[^ ]*: cannot open shared object|CUDA driver|cudaError 35|no CUDA-capable device",
        "backend-unusable",
        "TensorRT finds no driver, or not all of its libraries",
        "check driver and TensorRT libraries of this environment; a container needs the NVIDIA runtime",
    ),
    KnownMessage(
        r"[Mm]yelin",
        "build-failed",
        "TensorRT's compiler can't compile a part of the network",
        "fix the sizes with onnx: {static_shapes: ...}, or build with another TensorRT: its compiler differs",
    ),
)
=======
# By who says them, a builder or a parser. The first match in a table wins; that of a parser ends with one for the rest.
TABLES: Mapping[str, Tuple[KnownMessage, ...]] = {
    who: tuple(KnownMessage(**row) for row in rows)
    for who, rows in json.loads(Path(__file__).with_name("known_messages.json").read_text(encoding="utf-8")).items()
}
>>>>>>> main
_UNKNOWN_HINT = (
    "build it with precision: fp32, then with onnx: {static_shapes: ...}: the one that builds shows whether "
    "precision or dynamic sizes are at fault; if neither helps, another TensorRT version may take the model"
)


def match(texts: Sequence[str]) -> Optional[Tuple[KnownMessage, str]]:
    """Return the first of a builder's messages that matches a text, and that text, or None."""
    for known in TABLES["builder"]:
        for text in texts:
            if re.search(known.pattern, text):
                return known, text
    return None


def of_parser(text: str) -> KnownMessage:
    """Return what a parser's objection to a node means."""
    return next(known for known in TABLES["parser"] if re.search(known.pattern, text))


# What TensorRT logs as an error although nothing is wrong: reloading its own timing cache on 8.5 and 8.6.
_NOISE = ("myelinCache.h", "The timing cache will not be used!")


def is_noise(message: str) -> bool:
    """Return whether a message is known to be harmless, so it must not hide the real one."""
    return any(part in message for part in _NOISE)


def from_builder_log(errors: Sequence[str], warnings: Sequence[str] = ()) -> ConvertError:
    """Return the error that the builder's messages mean.

    ``warnings``: its earlier warnings, which show whether a layer's implementations lacked memory.
    """
    texts = _causes([" ".join(error.split()) for error in errors])
    found = match(texts)
    if found is not None:
        known, text = found
        room = next((each for each in warnings if _NO_ROOM.search(each)), None)
        if known.pattern == _NO_IMPLEMENTATION and room is not None:
            told = " ".join(room.split())
            return ConvertError("out-of-memory", f"{_NO_MEMORY}. The builder: {text}; {told}")
        error = ConvertError(known.code, f"{known.cause}. The builder: {text}", hint=known.hint)
        error.of_sizes = known.sizes
        return error
    told = "; ".join(texts[-3:])
    why = f"for a reason that is not known here. The builder: {told}" if told else "and gives no reason"
    return ConvertError("build-failed", f"the builder gave up, {why}", hint=_UNKNOWN_HINT)


def _causes(texts: List[str]) -> List[str]:
    """Return the messages without those that follow any error, or all if there are no others."""
    return [text for text in texts if not re.search(AFTERWARDS, text)] or texts


def from_parser(remarks: Sequence[str]) -> List[WarningInfo]:
    """Return the first few of the parser's warnings about a model that it accepts, each once."""
    texts = list(dict.fromkeys(" ".join(remark.split()) for remark in remarks))
    hint = "compare the engine's results with the model's, with verify: in the manifest"
    return [WarningInfo(code="parser-warning", message=text, hint=hint) for text in texts[:_REMARKS_KEPT]]


def from_builder_warnings(remarks: Sequence[str]) -> List[WarningInfo]:
    """Return the builder's warnings about inputs that the engine will refuse."""
    texts = dict.fromkeys(" ".join(remark.split()) for remark in remarks if re.search(_BAD_BOUNDS, remark))
    hint = "choose min and max so that the network can be computed with them, as it can with opt"
    return [WarningInfo(code="profile-bounds-unusable", message=text, hint=hint) for text in texts]


def from_program(name: str, exit_code: int, output: str) -> ConvertError:
    """Return the error that a converter's exit status and output mean."""
    lines = [" ".join(line.split()) for line in output.splitlines() if line.strip()]
    of_errors = [line for line in lines if re.search(r"\[E\]|[Ee]rror|ERROR|[Ff]ail|nknown option", line)]
    error = _of_program(name, exit_code, lines, match(_causes(of_errors)))
    error.said = "\n".join(lines)
    return error


def _of_program(
    name: str, exit_code: int, lines: Sequence[str], found: Optional[Tuple[KnownMessage, str]]
) -> ConvertError:
    if found is not None:
        known, text = found
        return ConvertError(known.code, f"{known.cause}. {name} ended with status {exit_code}: {text}", hint=known.hint)
    told = "; ".join(lines[-3:]) or "it printed nothing"
    return ConvertError(
        "converter-failed", f"{name} ended with status {exit_code}: {told}",
        hint=f"run {name} by hand with the report's trtexec_command and --verbose, or use converter: api, whose errors "
        "name the node",
    )  # fmt: skip
