"""Files that a model needs beside itself, so that a container sees these and nothing else of their directory."""

from __future__ import annotations

import mmap
from pathlib import Path, PurePosixPath

# An ONNX tensor with external data has a StringStringEntryProto: field 1 "location", field 2 a path beside the model.
_LOCATION = b"\x0a\x08location\x12"


def companions(model: Path) -> tuple[Path, ...]:
    """Return the external data files of an ONNX model. Other models have none."""
    if model.suffix != ".onnx" or model.stat().st_size == 0:
        return ()
    found: dict[Path, None] = {}
    with model.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
        at = content.find(_LOCATION)
        while at >= 0:
            start = at + len(_LOCATION) + 1
            name = content[start : start + content[start - 1]]
            file = _beside(model, name)
            if file is not None:
                found[file] = None
            at = content.find(_LOCATION, start)
    return tuple(found)


def _beside(model: Path, name: bytes) -> Path | None:
    try:
        relative = PurePosixPath(name.decode("utf-8"))
    except UnicodeDecodeError:
        return None
    if relative.is_absolute() or ".." in relative.parts:
        return None  # what the parser refuses, too
    file = model.parent / relative
    return file if file.is_file() else None
