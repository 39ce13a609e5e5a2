"""Documents from outside, checked against the types that describe them: TypedDicts and frozen dataclasses.

A TypedDict is read tolerantly, as for records of older and newer versions: unknown keys are kept, and a missing key is
empty if its type allows that. A dataclass is read strictly: each key needs a field, and each field without a default
needs a key. Standard library only, Python 3.8 and later.
"""

from __future__ import annotations

import collections.abc
import dataclasses
import json
import types
import typing
from functools import lru_cache
from pathlib import Path
from typing import Any, Callable, Dict, FrozenSet, List, Mapping, Optional, Sequence, Tuple, Type, TypeVar, Union, cast

from .codec import ContractError
from .files import read_small

T = TypeVar("T")
Reader = Callable[[object], object]

LARGEST_DOCUMENT = 64 << 20
_MOST_VALUES = 3_000_000  # each takes 100 to 200 bytes of memory
_LARGEST_INT = 1 << 63
_UNIONS = (Union, getattr(types, "UnionType", Union))  # Optional[X], and X | None of Python 3.10 and later


def load(file: Path, *, largest: int = LARGEST_DOCUMENT) -> Any:
    """Return the JSON document in a file. ``file``: a regular file. ``largest``: in bytes.

    Raises:
        ContractError: it is not JSON.
        OSError: it is not a regular file, is too large, or can't be read.
    """
    return loads(read_small(file, largest=largest))


def loads(data: Union[str, bytes]) -> Any:
    """Return a JSON document.

    Raises:
        ContractError: it is not JSON, is nested too deeply, or has more than three million values.
    """
    try:
        raw = data.encode("utf-8") if isinstance(data, str) else data
        text = raw.decode(json.detect_encoding(raw))
        too_many = len(text) > _MOST_VALUES and sum(map(text.count, ",[{")) > _MOST_VALUES
        document = None if too_many else json.loads(text)
        if "\\u" in text:
            json.dumps(document, ensure_ascii=False).encode("utf-8")
    except (ValueError, RecursionError) as error:
        raise ContractError(f"not JSON: {type(error).__name__}: {error}") from None
    if too_many:
        raise ContractError(f"it has more than {_MOST_VALUES} values")
    return document


def read(kind: Type[T], value: object, what: str) -> T:
    """Return a JSON value as the type that a TypedDict or a dataclass describes.

    ``value``: parsed JSON; a dictionary that a TypedDict describes is completed in place. ``what``: name of the
    document, for errors.

    Raises:
        ContractError: it is not of this type; the message names the place in the document.
    """
    try:
        return cast("T", _reader(kind)(value))  # type: ignore[arg-type]  # types are hashable
    except _MisfitError as misfit:
        raise ContractError(f"{what}{''.join(reversed(misfit.path))}: {misfit}") from None
    except RecursionError:
        raise ContractError(f"{what}: nested too deeply") from None


def check_version(document: Mapping[str, object], wanted: int, what: str) -> None:
    """Check the version that a document says it has.

    Raises:
        ContractError: it is another one.
    """
    if document.get("schema_version") != wanted:
        raise ContractError(f"{what}: schema version {document.get('schema_version')}, expected {wanted}")


def empty(kind: Type[T]) -> T:
    """Return an empty object of a TypedDict: each value is null if its type allows that, else "", 0, [] and so on."""
    return cast("T", {name: (_empty(hint) or hint)() for name, hint in _hints(cast("Any", kind)).items()})


@lru_cache(maxsize=None)
def _hints(kind: Any) -> Dict[str, Any]:
    return typing.get_type_hints(kind)


class _MisfitError(Exception):
    """A value is not of its type. Its place is collected from the inside out, so that valid values cost no text."""

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.path: List[str] = []

    def below(self, place: str) -> _MisfitError:
        """Return this as an error in the value around it."""
        self.path.append(place)
        return self


@lru_cache(maxsize=None)
def _reader(kind: object) -> Reader:
    """Return the reader of a type's values; it is made once per type."""
    if kind in _SCALARS:
        return _SCALARS[kind]
    if kind in (Any, object):
        return _anything
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin in _UNIONS:
        return _optional(_reader(next(each for each in inner if each is not type(None))))
    if origin is tuple:
        return _items(inner[0], tuple)
    if origin in (list, collections.abc.Sequence):
        return _items(inner[0], list)
    if origin in (dict, collections.abc.Mapping):
        return _entries(_reader(inner[1]))
    return _fields(kind) if dataclasses.is_dataclass(kind) else _keys(kind)


def _string(value: object) -> str:
    if not isinstance(value, str):
        raise _expected("a string", value)
    return value


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise _expected("true or false", value)
    return value


def _whole(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not -_LARGEST_INT <= value < _LARGEST_INT:
        raise _expected("a whole number of 64 bits", value)
    return value


def _number(value: object) -> float:
    return value if isinstance(value, float) else _whole(value)


def _anything(value: object) -> object:
    """Accept any JSON; the code that uses it checks it."""
    return value


_SCALARS: Dict[object, Reader] = {str: _string, bool: _flag, int: _whole, float: _number}


def _as_they_are(kind: object) -> FrozenSet[type]:
    """Return the types whose values are valid for a kind without a reader; most values of a record are."""
    if typing.get_origin(kind) in _UNIONS:
        return frozenset((type(None),)).union(*map(_as_they_are, typing.get_args(kind)))
    return frozenset((kind,)) if kind in (str, bool, float) else frozenset()


def _optional(inner: Reader) -> Reader:
    return lambda value: None if value is None else inner(value)


def _items(kind: object, make: Callable[[List[object]], Sequence[object]]) -> Reader:
    inner, plain = _reader(kind), _as_they_are(kind)

    def read_items(value: object) -> Sequence[object]:
        if not isinstance(value, (list, tuple)):
            raise _expected("a list", value)
        found: List[object] = []
        try:
            for each in value:
                found.append(each if type(each) in plain else inner(each))  # noqa: PERF401  # how many there are is the place of a misfit
        except _MisfitError as misfit:
            raise misfit.below(f"[{len(found)}]") from None
        return make(found)

    return read_items


def _entries(inner: Reader) -> Reader:
    def read_entries(value: object) -> Dict[str, object]:
        if not isinstance(value, dict):
            raise _expected("an object", value)
        return {_string(key): _part(inner, each, key) for key, each in value.items()}

    return read_entries


def _part(inner: Reader, value: object, name: str) -> object:
    try:
        return inner(value)
    except _MisfitError as misfit:
        raise misfit.below(f".{name}") from None


def _keys(kind: Any) -> Reader:
    """Return the reader of a TypedDict."""
    hints = _hints(kind)
    readers = [(name, _as_they_are(hint), _reader(hint)) for name, hint in hints.items()]
    empties = {name: make for name, hint in hints.items() if (make := _empty(hint)) is not None}
    every = hints if kind.__total__ else ()  # Python 3.8 doesn't know which inherited keys are required
    required = getattr(kind, "__required_keys__", every)

    def read_keys(value: object) -> Dict[str, object]:
        if not isinstance(value, dict):
            raise _expected("an object", value)
        name = ""
        try:
            for name, plain, reader in readers:
                if name not in value:
                    if name in required:
                        value[name] = empties[name]()
                elif type(value[name]) not in plain:
                    value[name] = reader(value[name])
        except KeyError:
            raise _MisfitError(f"{name!r} is missing") from None
        except _MisfitError as misfit:
            raise misfit.below(f".{name}") from None
        return value

    return read_keys


def _fields(kind: Any) -> Reader:
    """Return the reader of a dataclass."""
    hints = _hints(kind)
    fields = [field for field in dataclasses.fields(kind) if field.init]
    readers = {field.name: _reader(hints[field.name]) for field in fields}
    needed = {field.name for field in fields if field.default is field.default_factory is dataclasses.MISSING}

    def read_fields(value: object) -> object:
        if not isinstance(value, dict):
            raise _expected("an object", value)
        unknown, missing = sorted(set(value) - set(readers)), sorted(needed - set(value))
        if unknown or missing:
            problem = f"unknown key {unknown[0]!r}" if unknown else f"{missing[0]!r} is missing"
            raise _MisfitError(problem)
        return kind(**{name: _part(readers[name], each, name) for name, each in value.items()})

    return read_fields


def _empty(hint: object) -> Optional[Callable[[], object]]:
    """Return a function that makes the empty value of a type, or None if it has none."""
    origin = typing.get_origin(hint)
    if origin in _UNIONS:
        return lambda: None
    return list if origin is list else dict if origin is dict else None


def _expected(wanted: str, value: object) -> _MisfitError:
    found = next((name for kind, name in _NAMES if isinstance(value, kind)), "null")
    return _MisfitError(f"expected {wanted}, found {found}")


_NAMES: Tuple[Tuple[type, str], ...] = (
    (bool, "true or false"),
    (str, "a string"),
    (dict, "an object"),
    (list, "a list"),
    (int, "a number"),
    (float, "a number"),
)
