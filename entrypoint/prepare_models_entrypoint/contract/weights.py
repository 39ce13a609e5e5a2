"""Files that a model needs beside itself: the external data of an ONNX model, found without reading the model."""

from __future__ import annotations

import hashlib
from pathlib import Path, PurePosixPath
from typing import Callable, Dict, Optional, Tuple

from . import skeleton
from .files import sha256_file

# An ONNX tensor with external data has a StringStringEntryProto: field 1 "location", field 2 a path beside the model.
_LOCATION = b"\x0a\x08location\x12"


def companions(model: Path) -> Tuple[Path, ...]:
    """Return the external data files of an ONNX model. Other models have none."""
    if model.suffix != ".onnx":
        return ()
    found: Dict[Path, None] = {}
    with skeleton.mapped(model) as view:
        structure = skeleton.of(view)
        content = view if structure is None else structure.model
        at = content.find(_LOCATION)
        while at >= 0:
            start = at + len(_LOCATION) + 1
            name = content[start : start + content[start - 1]]
            file = _beside(model, name)
            if file is not None:
                found[file] = None
            at = content.find(_LOCATION, start)
    return tuple(found)


def weights_sha256(model: Path, sha256: Callable[[Path], str] = sha256_file) -> Optional[str]:
    """Return the digest of a model's external data, in the order in which it is named; None without any."""
    digests = [sha256(file) for file in companions(model)]
    return hashlib.sha256("".join(digests).encode("ascii")).hexdigest() if digests else None


def _beside(model: Path, name: bytes) -> Optional[Path]:
    try:
        relative = PurePosixPath(name.decode("utf-8"))
    except UnicodeDecodeError:
        return None
    if relative.is_absolute() or ".." in relative.parts:
        return None  # what the parser refuses, too
    file = model.parent / relative
    return file if file.is_file() else None
