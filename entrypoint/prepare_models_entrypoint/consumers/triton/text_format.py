"""Protobuf's text format, parsed as strictly as its C++ library does for Triton, by a table of messages and fields.

Python's own parser takes more (``+4``, ``1_000``, unknown escapes, any Unicode blank) and less (``- 4``, ``01``).

A message is a dictionary of lists: text, numbers, names of enum values (the number if the table has no name), and
messages. A map is a list of messages with ``key`` and ``value``.
"""

from __future__ import annotations

import json
import math
import re
import sys
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Mapping, Tuple, Union

from ...contract.values import Value

Message = Dict[str, List[Any]]
Scalar = Union[str, int, float, bool]

_QUOTES = ('"', "'")
_BLANK = re.compile(r"(?:[ \t\r\v\f]|#.*$)+")
_TOKEN = re.compile(
    r"[a-zA-Z_][0-9a-zA-Z_]*"
    r"|\.?[0-9](?:[0-9a-zA-Z_.]|(?<=[eE])[+-])*"
    r"|\"[^\"\\\0]*(?:\\.[^\"\\\0]*)*(?:\"|\\?$)"
    r"|'[^'\\\0]*(?:\\.[^'\\\0]*)*(?:'|\\?$)"
)
_NAME = re.compile(r"[a-zA-Z_]")
_INTEGER = re.compile(r"0[xX](?P<hex>[0-9a-fA-F]+)|0(?P<octal>[0-7]*)|(?P<decimal>[1-9][0-9]*)")
_FLOAT = re.compile(r"((?:(?:0|[1-9][0-9]*)(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)[fF]?")
_NAMED = {"inf": math.inf, "infinity": math.inf, "nan": math.nan}
_ESCAPE = re.compile(r"\\(?:([0-7]{1,3})|x([0-9a-fA-F]{1,2})|u([0-9a-fA-F]{4})|U(00[01][0-9a-fA-F]{5})|(.)|$)")
_ESCAPED = {"a": 7, "b": 8, "f": 12, "n": 10, "r": 13, "t": 9, "v": 11, "\\": 92, "?": 63, "'": 39, '"': 34}
_BOOLS = {"true": True, "t": True, "True": True, "false": False, "f": False, "False": False}
_RANGES = {
    "int32": (-(1 << 31), (1 << 31) - 1),
    "int64": (-(1 << 63), (1 << 63) - 1),
    "uint32": (0, (1 << 32) - 1),
    "uint64": (0, (1 << 64) - 1),
}


class TextFormatError(ValueError):
    """The text is not a message of this schema; the message gives the line and column, from 1."""


class Field(Value):
    """One field. kind: protobuf's name of its type; of: the message or enum; oneof: its group, if any."""

    name: str
    kind: str
    of: str = ""
    repeated: bool = False
    oneof: str = ""


class Schema(Value):
    """Messages with their fields by name, enums with their numbers by name, and the name of the top-level message."""

    root: str
    messages: Mapping[str, Mapping[str, Field]]
    enums: Mapping[str, Mapping[str, int]]

    @classmethod
    def read(cls, file: Path) -> Schema:
        """Read the table written by .ci/triton_fields.py."""
        raw = json.loads(file.read_text(encoding="utf-8"))
        messages = {
            name: {key: Field(name=key, **entry) for key, entry in fields.items()}
            for name, fields in raw["messages"].items()
        }
        return cls(root=raw["root"], messages=messages, enums=raw["enums"])


def parse(text: str, schema: Schema) -> Message:
    """Return the message.

    Raises:
        TextFormatError: protobuf would refuse the text.
    """
    reader = _Reader(text, schema)
    message: Message = {}
    while reader.token:
        reader.field(message, schema.root)
    return message


def first(message: Mapping[str, Any], key: str, default: Any) -> Any:
    """Return the first value of a field, or ``default``."""
    values = message.get(key) or [default]
    return values[0]


def messages(message: Mapping[str, Any], *keys: str) -> List[Message]:
    """Return the messages of a field, of a field in those, and so on."""
    found: List[Any] = [message]
    for key in keys:
        found = [inner for each in found for inner in each.get(key, ())]
    return found


def mapping(message: Mapping[str, Any], key: str) -> Dict[Any, Any]:
    """Return a map; if a key appears twice, the last value counts, as in protobuf."""
    return {first(entry, "key", ""): first(entry, "value", "") for entry in message.get(key, ())}


def quoted(text: str) -> str:
    """Return a string literal of the text format: bytes beyond plain ASCII are in octal, which every parser reads."""
    parts = [
        f"\\{byte:03o}" if not 0x20 <= byte < 0x7F or byte in b'"\\' else chr(byte)
        for byte in text.encode("utf-8", "surrogateescape")
    ]
    return '"' + "".join(parts) + '"'


def _tokens(text: str) -> Iterator[Tuple[str, int, int]]:
    """Yield tokens with line and column; a character that begins no token is one of its own, which nothing accepts."""
    for number, line in enumerate(text.split("\n"), 1):
        column = 0
        while True:
            blank = _BLANK.match(line, column)
            column = blank.end() if blank else column
            if column >= len(line):
                break
            match = _TOKEN.match(line, column)
            token = match.group() if match else line[column]
            yield token, number, column + 1
            column += len(token)


class _Reader:
    """Reads fields of messages; ``token`` is the next one, empty at the end."""

    def __init__(self, text: str, schema: Schema) -> None:
        self.schema = schema
        self.tokens = _tokens(text)
        self.token, self.line, self.column = next(self.tokens, ("", 1, 1))

    def error(self, what: str) -> TextFormatError:
        found = f"found {self.token!r}" if self.token else "the text ends"
        return TextFormatError(f"line {self.line}, column {self.column}: {what}, {found}")

    def take(self) -> str:
        token = self.token
        self.token, self.line, self.column = next(self.tokens, ("", self.line, self.column + len(token)))
        return token

    def took(self, token: str) -> bool:
        if self.token != token:
            return False
        self.take()
        return True

    def expect(self, token: str) -> None:
        if not self.took(token):
            raise self.error(f"expected {token!r}")

    def field(self, message: Message, kind: str) -> None:
        """Read one field, with all its values if they are in a list."""
        found = self.schema.messages[kind].get(self.token) if _NAME.match(self.token) else None
        if found is None:
            raise self.error(f"expected a field of {_short(kind)}")
        self.only_of_oneof(message, kind, found)
        self.take()
        if found.kind != "message":
            self.expect(":")
        else:
            self.took(":")
        if found.repeated and self.took("["):
            self.values(message, found)
        else:
            self.add(message, found)
        self.took(",") or self.took(";")

    def only_of_oneof(self, message: Message, kind: str, field: Field) -> None:
        siblings = self.schema.messages[kind].values()
        others = [other.name for other in siblings if other.oneof == field.oneof and other.name in message]
        if field.oneof and others and others != [field.name]:
            raise self.error(f"{_short(kind)} already has {others[0]}, and takes only one of {field.oneof}")

    def values(self, message: Message, field: Field) -> None:
        message.setdefault(field.name, [])
        if self.took("]"):
            return
        while True:
            self.add(message, field)
            if self.took("]"):
                return
            self.expect(",")

    def add(self, message: Message, field: Field) -> None:
        """Read one value. For a field without presence, a second value is accepted if the first is the default."""
        values = message.get(field.name, [])
        if values and not field.repeated:
            if field.kind == "message" or field.oneof or not self.is_default(field, values[0]):
                raise self.error(f"{field.name} is already set")
            values = []
        values.append(self.message(field.of) if field.kind == "message" else self.scalar(field))
        message[field.name] = values

    def is_default(self, field: Field, value: Scalar) -> bool:
        if field.kind == "enum":
            return self.schema.enums[field.of].get(str(value)) == 0
        return not value and not (isinstance(value, float) and math.copysign(1.0, value) < 0)

    def message(self, kind: str) -> Message:
        closing = ">" if self.took("<") else "}"
        if closing == "}":
            self.expect("{")
        message: Message = {}
        while not self.took(closing):
            if not self.token:
                raise self.error(f"expected {closing!r}")
            self.field(message, kind)
        return message

    def scalar(self, field: Field) -> Scalar:
        if field.kind == "string":
            return self.string()
        sign = "-" if self.took("-") else ""
        try:
            number = _enum(self.schema.enums[field.of]) if field.of else _VALUES[field.kind]
            value = number(sign, self.token)
        except ValueError as error:
            raise self.error(f"{field.name} takes {field.of or field.kind}") from error
        self.take()
        return value

    def string(self) -> str:
        if self.token[:1] not in _QUOTES:
            raise self.error("expected a string")
        parts = b""
        while self.token[:1] in _QUOTES and self.token:
            parts += self.one_string()
        return parts.decode("utf-8", "surrogateescape")

    def one_string(self) -> bytes:
        if len(self.token) < 2 or self.token[-1] != self.token[0]:
            raise self.error("a string does not end on its line")
        try:
            value = _unescaped(self.token[1:-1])
        except ValueError as error:
            raise self.error("a string has an escape that does not exist") from error
        self.take()
        return value


def _short(kind: str) -> str:
    return kind.partition(".")[2] or kind


def _unescaped(text: str) -> bytes:
    def one(match: "re.Match[str]") -> bytes:
        octal, short, code, long, other = match.groups()
        if code or long:
            return chr(min(int(code or long, 16), sys.maxunicode)).encode("utf-8", "surrogatepass")
        if octal or short:
            return bytes([(int(octal, 8) if octal else int(short, 16)) & 255])
        if other not in _ESCAPED:
            raise ValueError(text)
        return bytes([_ESCAPED[other]])

    parts, end = b"", 0
    for match in _ESCAPE.finditer(text):
        parts += text[end : match.start()].encode("utf-8", "surrogateescape") + one(match)
        end = match.end()
    return parts + text[end:].encode("utf-8", "surrogateescape")


def _integer(sign: str, token: str) -> int:
    found = _INTEGER.fullmatch(token)
    if found is None:
        raise ValueError(token)
    for digits, base in ((found["hex"], 16), (found["decimal"], 10)):
        if digits is not None:
            return int(sign + digits, base)
    return int(sign + (found["octal"] or "0"), 8)


def _ranged(kind: str) -> Callable[[str, str], int]:
    low, high = _RANGES[kind]

    def read(sign: str, token: str) -> int:
        value = _integer(sign, token)
        if not low <= value <= high or (sign and not low):
            raise ValueError(token)
        return value

    return read


def _float(sign: str, token: str) -> float:
    found = _FLOAT.fullmatch(token)
    value = float(found.group(1)) if found else _NAMED.get(token.lower())
    if value is None:
        raise ValueError(token)
    return -value if sign else value


def _bool(sign: str, token: str) -> bool:
    value = _BOOLS[token] if token in _BOOLS else _integer("", token)
    if sign or value not in (0, 1):
        raise ValueError(token)
    return bool(value)


def _enum(numbers: Mapping[str, int]) -> Callable[[str, str], Union[str, int]]:
    """Read a name, or a number by its name if it has one: proto3 enums are open."""

    def read(sign: str, token: str) -> Union[str, int]:
        if token in numbers and not sign:
            return token
        number = _ranged("int32")(sign, token)
        return next((name for name, value in numbers.items() if value == number), number)

    return read


_VALUES: Dict[str, Callable[[str, str], Scalar]] = {
    **{kind: _ranged(kind) for kind in _RANGES},
    "float": _float,
    "double": _float,
    "bool": _bool,
}
