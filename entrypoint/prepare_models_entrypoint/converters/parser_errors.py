"""What a parser's findings amount to: who is at fault, the model or the backend, and at which node."""

from __future__ import annotations

import re
from pathlib import Path
from typing import List, NamedTuple, Optional, Sequence

from ..errors import ConvertError
from .messages import AFTERWARDS

_PLUGIN = re.compile(r"[Pp]lugin (?:not found|was not found|creator|version)|failed to load \w+ plugin")
_ASSERTION = re.compile(r'^(?:Assertion failed: )?(?:.*&& "(?P<quoted>[^"]+)"|[^"]*?: (?P<told>.*))$', re.DOTALL)
_TYPES_OF_TENSORRT = (
    "float32", "float64", "float16", "bfloat16", "int64", "int32", "int8", "uint8", "bool", "int4", "float8e4m3fn",
)  # fmt: skip
_SHOWN = 5
_PEDANTRY = re.compile("Field 'shape' of 'type' is required")  # of outputs, which parsers don't look at


class Finding(NamedTuple):
    """A parser error: its code's name, operator and node (empty where the version does not tell), and its words."""

    code: str
    operator: str
    node: str
    description: str

    def told(self) -> str:
        """Return the finding in words."""
        where = f"operator {self.operator or '?'} at node {self.node!r}" if self.operator or self.node else "the model"
        why = _plain(self.description)
        return f"{where}: {why}" if why else where


def judge(findings: Sequence[Finding], who: str, file: Path) -> ConvertError:
    """Turn a parser's findings into one error.

    Args:
        findings: what the parser found.
        who: name and version of the backend.
        file: the parsed model, which ONNX's own checker is asked about before it is blamed.
    """
    missing = [finding for finding in findings if _PLUGIN.search(finding.description)]
    if missing:
        return _without_plugin(missing, who)
    if any("UNSUPPORTED" in finding.code for finding in findings):
        return _unsupported([finding for finding in findings if "UNSUPPORTED" in finding.code], who, file)
    complaint = complaint_of(file)
    if complaint is not None:
        return ConvertError(
            "onnx-node-invalid",
            f"the model is not well formed: {complaint}. {who} stops at {_listed(findings)}",
            hint="export the model again; onnx.sanitize: true repairs what constant folding can",
        )
    if any(finding.code.endswith(("INVALID_NODE", "INVALID_GRAPH", "INTERNAL_ERROR")) for finding in findings):
        return _unsupported(findings, who, file)
    return ConvertError(
        "onnx-invalid",
        f"the model can't be parsed: {_listed(findings) or 'the parser gives no reason'}",
        hint="check that the file is complete and of this format; 'prepare-models inspect FILE' shows what it is",
    )


def complaint_of(file: Path) -> Optional[str]:
    """Return what ONNX's checker objects to in a model, or None: the model follows the rules, or onnx is not here."""
    try:
        from ..onnx_graph import faults, model_file
    except ImportError:
        return None
    told = faults.of(model_file.load(file))
    return None if told is None or _PEDANTRY.match(told) else told.splitlines()[0][:300].rstrip(".")


def _without_plugin(missing: Sequence[Finding], who: str) -> ConvertError:
    own = [finding for finding in missing if not _is_standard(finding.operator)]
    if not own:
        told = ", ".join(_where(finding) for finding in missing[:_SHOWN])
        return ConvertError(
            "onnx-unsupported-operator", f"{who} does not have the operator {told}",
            hint="export the model without it, end the network before it with onnx: {outputs: [TENSOR]}, or give a "
            "library that has it under plugins:",
        )  # fmt: skip
    told = ", ".join(_where(finding) for finding in own[:_SHOWN])
    return ConvertError(
        "plugin-missing", f"{who} has no plugin for {told}",
        hint="give the library that has it under plugins:, or export the model without this operator",
    )  # fmt: skip


def _unsupported(findings: Sequence[Finding], who: str, file: Path) -> ConvertError:
    inputs = [] if any(finding.operator for finding in findings) else _odd_inputs(file)
    told = f"the type of {', '.join(inputs)}" if inputs else _listed(findings)
    return ConvertError(
        "onnx-unsupported-operator",
        f"{who} can't take {told}",
        hint="export the model in another form there; where the reason is an input that decides sizes or axes, fix it "
        "with onnx: {constants: {INPUT: VALUE}}, and shapes with onnx: {static_shapes: ...}",
    )


def _odd_inputs(file: Path) -> List[str]:
    """Return the inputs and outputs of types that TensorRT lacks."""
    try:
        from ..inspect.onnx_model import bindings
        from ..onnx_graph import model_file
    except ImportError:
        return []
    io = bindings(model_file.load(file))
    return [
        f"{each['mode']} {each['name']!r} ({each['dtype']})" for each in io if each["dtype"] not in _TYPES_OF_TENSORRT
    ]


def _is_standard(operator: str) -> bool:
    try:
        from onnx import defs
    except ImportError:
        return False
    return bool(operator) and defs.has(operator)


def _where(finding: Finding) -> str:
    return f"{finding.operator} at node {finding.node!r}" if finding.operator else finding.told()


def _plain(description: str) -> str:
    """Return a finding's words without the condition in the parser's source that they come from."""
    lines = [line for line in description.splitlines() if not AFTERWARDS.search(line)]
    text = " ".join(" ".join(lines).split())
    match = _ASSERTION.match(text) if text.startswith("Assertion failed") or '&& "' in text else None
    if text == "false":
        return "it is not supported"
    return (match["quoted"] or match["told"] or text) if match else text


def _listed(findings: Sequence[Finding]) -> str:
    more = f" and {len(findings) - _SHOWN} more" if len(findings) > _SHOWN else ""
    return "; ".join(finding.told() for finding in findings[:_SHOWN]) + more
