"""Parsing without reading the weights: the parser gets the structure, and the address of each large weight's bytes."""

from __future__ import annotations

import ctypes
import mmap
from pathlib import Path
from typing import TYPE_CHECKING, Optional

from ..contract import skeleton

if TYPE_CHECKING:
    from .backend import trt


def parse(parser: trt.OnnxParser, source: Path) -> Optional[mmap.mmap]:
    """Parse ``source``, and return what has to outlive the parser; None where it has to parse the file as a whole.

    That is the case, too, where the parser refuses something: its words should be those on the file as it is.
    So do parsers that don't take weights by their address, such as that of TensorRT 10.7.
    """
    if not (
        hasattr(parser, "load_model_proto")
        and hasattr(parser, "load_initializer")
        and hasattr(parser, "parse_model_proto")
    ):
        return None
    try:
        with open(str(source), "rb") as stream:
            # A private mapping, because only such a one tells its address. Nothing writes to it.
            view = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_COPY)
    except (OSError, ValueError):
        return None
    found = skeleton.of(view)
    if found is None or not parser.load_model_proto(found.model, str(source)):
        return None
    address = ctypes.addressof(ctypes.c_char.from_buffer(view))
    taken = all(parser.load_initializer(name, address + at, size) for name, (at, size) in found.weights.items())
    return view if taken and parser.parse_model_proto() else None
