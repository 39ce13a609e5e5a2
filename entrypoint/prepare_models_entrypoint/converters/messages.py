"""Known messages of parsers, builders and converters, each with the error that it means."""

from __future__ import annotations

import re
from typing import List, NamedTuple, Optional, Sequence, Tuple

from ..contract.report import WarningInfo
from ..errors import ConvertError

_REMARKS_KEPT = 5
_MEMORY_HINT = "lower builder.workspace, close other programs, or build on a machine with more memory"
_PLUGIN_HINT = "give the library that has it under plugins:, or export the model without this operator"

# Pattern, code, hint. The first match in the table wins.
TABLE: Tuple[Tuple[str, str, str], ...] = (
    (
        r"within workspace limit|insufficient workspace|exceeds? (?:the )?workspace",
        "workspace-too-small",
        "raise builder.workspace: no implementation of a layer fits into it",
    ),
    (
        r"OutOfMemory|[Oo]ut of memory|std::bad_alloc|Cuda failure: 2\b|Tactic Device request.*insufficient",
        "out-of-memory",
        _MEMORY_HINT,
    ),
    (
        r"FP32 GEMM is not supported",
        "precision-unavailable",
        "this compute capability has no fp32 matrix product in TensorRT-RTX; use precision: fp16",
    ),
    (
        r"[Cc]alibration table does not match|[Cc]alibration failure|no calibrator|needs? to be calibrated",
        "calibration-cache-refused",
        "use the calibration cache of exactly this model version",
    ),
    (
        r"SM \d+ (?:is )?not supported|[Uu]nsupported SM|no kernel image|Target GPU SM",
        "compute-capability-unsupported",
        "use a TensorRT build that has code for this GPU; 10.13.3 has none for SM 8.7, 10.16 has",
    ),
    (
        r"UffParser|[Uu]ff.*pars|encoding key|Failed to decrypt|Decryption failed",
        "etlt-key-wrong",
        "check the key on the model's page; the same message comes from a damaged file",
    ),
    (r"Plugin not found|getPluginCreator could not find|no importer registered", "plugin-missing", _PLUGIN_HINT),
    (
        r"Unsupported ONNX data type|UNSUPPORTED_NODE|[Uu]nsupported operator",
        "onnx-unsupported-operator",
        "export the model with operators that TensorRT knows",
    ),
    (r"No space left on device", "disk-full", "free disk space, then run again"),
    (
        r"libnvinfer[^ ]*: cannot open shared object|CUDA driver|cudaError 35|no CUDA-capable device",
        "backend-unusable",
        "check driver and TensorRT libraries of this environment; a container needs the NVIDIA runtime",
    ),
    (
        r"Serialized Engine Version|magicTag|Version tag does not match",
        "engine-unusable",
        "the engine is of another TensorRT version: build it anew",
    ),
    (r"Could not find any implementation for node", "out-of-memory", _MEMORY_HINT),
    (r"profile|[Dd]ynamic (?:shape|input)", "inputs-mismatch", "check min, opt and max of the dynamic inputs"),
    (r"[Uu]nknown option|Unrecognized option|invalid option", "builder-option-unavailable", "remove this setting"),
)


def match(texts: Sequence[str]) -> Optional[Tuple[str, str, str]]:
    """Return code, message and hint of the first entry of the table that fits, or None."""
    for pattern, code, hint in TABLE:
        for text in texts:
            if re.search(pattern, text):
                return code, text, hint
    return None


# What TensorRT logs as an error although all is well: reloading its own timing cache on 8.5 and 8.6.
_NOISE = ("myelinCache.h", "The timing cache will not be used!")


def is_noise(message: str) -> bool:
    """Tell whether a message is known to be harmless, so that it never hides the real one."""
    return any(part in message for part in _NOISE)


def from_builder_log(errors: Sequence[str]) -> ConvertError:
    """Return the error that the builder's messages amount to."""
    texts: List[str] = [" ".join(error.split()) for error in errors]
    found = match(texts)
    if found is not None:
        return ConvertError(found[0], f"the builder gave up: {found[1]}", hint=found[2])
    told = "; ".join(texts[-3:]) or "it gives no reason"
    return ConvertError(
        "build-failed", f"the builder gave up: {told}", hint="the build log has the builder's whole output"
    )


def from_parser(remarks: Sequence[str]) -> List[WarningInfo]:
    """Return the parser's warnings about a model that it takes, each once and the first few of them."""
    texts = list(dict.fromkeys(" ".join(remark.split()) for remark in remarks))
    hint = "compare the engine's results with the model's, with verify: in the manifest"
    return [WarningInfo(code="parser-warning", message=text, hint=hint) for text in texts[:_REMARKS_KEPT]]


def from_program(name: str, exit_code: int, output: str) -> ConvertError:
    """Return the error that a converter's exit status and output amount to."""
    lines = [" ".join(line.split()) for line in output.splitlines() if line.strip()]
    found = match([line for line in lines if re.search(r"\[E\]|[Ee]rror|ERROR|[Ff]ail|nknown option", line)])
    if found is not None:
        return ConvertError(found[0], f"{name} ended with status {exit_code}: {found[1]}", hint=found[2])
    told = "; ".join(lines[-3:]) or "it printed nothing"
    return ConvertError(
        "converter-failed", f"{name} ended with status {exit_code}: {told}", hint="the build log has its whole output"
    )


# The parser reports some malformed nodes as internal errors; the words are what tells them.
_BROKEN = "INVALID_NODE|INVALID_GRAPH|Attribute not found|[Ii]nputs?.*(?:missing|required|expected)"


class Finding(NamedTuple):
    """A parser error: its code's name, the message with node and operator, and the bare description."""

    code: str
    text: str
    description: str


def judge(findings: Sequence[Finding], who: str) -> ConvertError:
    """Turn a parser's findings into one error.

    Args:
        findings: what the parser found.
        who: name and version of the backend.
    """
    missing = [finding for finding in findings if "Plugin not found" in finding.description]
    if missing:
        return ConvertError("plugin-missing", f"{who} has no plugin for {_listed(missing)}", hint=_PLUGIN_HINT)
    unsupported = [finding for finding in findings if "UNSUPPORTED" in finding.code]
    if unsupported:
        return ConvertError(
            "onnx-unsupported-operator",
            f"{who} can't take {_listed(unsupported)}",
            hint="export the model with operators that TensorRT knows, or use a backend that has the plugin",
        )
    broken = [finding for finding in findings if re.search(_BROKEN, f"{finding.code} {finding.description}")]
    if broken:
        return ConvertError(
            "onnx-node-invalid",
            f"the model is not well formed: {_listed(broken)}",
            hint="export the model again; onnx.sanitize: true repairs what constant folding can",
        )
    return ConvertError(
        "onnx-invalid",
        f"the model can't be parsed: {_listed(findings) or 'the parser gives no reason'}",
        hint="check that the file is complete and of this format; 'prepare-models inspect FILE' shows what it is",
    )


def _listed(findings: Sequence[Finding]) -> str:
    more = f" and {len(findings) - 5} more" if len(findings) > 5 else ""
    return "; ".join(finding.text for finding in findings[:5]) + more
