"""What every reader of a contract document checks: its version, its keys, the types of its values."""

from __future__ import annotations

from typing import Mapping, Sequence, Tuple, Type, TypeVar, cast

T = TypeVar("T")

CONTRACT_VERSION = 1


class ContractError(ValueError):
    """A job, event or report that this version of the contract can't read."""


def check_keys(raw: Mapping[str, object], known: Sequence[str], what: str) -> None:
    """Refuse keys outside ``known``: an option silently ignored would be a wrong engine."""
    _object(raw, what)
    unknown = sorted(set(raw) - set(known))
    if unknown:
        raise ContractError(f"{what}: unknown field(s) {', '.join(unknown)}; this side of the contract is older")


def check_version(raw: Mapping[str, object], what: str) -> None:
    """Refuse a document written by another version of the contract."""
    _object(raw, what)
    version = raw.get("contract")
    if not isinstance(version, int) or isinstance(version, bool):
        raise ContractError(f"{what}: no contract version")
    if version != CONTRACT_VERSION:
        raise ContractError(f"{what}: contract version {version}, this side uses version {CONTRACT_VERSION}")


def _object(raw: object, what: str) -> None:
    if not isinstance(raw, Mapping):
        raise ContractError(f"{what}: expected an object, found {type(raw).__name__}")


def typed(value: object, kind: Type[T], what: str) -> T:
    """Return a value as type ``kind``. Whole numbers count as floats; true and false don't count as numbers.

    Raises:
        ContractError: it is not of type ``kind``.
    """
    wrong_bool = isinstance(value, bool) and kind is not bool
    accepted: Tuple[type, ...] = (int, float) if kind is float else (kind,)  # JSON writes 2.0 as 2
    if wrong_bool or not isinstance(value, accepted):
        raise ContractError(f"{what}: expected {kind.__name__}, found {type(value).__name__}")
    return cast("T", value)


def check_printable(name: str, what: str) -> str:
    """Return ``name`` if it may appear in a line of a file: without control characters and lone surrogates.

    Raises:
        ContractError: it has a character that would end the line, or control a terminal.
    """
    if not name.isprintable():
        escaped = name.encode("unicode_escape").decode("ascii")
        raise ContractError(f"{what} {escaped} has control characters")
    return name
