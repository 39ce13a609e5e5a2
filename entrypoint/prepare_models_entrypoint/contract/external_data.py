"""The external data of ONNX models: which tensors are in which files, and which files those may be.

The only reader and the only policy. Only the structure of a model is read, so gigabytes of weights cost nothing.
A model that can't be read is refused: if its weights were overlooked, it would get the engine of another model.
"""

from __future__ import annotations

import math
import os
import re
import stat
from pathlib import Path, PurePosixPath
from typing import Dict, Iterator, List, Mapping, NamedTuple, Optional, Set, Tuple

from . import other_formats, skeleton
from .external_errors import ExternalDataError, UnreadableError

_DEEPEST = 100  # nested messages; protobuf's own readers have the same limit
_MOST_FIELDS = 2_000_000  # in the whole structure; reading them takes a few seconds
_SEARCHED = 64 << 10  # bytes; a message up to this size is searched for the key before it is walked
_KEY = b"location"
_EXTERNAL = 1  # data_location
_NUMBER = r"[0-9]{1,18}"

# ONNX messages that lead to tensors: each field's message by field number, and which fields are not repeated.
_MESSAGES: Mapping[str, Mapping[int, str]] = {
    "Model": {7: "Graph", 20: "Training", 25: "Function"},
    "Training": {1: "Graph", 2: "Graph"},
    "Function": {7: "Node", 11: "Attribute"},
    "Graph": {1: "Node", 5: "Tensor", 15: "Sparse"},
    "Node": {5: "Attribute"},
    "Attribute": {5: "Tensor", 6: "Graph", 10: "Tensor", 11: "Graph", 22: "Sparse", 23: "Sparse"},
    "Sparse": {1: "Tensor", 2: "Tensor"},
}
_ONCE = {"Model": {7}, "Training": {1, 2}, "Attribute": {5, 6, 22}, "Sparse": {1, 2}}
_DIMS, _TYPE, _NAME, _ENTRY, _PLACE = 1, 2, 8, 13, 14  # fields of a tensor

# Bits of an element by TensorProto.DataType; strings have no fixed size.
_BITS = {
    1: 32, 2: 8, 3: 8, 4: 16, 5: 16, 6: 32, 7: 64, 9: 8, 10: 16, 11: 64, 12: 32, 13: 64, 14: 64, 15: 128, 16: 16,
    17: 8, 18: 8, 19: 8, 20: 8, 21: 4, 22: 4, 23: 4, 24: 8, 25: 2, 26: 2,
}  # fmt: skip


class Stored(NamedTuple):
    """A tensor in another file. location: as written in the model. offset, length: in bytes; None if not given.

    needed: bytes that its shape and type take; None if unknown.
    """

    tensor: str
    location: str
    offset: int
    length: Optional[int]
    needed: Optional[int]

    @property
    def end(self) -> int:
        """Return how many bytes the file must have at least."""
        return self.offset + (self.length if self.length is not None else self.needed or 0)


def tensors(model: Path) -> Tuple[Stored, ...]:
    """Return the tensors of a model that are in other files, in the model's order. A file that is not ONNX has none.

    Raises:
        UnreadableError: it is a model, but its structure or entries can't be read.
        OSError: the file can't be read.
    """
    with skeleton.mapped(model) as view:
        if skeleton.verdict(view) != skeleton.WHOLE:
            return ()
        try:
            return tuple(_Walk(view).tensors("Model", 0, len(view), 0))
        except skeleton.MalformedError as error:
            raise UnreadableError(f"the structure of {model.name} can't be read: {error}") from None


def locations(model: Path) -> Tuple[str, ...]:
    """Return the names of a model's weights files as written in it, each once, in the model's order.

    Raises:
        UnreadableError, OSError: see ``tensors``.
    """
    return tuple(dict.fromkeys(tensor.location for tensor in tensors(model)))


def files(model: Path, named: Optional[Tuple[str, ...]] = None) -> Tuple[Path, ...]:
    """Return the weights files of a model under the names in the model; links are not followed.

    ``named``: the model's ``locations``, if already known.

    Raises:
        ExternalDataError: one is missing, not a regular file, or outside the allowed directories.
        OSError: the model can't be read.
    """
    found: Dict[Path, None] = {}
    for location in locations(model) if named is None else named:
        resolve(model, location)
        found[model.parent / PurePosixPath(location)] = None
    return tuple(found)


def check(model: Path) -> int:
    """Return the size in bytes of the weights in other files, and check that all of them are there.

    Raises:
        ExternalDataError: a file is missing, too short or outside the allowed directories, or the model can't be read.
    """
    total = 0
    sizes: Dict[str, int] = {}
    for tensor in tensors(model):
        size = sizes.get(tensor.location)
        if size is None:
            size = sizes[tensor.location] = resolve(model, tensor.location).stat().st_size
        if None not in (tensor.length, tensor.needed) and tensor.length != tensor.needed:
            text = f"{tensor.length} bytes, its shape and type take {tensor.needed}"
            raise ExternalDataError(f"the tensor {tensor.tensor!r} has {text}")
        if tensor.end > size:
            known = other_formats.kind(resolve(model, tensor.location))
            text = f", and is {known[0]}: {known[1]}" if known else ""
            why = f"has {size} bytes, the tensor {tensor.tensor!r} needs {tensor.end}{text}"
            raise _refused(tensor.location, why)
        total += tensor.end - tensor.offset
    return total


def resolve(model: Path, location: str) -> Path:
    """Return the file that ``location`` in ``model`` refers to, with every link followed.

    It is a regular file under the model's directory, or under the directory of the file that the model's own path
    resolves to: download caches store models and weights as links into a single directory.

    Raises:
        ExternalDataError: it is outside of these, missing, or not a regular file.
    """
    named = inner(location)
    try:
        file = Path(os.path.realpath(str(model.parent / named)))
        kind = os.stat(str(file)).st_mode
    except OSError as error:
        verb = "found" if isinstance(error, FileNotFoundError) else "read"
        raise _refused(location, f"can't be {verb}: {error.strerror}") from None
    homes = {Path(os.path.realpath(str(model.parent))), Path(os.path.realpath(str(model))).parent}
    if not any(home in file.parents for home in homes):
        raise _refused(location, "is a link that leads out of the model's directory")
    if not stat.S_ISREG(kind):
        raise _refused(location, "is not a regular file")
    return file


def inner(location: str) -> PurePosixPath:
    """Return a location as a path that, going by its text, stays below the model's directory.

    Raises:
        ExternalDataError: it leads out of that directory.
    """
    named = PurePosixPath(location)
    if not named.parts or "\0" in location or named.is_absolute() or ".." in named.parts:
        raise _refused(location, "is outside the model's directory")
    return named


def _refused(location: str, why: str) -> ExternalDataError:
    return ExternalDataError(f"the weights file {location!r} {why}", why=why)


def tensor_bytes(data_type: int, dims: "List[int] | Tuple[int, ...]") -> Optional[int]:
    """Return the size of a tensor's values; None for text, for unknown types and for a negative dimension.

    ``data_type``: number of TensorProto.DataType.
    """
    bits = _BITS.get(data_type)
    return None if bits is None or any(dim < 0 for dim in dims) else math.ceil(math.prod(dims) * bits / 8)


class _Walk:
    """Walks the messages of a model in file order. All of them share one budget of fields."""

    def __init__(self, view: skeleton.View) -> None:
        self._view = view
        self._left = _MOST_FIELDS

    def tensors(self, kind: str, start: int, end: int, depth: int) -> Iterator[Stored]:
        """Yield the tensors stored in other files, from a message of this kind between two offsets."""
        if depth > _DEEPEST:
            raise skeleton.MalformedError(f"its messages are nested more than {_DEEPEST} levels deep")
        if kind == "Tensor":
            yield from self._tensor(start, end)
            return
        inner = _MESSAGES[kind]
        seen: Set[int] = set()
        for field in self._fields(start, end):
            below = inner.get(field.number) if field.wire == 2 else None
            if below is None:
                continue
            if field.number in seen and field.number in _ONCE.get(kind, ()):
                raise skeleton.MalformedError(f"a field that may occur once occurs twice in a {kind}")
            seen.add(field.number)
            if field.end - field.value > _SEARCHED or self._view.find(_KEY, field.value, field.end) >= 0:
                yield from self.tensors(below, field.value, field.end, depth + 1)

    def _tensor(self, start: int, end: int) -> Iterator[Stored]:
        entries: Dict[str, str] = {}
        dims: List[int] = []
        numbers, name = {_TYPE: 0, _PLACE: 0}, b""
        for field in self._fields(start, end):
            if (field.number, field.wire) == (_ENTRY, 2):
                self._entry(field, entries)
            elif field.number == _DIMS:
                dims += self._dims(field)
            elif field.number in numbers and field.wire == 0:
                numbers[field.number] = self._number(field)
            elif (field.number, field.wire) == (_NAME, 2):
                name = self._view[field.value : field.end]
        if numbers[_PLACE] == _EXTERNAL:
            yield _stored(name.decode("utf-8", "replace"), entries, tensor_bytes(numbers[_TYPE], dims))

    def _entry(self, entry: skeleton.Field, entries: Dict[str, str]) -> None:
        parts = {1: b"", 2: b""}
        for field in self._fields(entry.value, entry.end):
            if field.number in parts and field.wire == 2:
                parts[field.number] = self._view[field.value : field.end]
        try:
            key, value = parts[1].decode("utf-8"), parts[2].decode("utf-8")
        except UnicodeDecodeError:
            raise skeleton.MalformedError("an entry of external data is not text") from None
        if key in entries:
            raise skeleton.MalformedError(f"a tensor in another file has two entries {key!r}")
        entries[key] = value

    def _dims(self, field: skeleton.Field) -> Iterator[int]:
        if field.wire == 0:
            yield self._number(field)
        at = field.value
        while field.wire == 2 and at < field.end:
            value, at = skeleton.varint(self._view, at, field.end)
            self._spend()
            yield _signed(value)

    def _number(self, field: skeleton.Field) -> int:
        return _signed(skeleton.varint(self._view, field.value, field.end)[0])

    def _fields(self, start: int, end: int) -> Iterator[skeleton.Field]:
        for field in skeleton.fields(self._view, start, end, most=_MOST_FIELDS):
            self._spend()
            yield field

    def _spend(self) -> None:
        self._left -= 1
        if self._left < 0:
            raise skeleton.MalformedError("there are too many fields")


def _signed(value: int) -> int:
    return value - (1 << 64) if value >= 1 << 63 else value


def _stored(tensor: str, entries: Mapping[str, str], needed: Optional[int]) -> Stored:
    if "location" not in entries:
        raise skeleton.MalformedError(f"the tensor {tensor!r} is in another file but names none")
    numbers: Dict[str, Optional[int]] = {}
    for key in ("offset", "length"):
        text = entries.get(key)
        if text is not None and not re.fullmatch(_NUMBER, text):
            raise skeleton.MalformedError(f"the {key} of the tensor {tensor!r} is not a number of bytes")
        numbers[key] = None if text is None else int(text)
    return Stored(tensor, entries["location"], numbers["offset"] or 0, numbers["length"], needed)
