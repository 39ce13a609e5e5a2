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


# By who says them, a builder or a parser. The first match in a table wins; that of a parser ends with one for the rest.
TABLES: Mapping[str, Tuple[KnownMessage, ...]] = {
    who: tuple(KnownMessage(**row) for row in rows)
    for who, rows in json.loads(Path(__file__).with_name("known_messages.json").read_text(encoding="utf-8")).items()
}
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
            reason = " ".join(room.split())
            return ConvertError("out-of-memory", f"{_NO_MEMORY}. The builder: {text}; {reason}")
        error = ConvertError(known.code, f"{known.cause}. The builder: {text}", hint=known.hint)
        error.of_sizes = known.sizes
        return error
    last = "; ".join(texts[-3:])
    why = f"for a reason that is not known here. The builder: {last}" if last else "and gives no reason"
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
    found = match(_causes(of_errors))
    if found is not None:
        known, text = found
        error = ConvertError(
            known.code, f"{known.cause}. {name} ended with status {exit_code}: {text}", hint=known.hint
        )
    else:
        error = ConvertError(
            "converter-failed",
            f"{name} ended with status {exit_code}: {'; '.join(lines[-3:]) or 'it printed nothing'}",
            hint=f"run {name} by hand with the report's trtexec_command and --verbose, or use converter: api, whose "
            "errors name the node",
        )
    error.said = "\n".join(lines)
    return error
