"""The quantization that a model brings along, judged before its parser takes it for something else."""

from __future__ import annotations

import mmap
from pathlib import Path


def check(source: Path) -> None:
    """Refuse a model with Q/DQ nodes that TensorRT would compute otherwise than they mean, where onnx is there to tell.

    Raises:
        ConvertError: ``quantization-asymmetric``.
    """
    if not mentions(source, b"QuantizeLinear"):
        return
    try:
        from ..onnx_graph import model_file, prepare, symmetric
    except ImportError:
        return  # images with the full TensorRT lack it; the parser itself refuses zero points
    symmetric.check(prepare.prepare(model_file.load(source)))


def mentions(source: Path, word: bytes) -> bool:
    """Return whether a file has a word."""
    with open(str(source), "rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as view:
        return view.find(word) >= 0
