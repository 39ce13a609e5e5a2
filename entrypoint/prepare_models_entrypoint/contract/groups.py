"""Groups of settings within others: reading, writing, and their JSON Schema."""

from __future__ import annotations

import itertools
from typing import Dict, Iterable, List, Mapping, Sequence, Type

from . import codec
from .kinds import Kind, ListOf, Schema
from .settings import REQUIRED, Record, Setting, rows


def keys(record: type) -> List[str]:
    """Return the keys that the settings of a record have in a manifest."""
    found: List[str] = []
    for row in rows(record):
        found += keys(row.kind.record) if row.inline and isinstance(row.kind, Nested) else [row.group or row.key]
    return [key for key in dict.fromkeys(found) if key]


class Nested(Kind):
    """A group of settings within another."""

    def __init__(self, record: Type[Record], expected: str = "") -> None:
        self.record = record
        self.expected = expected or f"a mapping of {', '.join(keys(record))}"

    def decode(self, raw: object, what: str) -> Record:
        """Return the group in a JSON value."""
        return self.record.from_dict(codec.typed(raw, dict, what), what)

    def encode(self, value: Record) -> object:
        """Return the JSON form of a group."""
        return value.to_dict()

    def schema(self) -> Schema:
        """Return the JSON Schema of the group in a manifest."""
        return record_schema(self.record)


def record_schema(record: Type[Record]) -> Schema:
    """Return the JSON Schema of a group of settings in a manifest."""
    mandatory = [row.key for row in rows(record) if row.default is REQUIRED and row.key]
    schema = closed(_properties(rows(record)), mandatory)
    for row in rows(record):
        if row.inline and isinstance(row.kind, Nested):
            inner = rows(row.kind.record)
            needed = [each.key for each in inner if each.default is REQUIRED]
            schema["dependentRequired"] = {key: needed for key in keys(row.kind.record) if key not in needed}
    if record.EXCLUSIVE:
        pairs = itertools.combinations(record.EXCLUSIVE, 2)
        schema["allOf"] = [{"not": {"required": list(pair)}} for pair in pairs]
    return schema


def _properties(some: Iterable[Setting]) -> Dict[str, object]:
    found: Dict[str, object] = {}
    groups: Dict[str, List[Setting]] = {}
    for row in some:
        if row.inline and isinstance(row.kind, Nested):
            found.update(_properties(rows(row.kind.record)))
        elif row.group:
            groups.setdefault(row.group, []).append(row._replace(group=""))
            found[row.group] = closed(_properties(groups[row.group]))
        elif row.key:
            found[row.key] = row.schema()
    return found


def closed(properties: Mapping[str, object], required: Sequence[str] = ()) -> Schema:
    """Return the JSON Schema of an object with only these properties."""
    mandatory: Schema = {"required": list(required)} if required else {}
    return {"type": "object", "additionalProperties": False, **mandatory, "properties": properties}


def several(record: Type[Record], expected: str) -> ListOf:
    """Return the kind of a list of groups of settings."""
    return ListOf(Nested(record), expected)
