"""Parsing without reading the weights: the parser gets the structure, and the address of each large weight."""

from __future__ import annotations

import ctypes
import mmap
from pathlib import Path
from typing import TYPE_CHECKING, Optional

from ..contract import skeleton

if TYPE_CHECKING:
    from .backend import trt


def parse(parser: trt.OnnxParser, source: Path) -> Optional[mmap.mmap]:
    """Parse ``source``, and return what has to outlive the parser; None if the parser has to read the whole file.

    That includes files that the parser refuses, as its message should be about the original file, and parsers that
    don't accept weights by address, such as that of TensorRT 10.7.
    """
    if not (
        hasattr(parser, "load_model_proto")
        and hasattr(parser, "load_initializer")
        and hasattr(parser, "parse_model_proto")
    ):
        return None
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
