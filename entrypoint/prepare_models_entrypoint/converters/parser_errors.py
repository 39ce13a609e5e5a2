"""What a parser's findings mean: whether the model or the backend is at fault, and at which node."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, List, NamedTuple, Optional, Sequence

from ..errors import ConvertError
from .messages import AFTERWARDS, of_parser

if TYPE_CHECKING:
    from ..onnx_graph.surroundings import Surroundings

_PLUGIN = r"[Pp]lugin (?:not found|was not found|creator|version)|failed to load \w+ plugin"
_ASSERTION = r'(?s)^(?:Assertion failed: )?(?:.*&& "(?P<quoted>[^"]+)"|[^"]*?: (?P<said>.*))$'
_TYPES_OF_TENSORRT = (
    "float32", "float64", "float16", "bfloat16", "int64", "int32", "int8", "uint8", "bool", "int4", "float8e4m3fn",
)  # fmt: skip
# The builder's message within the parser's: an error's number and kind, and in brackets what it says and where.
_API = r"Error Code \d+: [A-Z][A-Za-z ]+ \((?P<said>.*?)\.? +In \w[\w:()]* at /"
_SHOWN = 5


class Finding(NamedTuple):
    """A parser error: its code's name, operator and node (empty if the version lacks them), and its message.

    number: the node's index in its graph, -1 if unknown.
    """

    code: str
    operator: str
    node: str
    description: str
    number: int = -1

    def text(self) -> str:
        """Return the finding in words."""
        where = f"operator {self.operator or '?'}" if self.operator or self.node else "the model"
        where += f" at node {self.node!r}" if self.node else ""
        cause, why = of_parser(self.description).cause, _plain(self.description)
        return f"{where}: {cause} (the parser: {why})" if why else f"{where}: {cause}"


def judge(findings: Sequence[Finding], who: str, file: Path) -> ConvertError:
    """Turn a parser's findings into one error, which has the refused nodes.

    ``who``: name and version of the backend. ``file``: the original model, whatever was parsed: it is blamed only if it
    breaks ONNX's own rules.
    """
    findings = _named(findings, file)
    error = _judged(findings, who, file)
    error.nodes = tuple(dict.fromkeys(finding.node for finding in findings if finding.node))
    return error


def _named(findings: Sequence[Finding], file: Path) -> Sequence[Finding]:
    """Return the findings with names for unnamed nodes, as rewriting gives them."""
    found = None if all(finding.node or not finding.operator for finding in findings) else _around(file)
    if found is None:
        return findings
    return [
        finding if finding.node else finding._replace(node=found.unnamed(finding.operator, finding.number))
        for finding in findings
    ]


def _judged(findings: Sequence[Finding], who: str, file: Path) -> ConvertError:
    missing = [finding for finding in findings if re.search(_PLUGIN, finding.description)]
    if missing:
        return _without_plugin(missing, who, advice(file, [finding.node for finding in findings]))
    complaint = complaint_of(file) or _objection(findings, file)
    if complaint is not None:
        named = list(dict.fromkeys(_where(finding) for finding in findings if finding.node or finding.operator))
        return ConvertError(
            "onnx-node-invalid",
            f"the model is not well formed: {complaint}. {who} stops at {', '.join(named[:_SHOWN]) or 'it'}",
            hint="export the model again, and check it with onnx.checker.check_model(PATH, full_check=True)",
        )
    if any(finding.node or "UNSUPPORTED" in finding.code or "INVALID" in finding.code for finding in findings):
        return _unsupported(findings, who, file)
    return ConvertError(
        "onnx-invalid", f"the model can't be parsed: {_listed(findings) or 'the parser gives no reason'}"
    )


def complaint_of(file: Path) -> Optional[str]:
    """Return what ONNX's checker objects to in a model, or None if it follows the rules or onnx is not installed."""
    try:
        from ..onnx_graph import faults, model_file
    except ImportError:
        return None
    fault = faults.of(model_file.load(file))
    return None if fault is None else " ".join(fault.split())[:300].rstrip(".")


def advice(file: Path, nodes: Sequence[str], *, decided: bool = False) -> str:
    """Return, as the rest of a hint, the settings that may get a model past these nodes; empty if there are none.

    ``decided``: whether the nodes may need fixed values of inputs.
    """
    found = _around(file)
    if found is None:
        return ""
    refused = found.named(nodes)
    deciding = list(dict.fromkeys(name for node in refused if decided for name in found.deciding(node)))
    before = found.before(refused)
    more = ""
    if deciding:
        fixed = ", ".join(f"{json.dumps(name)}: VALUE" for name in deciding)
        more += f"; or fix what decides it with onnx: {{constants: {{{fixed}}}}}"
    if before:
        more += f"; or end the network before it with onnx: {{outputs: {json.dumps(before)}}}, and compute the rest "
        more += "in the application"
    return more


def _around(file: Path) -> "Optional[Surroundings]":
    try:
        from ..onnx_graph import model_file
        from ..onnx_graph.surroundings import Surroundings
    except ImportError:
        return None
    return Surroundings(model_file.load(file))


def _objection(findings: Sequence[Finding], file: Path) -> Optional[str]:
    """Return what ONNX's rules say against the nodes that the parser refuses, or None."""
    found = _around(file)
    if found is None:
        return None
    objections = (found.objection(node) for node in found.named([finding.node for finding in findings]))
    return next((each for each in objections if each is not None), None)


def _without_plugin(missing: Sequence[Finding], who: str, more: str) -> ConvertError:
    own = [finding for finding in missing if not _is_standard(finding.operator)]
    if not own:
        text = ", ".join(_where(finding) for finding in missing[:_SHOWN])
        return ConvertError(
            "onnx-unsupported-operator", f"{who} does not have the operator {text}",
            hint=f"export the model without it, or give a library that has it under plugins:{more}",
        )  # fmt: skip
    text = ", ".join(_where(finding) for finding in own[:_SHOWN])
    return ConvertError(
        "plugin-missing", f"{who} has no plugin for {text}",
        hint=f"give the library that has it under plugins:, or export the model without this operator{more}",
    )  # fmt: skip


def _unsupported(findings: Sequence[Finding], who: str, file: Path) -> ConvertError:
    inputs = [] if any(finding.operator for finding in findings) else _odd_inputs(file)
    known = of_parser(_plain(findings[0].description) or findings[0].description)
    text = f"the type of {', '.join(inputs)}" if inputs else _listed(findings)
    error = ConvertError(
        "onnx-unsupported-operator",
        f"{who} can't take {text}",
        hint=known.hint + advice(file, [finding.node for finding in findings], decided=known.decided),
    )
    error.of_sizes = known.sizes
    return error


def _odd_inputs(file: Path) -> List[str]:
    """Return the inputs and outputs with types that TensorRT lacks."""
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
    return f"{finding.operator} at node {finding.node!r}" if finding.operator and finding.node else finding.text()


def _plain(description: str) -> str:
    """Return a finding's message without the condition in the parser's source that it starts with."""
    lines = [line for line in description.splitlines() if not re.search(AFTERWARDS, line)]
    text = " ".join(" ".join(lines).split())
    inner = re.search(_API, text)
    if inner:
        return inner["said"]
    match = re.match(_ASSERTION, text) if text.startswith("Assertion failed") or '&& "' in text else None
    text = (match["quoted"] or match["said"] or text) if match else text
    return "" if text == "false" or text.startswith("Invalid Node") else text


def _listed(findings: Sequence[Finding]) -> str:
    more = f" and {len(findings) - _SHOWN} more" if len(findings) > _SHOWN else ""
    return "; ".join(finding.text() for finding in findings[:_SHOWN]) + more
