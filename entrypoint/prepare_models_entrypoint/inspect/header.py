"""The first bytes of a plan file, which can be read without TensorRT and without a GPU.

All kinds declare their size in bytes 16 to 23. TensorRT of 8.6 and later (``ftrt``): version in bytes 24 to 27, as
trtexec's --getPlanVersionOnly reads it. Up to 8.5 (``ptrt``): the size excludes these 24 bytes, and a tag of four
bytes precedes each of the four parts of the version; observed on 8.5.2.2. TensorRT-RTX (``vtrt``): version at 24,
compute capabilities at 32, bytes of weights at 56; observed on 1.7.
"""

from __future__ import annotations

import json
import shlex
import struct
from pathlib import Path
from typing import BinaryIO, Dict, List, NamedTuple, Optional, TypedDict

from ..contract import other_formats
from ..errors import InspectError
from ..onnx_graph import whole_file

_LENGTH = 64
_OLD = b"ptrt"
MAGIC = (b"ftrt", _OLD, b"vtrt")
_OLD_TAG, _OLD_PREFIX = b"\x02\x80\x01\x00", 24
_LARGEST_PREAMBLE = 1 << 20
_LATER = 0x40  # unnamed in the API; default builds have it, documented as "and later"
_CAPABILITIES = {0x01: "7.5", 0x02: "8.0", 0x04: "8.6", 0x08: "8.9", 0x10: "12.0", 0x20: "12.1"}


class Preamble(NamedTuple):
    """JSON that an exporter such as Ultralytics' writes before the plan. ``bytes``: offset at which the plan starts."""

    bytes: int
    metadata: Dict[str, object]


class _Always(TypedDict):
    format: str
    version: str


class Header(_Always, total=False):
    """What the first bytes of a plan say; for TensorRT-RTX also its targets (``and_later``: newer GPUs, too)."""

    compute_capabilities: List[str]
    and_later: bool
    weights_bytes: int


def read_header(path: Path) -> Header:
    """Return ``format``, ``version`` and whatever else the header contains.

    Raises:
        InspectError: the file doesn't begin like a plan, or is shorter than it declares.
    """
    with open(str(path), "rb") as stream:
        head = stream.read(_LENGTH)
        size = path.stat().st_size
        if len(head) < _LENGTH or head[:4] not in MAGIC:
            before = preamble(stream)
            if before is not None:
                stream.seek(before.bytes)
                _check_length(path, stream.read(_LENGTH), size, before.bytes)
            raise _no_plan(path, head, size, before)
    _check_length(path, head, size, 0)
    version = ".".join(str(part) for part in head[24:28])
    if head[:4] == _OLD:
        return {"format": "tensorrt", "version": _old_version(head)}
    if head[:4] == b"ftrt":
        return {"format": "tensorrt", "version": version}
    (mask,) = struct.unpack_from("<I", head, 32)
    (weights,) = struct.unpack_from("<Q", head, 56)
    return {
        "format": "tensorrt_rtx",
        "version": version,
        "compute_capabilities": [name for bit, name in _CAPABILITIES.items() if mask & bit],
        "and_later": bool(mask & _LATER),
        "weights_bytes": weights,
    }


def _check_length(path: Path, head: bytes, size: int, start: int) -> None:
    """Refuse a file of ``size`` bytes if its plan, which begins at ``start`` with ``head``, declares more."""
    declared = start + _LENGTH
    if len(head) == _LENGTH:
        declared = start + int(struct.unpack_from("<Q", head, 16)[0]) + (_OLD_PREFIX if head[:4] == _OLD else 0)
    if declared > size:
        raise InspectError(
            "engine-invalid",
            f"{path.name} has {size} of the {declared} bytes that it declares: it is truncated",
            hint="copy or download it again; if that does not help, build it again",
        )


def _old_version(head: bytes) -> str:
    parts = [head[at : at + 5] for at in range(_OLD_PREFIX, _OLD_PREFIX + 20, 5)]
    return ".".join(str(part[4]) for part in parts) if all(part[:4] == _OLD_TAG for part in parts) else "unknown"


def preamble(stream: BinaryIO) -> Optional[Preamble]:
    """Return what precedes the plan in an open file (its length as four bytes, then JSON), or None if nothing does."""
    stream.seek(0)
    (length,) = struct.unpack("<I", stream.read(4).ljust(4, b"\xff"))
    if not 2 <= length <= _LARGEST_PREAMBLE:
        return None
    text = stream.read(length)
    if stream.read(4) not in MAGIC:
        return None
    try:
        metadata = json.loads(text.decode("utf-8"))
    except (ValueError, RecursionError):
        return None
    return Preamble(4 + length, metadata) if isinstance(metadata, dict) else None


def _no_plan(path: Path, head: bytes, size: int, before: Optional[Preamble]) -> InspectError:
    if before is not None:
        author = before.metadata.get("description") or before.metadata.get("author") or "an exporter"
        return InspectError(
            "engine-invalid",
            f"{path.name} starts with {before.bytes} bytes of metadata of {str(author)[:80]!r} and not with its plan, "
            "so TensorRT, Triton and Isaac ROS can't load it",
            hint=f"cut the metadata off: tail -c +{before.bytes + 1} {shlex.quote(path.name)} > model.plan",
        )
    known = other_formats.kind(path)
    if whole_file.verdict(path) == whole_file.WHOLE:
        known = ("an ONNX model", "give it the ending .onnx")
    if known is not None and head[:4] not in MAGIC:
        return InspectError("source-not-a-model", f"{path.name} is {known[0]}", hint=known[1])
    if head[:4] in MAGIC:
        return InspectError(
            "engine-invalid",
            f"{path.name} ends within the header of its plan, after {size} bytes",
            hint="copy or download it again; if that does not help, build it again",
        )
    return InspectError(
        "engine-invalid",
        f"{path.name} is not a TensorRT plan: {size} bytes, starting with {head[:4].hex() or 'nothing'}",
        hint="which file is this? Plans of TensorRT start with 'ftrt' (up to 8.5: 'ptrt'), of TensorRT-RTX with 'vtrt'",
    )
