"""Documents of strangers, judged by the types that describe them: one reader for TypedDicts and frozen dataclasses.

A TypedDict is read tolerantly, as records of older and newer versions are: unknown keys travel along, and a missing key
is empty where its type can be. A dataclass is read strictly: each key has a field, and each field without a default has
a key. Standard library only, Python 3.8 and later.
"""

from __future__ import annotations

import collections.abc
import dataclasses
import json
import types
import typing
from functools import lru_cache
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple, Type, TypeVar, Union, cast

from .codec import ContractError
from .files import read_small

T = TypeVar("T")
Reader = Callable[[object, str], object]

LARGEST_DOCUMENT = 64 << 20
_LARGEST_INT = 1 << 63
_UNIONS = (Union, getattr(types, "UnionType", Union))  # Optional[X], and X | None of Python 3.10 and later


def load(file: Path, *, largest: int = LARGEST_DOCUMENT) -> Any:
    """Return the JSON document in a file.

    Args:
        file: a regular file.
        largest: in bytes.

    Raises:
        ContractError: it is not JSON.
        OSError: it is not a regular file, is too large, or can't be read.
    """
    return loads(read_small(file, largest=largest))


def loads(data: Union[str, bytes]) -> Any:
    """Return a JSON document.

    Raises:
        ContractError: it is not JSON, or nested too deeply.
    """
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ContractError(f"not JSON: {type(error).__name__}: {error}") from None


def read(kind: Type[T], value: object, what: str) -> T:
    """Return a JSON value as what a TypedDict or a dataclass describes.

    Args:
        kind: the type.
        value: parsed JSON; a dictionary that a TypedDict describes is completed in place.
        what: name of the document, for the error.

    Raises:
        ContractError: it is not of this type; the message names the place in it.
    """
    try:
        return cast("T", _reader(kind)(value, what))  # type: ignore[arg-type]  # types are hashable
    except RecursionError:
        raise ContractError(f"{what}: nested too deeply") from None


@lru_cache(maxsize=None)
def _reader(kind: Any) -> Reader:
    """Return what reads values of a type, made once for each."""
    if kind in _SCALARS:
        return _SCALARS[kind]
    if kind in (Any, object):
        return _anything
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin in _UNIONS:
        return _optional(_reader(next(each for each in inner if each is not type(None))))
    if origin is tuple:
        return _items(_reader(inner[0]), tuple)
    if origin in (list, collections.abc.Sequence):
        return _items(_reader(inner[0]), list)
    if origin in (dict, collections.abc.Mapping):
        return _entries(_reader(inner[1]))
    return _fields(kind) if dataclasses.is_dataclass(kind) else _keys(kind)


def _string(value: object, where: str) -> str:
    if not isinstance(value, str):
        raise _expected("a string", value, where)
    if not value.isascii() and any("\ud800" <= character <= "\udfff" for character in value):
        raise ContractError(f"{where}: half a character (a lone surrogate)")
    return value


def _flag(value: object, where: str) -> bool:
    if not isinstance(value, bool):
        raise _expected("true or false", value, where)
    return value


def _whole(value: object, where: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not -_LARGEST_INT <= value < _LARGEST_INT:
        raise _expected("a whole number of 64 bits", value, where)
    return value


def _number(value: object, where: str) -> float:
    return value if isinstance(value, float) else _whole(value, where)


def _anything(value: object, where: str) -> object:
    """Take any JSON, which is looked at by whoever uses it; but none that can't be written again."""
    if isinstance(value, dict):
        for key, each in value.items():
            _string(key, where)
            _anything(each, where)
    elif isinstance(value, list):
        for each in value:
            _anything(each, where)
    elif isinstance(value, str):
        _string(value, where)
    return value


_SCALARS: Dict[object, Reader] = {str: _string, bool: _flag, int: _whole, float: _number}


def _optional(inner: Reader) -> Reader:
    return lambda value, where: None if value is None else inner(value, where)


def _items(inner: Reader, make: Callable[[List[object]], Sequence[object]]) -> Reader:
    def read_items(value: object, where: str) -> Sequence[object]:
        if not isinstance(value, (list, tuple)):
            raise _expected("a list", value, where)
        return make([inner(each, f"{where}[{number}]") for number, each in enumerate(value)])

    return read_items


def _entries(inner: Reader) -> Reader:
    def read_entries(value: object, where: str) -> Dict[str, object]:
        if not isinstance(value, dict):
            raise _expected("an object", value, where)
        return {_string(key, where): inner(each, f"{where}.{key}") for key, each in value.items()}

    return read_entries


def _keys(kind: Any) -> Reader:
    """Return the reader of a TypedDict."""
    readers = {name: (_reader(hint), _empty(hint)) for name, hint in typing.get_type_hints(kind).items()}

    def read_keys(value: object, where: str) -> Dict[str, object]:
        if not isinstance(value, dict):
            raise _expected("an object", value, where)
        for name, (reader, empty) in readers.items():
            if name in value:
                value[name] = reader(value[name], f"{where}.{name}")
            elif empty is not None and kind.__total__:
                value[name] = empty()
            elif kind.__total__:
                raise ContractError(f"{where}: {name!r} is missing")
        return value

    return read_keys


def _fields(kind: Any) -> Reader:
    """Return the reader of a dataclass."""
    hints = typing.get_type_hints(kind)
    fields = [field for field in dataclasses.fields(kind) if field.init]
    readers = {field.name: _reader(hints[field.name]) for field in fields}
    needed = {field.name for field in fields if field.default is field.default_factory is dataclasses.MISSING}

    def read_fields(value: object, where: str) -> object:
        if not isinstance(value, dict):
            raise _expected("an object", value, where)
        unknown, missing = sorted(set(value) - set(readers)), sorted(needed - set(value))
        if unknown or missing:
            problem = f"unknown key {unknown[0]!r}" if unknown else f"{missing[0]!r} is missing"
            raise ContractError(f"{where}: {problem}")
        return kind(**{name: readers[name](each, f"{where}.{name}") for name, each in value.items()})

    return read_fields


def _empty(hint: object) -> Optional[Callable[[], object]]:
    """Return what makes the empty value of a type, if it has one."""
    origin = typing.get_origin(hint)
    if origin in _UNIONS:
        return lambda: None
    return list if origin is list else dict if origin is dict else None


def _expected(wanted: str, value: object, where: str) -> ContractError:
    return ContractError(f"{where}: expected {wanted}, found {_named(value)}")


def _named(value: object) -> str:
    return next((name for kind, name in _NAMES if isinstance(value, kind)), "null")


_NAMES: Tuple[Tuple[type, str], ...] = (
    (bool, "true or false"),
    (str, "a string"),
    (dict, "an object"),
    (list, "a list"),
    (int, "a number"),
    (float, "a number"),
)
