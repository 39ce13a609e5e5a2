"""Protobuf's text format as dictionaries of lists: as much as reading somebody's config.pbtxt without Triton takes."""

from __future__ import annotations

import re
from typing import Any, Dict, List, Mapping, Union

_TOKEN = re.compile(
    r"""\s+|\#[^\n]*|(?P<text>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')|(?P<word>[A-Za-z0-9_.+-]+)|(?P<mark>[{}<>\[\]:,;])"""
)
_ESCAPE = re.compile(rb"\\([0-7]{1,3}|x[0-9a-fA-F]{1,2}|.)", re.DOTALL)
_LETTERS = {b"n": b"\n", b"t": b"\t", b"r": b"\r", b"a": b"\a", b"b": b"\b", b"f": b"\f", b"v": b"\v"}
_CLOSING = {"{": "}", "<": ">"}
_DEEPEST = 50

Message = Dict[str, List[Any]]


class PbtxtError(ValueError):
    """The text is no message in protobuf's text format."""


def parse(text: str) -> Message:
    """Return every field with the list of its values: text, numbers, words, and messages as dictionaries.

    Raises:
        PbtxtError: with the place of what was not expected.
    """
    return _Reader(_tokens(text)).message("", 0)


def first(message: Mapping[str, Any], key: str, default: Any) -> Any:
    """Return the first value of a field, or ``default``."""
    values = message.get(key) or [default]
    return values[0]


def messages(message: Mapping[str, Any], key: str) -> List[Message]:
    """Return those values of a field that are messages."""
    return [value for value in message.get(key, ()) if isinstance(value, dict)]


def _tokens(text: str) -> "List[tuple[str, str]]":
    found: "List[tuple[str, str]]" = []
    position = 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise PbtxtError(f"line {text.count(chr(10), 0, position) + 1}: {text[position : position + 20]!r}")
        position = match.end()
        if match.lastgroup:
            found.append((match.lastgroup, match.group()))
    return found


class _Reader:
    def __init__(self, tokens: "List[tuple[str, str]]") -> None:
        self.tokens = tokens
        self.position = 0

    def next(self) -> "tuple[str, str]":
        if self.position >= len(self.tokens):
            raise PbtxtError("ends too early")
        self.position += 1
        return self.tokens[self.position - 1]

    def peek(self) -> str:
        return self.tokens[self.position][1] if self.position < len(self.tokens) else ""

    def message(self, closing: str, depth: int) -> Message:
        if depth > _DEEPEST:
            raise PbtxtError("is nested too deeply")
        message: Message = {}
        while self.peek() != closing:
            kind, name = self.next()
            if kind != "word":
                raise PbtxtError(f"expected the name of a field, found {name!r}")
            if self.peek() == ":":
                self.next()
            message.setdefault(name, []).extend(self.values(depth))
            if self.peek() in (",", ";"):
                self.next()
        return message

    def values(self, depth: int) -> List[Any]:
        if self.peek() != "[":
            return [self.value(depth)]
        self.next()
        found: List[Any] = []
        while self.peek() != "]":
            found.append(self.value(depth))
            if self.peek() == ",":
                self.next()
        self.next()
        return found

    def value(self, depth: int) -> Union[str, int, float, bool, Mapping[str, Any]]:
        kind, token = self.next()
        if token in _CLOSING and kind == "mark":
            message = self.message(_CLOSING[token], depth + 1)
            self.next()
            return message
        if kind == "text":
            parts = [token]
            while self.position < len(self.tokens) and self.tokens[self.position][0] == "text":
                parts.append(self.next()[1])
            return "".join(_unquoted(part) for part in parts)
        if kind == "word":
            return _word(token)
        raise PbtxtError(f"expected a value, found {token!r}")


def _word(word: str) -> Union[str, int, float, bool]:
    if word in ("true", "false"):
        return word == "true"
    for number in (int, float):
        try:
            return number(word)
        except ValueError:
            continue
    return word


def _unquoted(token: str) -> str:
    def plain(match: "re.Match[bytes]") -> bytes:
        code = match.group(1)
        if code[:1] in b"01234567":
            return bytes([int(code, 8) & 0xFF])
        return bytes([int(code[1:], 16)]) if code[:1] == b"x" else _LETTERS.get(code, code)

    return _ESCAPE.sub(plain, token[1:-1].encode("utf-8", "surrogateescape")).decode("utf-8", "replace")
