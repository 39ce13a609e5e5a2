"""Protobuf's text format, parsed as strictly as google.protobuf.text_format does, by a table of messages and fields.

A message is a dictionary of lists: text, numbers, names of enum values (the number if the table has no name), and
messages. A map is a list of messages with ``key`` and ``value``.
"""

from __future__ import annotations

import json
import math
import re
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Mapping, Tuple, Union

Message = Dict[str, List[Any]]
Scalar = Union[str, int, float, bool]

_QUOTES = ('"', "'")
_BLANK = re.compile(r"(?:\s|#.*$)+")
_TOKEN = re.compile(
    r"[a-zA-Z_][0-9a-zA-Z_+-]*"
    r"|(?:[0-9+-]|\.[0-9])[0-9a-zA-Z_.+-]*"
    r"|\"[^\"\\]*(?:\\.[^\"\\]*)*(?:\"|\\?$)"
    r"|'[^'\\]*(?:\\.[^'\\]*)*(?:'|\\?$)"
)
_NAME = re.compile(r"\w")
_OCTAL = re.compile(r"(-?)0(\d+)$")
_OCTAL_FLOAT = re.compile(r"-?0[0-9]+")
_INFINITY = re.compile(r"-?inf(?:inity)?f?$", re.IGNORECASE)
_NAN = re.compile(r"nanf?$", re.IGNORECASE)
_SHORT_HEX = re.compile(r"(\\+)x([0-9a-fA-F])(?![0-9a-fA-F])")
_BOOLS = {"true": True, "t": True, "1": True, "True": True, "false": False, "f": False, "0": False, "False": False}
_RANGES = {
    "int32": (-(1 << 31), (1 << 31) - 1),
    "int64": (-(1 << 63), (1 << 63) - 1),
    "uint32": (0, (1 << 32) - 1),
    "uint64": (0, (1 << 64) - 1),
}


class TextFormatError(ValueError):
    """The text is not a message of this schema; the message gives the line and column, from 1."""


@dataclass(frozen=True)
class Field:
    """One field. kind: protobuf's name of its type; of: the message or enum; oneof: its group, if any."""

    name: str
    kind: str
    of: str = ""
    repeated: bool = False
    oneof: str = ""


@dataclass(frozen=True)
class Schema:
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
        try:
            value = _enum(self.token, self.schema.enums[field.of]) if field.of else _VALUES[field.kind](self.token)
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
        try:
            return parts.decode("utf-8")
        except UnicodeDecodeError as error:
            raise self.error("the string before is not UTF-8") from error

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
    def two_digits(match: "re.Match[str]") -> str:
        return f"{match.group(1)}x0{match.group(2)}" if len(match.group(1)) % 2 else match.group()

    text = _SHORT_HEX.sub(two_digits, text)
    text = text.encode("raw_unicode_escape").decode("raw_unicode_escape")
    with warnings.catch_warnings():  # about unknown escapes, which stay as they are
        warnings.simplefilter("ignore", DeprecationWarning)
        return text.encode("utf-8").decode("unicode_escape").encode("latin-1")


def _integer(token: str) -> int:
    octal = _OCTAL.match(token)
    return int(f"{octal.group(1)}0o{octal.group(2)}" if octal else token, 0)


def _ranged(kind: str) -> Callable[[str], int]:
    low, high = _RANGES[kind]

    def read(token: str) -> int:
        value = _integer(token)
        if not low <= value <= high:
            raise ValueError(token)
        return value

    return read


def _float(token: str) -> float:
    if _OCTAL_FLOAT.match(token):
        raise ValueError(token)
    if _INFINITY.match(token):
        return -math.inf if token.startswith("-") else math.inf
    if _NAN.match(token):
        return math.nan
    try:
        return float(token)
    except ValueError:
        return float(token.rstrip("fF"))


def _bool(token: str) -> bool:
    if token not in _BOOLS:
        raise ValueError(token)
    return _BOOLS[token]


def _enum(token: str, numbers: Mapping[str, int]) -> Union[str, int]:
    """Return the name, or the number if it has none: proto3 enums are open."""
    try:
        number = int(token, 0)
    except ValueError:
        if token not in numbers:
            raise
        return token
    low, high = _RANGES["int32"]
    if not low <= number <= high:
        raise ValueError(token)
    return next((name for name, value in numbers.items() if value == number), number)


_VALUES: Dict[str, Callable[[str], Scalar]] = {
    **{kind: _ranged(kind) for kind in _RANGES},
    "float": _float,
    "double": _float,
    "bool": _bool,
}
