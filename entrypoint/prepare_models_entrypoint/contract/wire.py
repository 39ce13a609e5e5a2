"""Protobuf's wire format as far as needed to walk a file and leave out large fields. No library, no copies."""

from __future__ import annotations

import mmap
from typing import Iterator, NamedTuple, Tuple, Union

View = Union[bytes, mmap.mmap]

_FIXED = {1: 8, 5: 4}
_LONGEST_VARINT = 10
_MOST_FIELDS = 200_000  # per message, far beyond any model: a file with more is not a model, and takes minutes to walk


class MalformedError(ValueError):
    """The bytes are not a protobuf message, or end within one."""


class Field(NamedTuple):
    """One field of a message: number, wire type, where it starts, and where its value starts and ends."""

    number: int
    wire: int
    start: int
    value: int
    end: int


def varint(view: View, at: int, end: int) -> Tuple[int, int]:
    """Return the number that starts at ``at``, and where it ends; both places are offsets in bytes.

    Raises:
        MalformedError: it does not end before ``end``.
    """
    value = 0
    for index in range(_LONGEST_VARINT):
        if at + index >= end:
            break
        byte = view[at + index]
        value |= (byte & 0x7F) << (7 * index)
        if not byte & 0x80:
            return value, at + index + 1
    raise MalformedError("a number has no end")


def fields(view: View, start: int, end: int, *, most: int = _MOST_FIELDS) -> Iterator[Field]:
    """Yield the fields of the message between ``start`` and ``end``, which may have at most ``most`` of them.

    Raises:
        MalformedError: the bytes are not a message, or it has more fields.
    """
    at = start
    for _ in range(most):
        if at >= end:
            return
        tag, value = varint(view, at, end)
        wire = tag & 7
        if tag >> 3 == 0:
            raise MalformedError("a field has the number 0")
        if wire == 0:
            _, stop = varint(view, value, end)
        elif wire == 2:
            size, value = varint(view, value, end)
            stop = value + size
        elif wire in _FIXED:
            stop = value + _FIXED[wire]
        else:
            raise MalformedError(f"wire type {wire}")
        if stop > end:
            raise MalformedError("a field ends outside of its message")
        yield Field(tag >> 3, wire, at, value, stop)
        at = stop
    if at < end:
        raise MalformedError("there are too many fields")


def message(number: int, body: bytes) -> bytes:
    """Return ``body`` encoded as field ``number`` of a message."""
    return prefix(number, len(body)) + body


def prefix(number: int, length: int) -> bytes:
    """Return the bytes that precede a body of ``length`` bytes encoded as field ``number`` of a message."""
    return _number(number << 3 | 2) + _number(length)


def _number(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
