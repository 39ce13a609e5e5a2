"""Files that are not models, recognized by their first bytes, so that the message can say what to do."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple, Optional, Tuple


class Pointer(NamedTuple):
    """What a repository has in place of a file: its beginning, what it is, and what to do."""

    beginning: bytes
    what: str
    hint: str


POINTERS = (
    Pointer(
        b"version https://git-lfs",
        "a Git LFS pointer in the model's place",
        "run git lfs pull in the clone; on GitHub https://github.com/OWNER/REPOSITORY/raw/BRANCH/PATH gives the file",
    ),
    Pointer(b"/annex/objects/", "a git-annex pointer in the model's place", "run git annex get in the clone"),
)

# Beginning, offset, what it is, what to do.
_BEGINNINGS: Tuple[Tuple[bytes, int, str, str], ...] = (
    (b"\x1f\x8b", 0, "a gzip archive", "unpack it first"),
    (b"PK\x03\x04", 0, "a zip archive (as are .npz and PyTorch's .pt)", "unpack it, or export the model to ONNX"),
    (b"BZh", 0, "a bzip2 archive", "unpack it first"),
    (b"\xfd7zXZ\x00", 0, "an xz archive", "unpack it first"),
    (b"\x28\xb5\x2f\xfd", 0, "a zstd archive", "unpack it first"),
    (b"7z\xbc\xaf\x27\x1c", 0, "a 7z archive", "unpack it first"),
    (b"ustar", 257, "a tar archive", "unpack it first"),
    (b"\x89HDF\r\n", 0, "an HDF5 file (Keras)", "export the model to ONNX"),
    (b"TFL3", 4, "a TensorFlow Lite model", "export the model to ONNX"),
    (b"ORTM", 4, "a model in ONNX Runtime's own format", "use the .onnx file that it was made from"),
    (b"\x80\x02", 0, "a Python pickle", "export the model to ONNX"),
    (b"\x80\x04", 0, "a Python pickle", "export the model to ONNX"),
    (b"\x93NUMPY", 0, "a NumPy array", "give the model, not its data"),
    (b"\x7fELF", 0, "a program or library", "give the model"),
    (b"ftrt", 0, "a TensorRT plan", "give it the ending .plan"),
    (b"ptrt", 0, "a TensorRT plan", "give it the ending .plan"),
    (b"vtrt", 0, "a TensorRT-RTX plan", "give it the ending .plan"),
)
_HEAD = 512
_ETLT = b"\0\0\0\0"  # the length of a name, which an encrypted ONNX model doesn't have
_FROM_TEXT = "write it in ONNX's binary form first: onnx.save(onnx.load(FILE, format='{0}'), 'model.onnx')"


def pointer(head: bytes) -> Optional[Pointer]:
    """Return which pointer a file with this beginning is, or None."""
    return next((known for known in POINTERS if head.startswith(known.beginning)), None)


def kind(path: Path) -> Optional[Tuple[str, str]]:
    """Return what a file is and what to do about it, or None if its first bytes are unknown."""
    with open(str(path), "rb") as stream:
        head = stream.read(_HEAD)
    known = pointer(head)
    if known is not None:
        return known.what, known.hint
    if head.startswith(_ETLT) and any(head):
        return "an encrypted TAO model (.etlt)", "rename it so that it ends in .etlt, and give its key"
    for beginning, offset, what, hint in _BEGINNINGS:
        if head[offset:].startswith(beginning):
            return what, hint
    start = head.lstrip()[:16].lower()
    if start.startswith((b"<!doctype", b"<html", b"<?xml")):
        return "a web page", "the download needs a login or another URL"
    if start.startswith((b"{", b"[")) and _is_text(head):
        return "JSON text", f"if it is a model, {_FROM_TEXT.format('json')}"
    if b"ir_version" in head and _is_text(head):
        return "a model in text form", _FROM_TEXT.format("onnxtxt" if start.startswith(b"<") else "textproto")
    if head and _is_text(head):
        return "text", "check which file this is"
    return None


def _is_text(head: bytes) -> bool:
    try:
        text = head.decode("utf-8")
    except UnicodeDecodeError as error:
        text = head[: error.start].decode("utf-8") if error.start > _HEAD - 4 else ""
    return bool(text) and all(char.isprintable() or char in "\t\r\n" for char in text)
