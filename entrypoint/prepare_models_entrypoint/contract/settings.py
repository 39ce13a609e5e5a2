"""The table of settings: one row each, as a field of a dataclass. All code that handles settings derives from the rows.

That covers how a setting is read from a manifest, written to a job and read from it, what the schema and the
documentation say about it, and its names in TensorRT, trtexec and tao-converter. CONTRIBUTING.md shows how to add one.
"""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any, ClassVar, Dict, Iterable, List, Mapping, NamedTuple, Sequence, Tuple, Type, TypeVar, Union

from . import codec
from .codec import ContractError
from .kinds import Kind, Schema
from .values import Value, dataclass_transform
from .versions import Version

T = TypeVar("T", bound="Record")
D = TypeVar("D", bound="Document")

REQUIRED: object = dataclasses.MISSING
_KEY = "setting"
_UNSET: Tuple[object, ...] = (None, (), {})


class Option(NamedTuple):
    """A builder option in NVIDIA's programs. Where a field is empty, they lack the option or separate code handles it.

    pool: memory pool, by its names in TensorRT (MemoryPoolType) and trtexec (--memPoolSize).
    attribute: in TensorRT's builder configuration. enumeration, members: its type, and the member for each value.
    flags: BuilderFlag for each value; for a Boolean it is set or cleared.
    trtexec: the option, with ``{}`` for the value; or the option for each value that has one.
    tao: option of tao-converter.
    since, until: the first TensorRT that has it, and the first that no longer has it.
    values_since: the first TensorRT with those values that are newer than the option.
    rtx: why TensorRT-RTX would ignore it. rtx_gpu: TensorRT-RTX has it when it builds on a GPU.
    rtx_only: why TensorRT itself would ignore it.
    """

    pool: Tuple[str, str] = ("", "")
    attribute: str = ""
    enumeration: str = ""
    members: Mapping[object, str] = {}
    flags: Mapping[object, str] = {}
    trtexec: Union[str, Mapping[object, str]] = ""
    tao: str = ""
    since: Version = ()
    until: Version = ()
    values_since: Mapping[object, Version] = {}
    rtx: str = ""
    rtx_gpu: bool = False
    rtx_only: str = ""


class Setting(NamedTuple):
    """A row. ``name``: of the field, which is its key in jobs; ``default``: ``REQUIRED`` if there is none.

    key: in a manifest; empty if manifests don't have it. group: key of the mapping that contains it there.
    inline: the settings of its record appear at the same level there.
    conversion: it decides the engine's bytes, so it is part of the build key.
    later: added when engines with build keys already existed; it is written only if it is not the default.
    """

    name: str
    kind: Kind
    doc: str
    default: object
    key: str
    group: str
    inline: bool
    conversion: bool
    later: bool
    examples: Tuple[object, ...]
    option: Option

    def is_default(self, value: object) -> bool:
        """Return whether a value is the default."""
        return value == ({} if self.default is dict else self.default)

    def schema(self) -> Schema:
        """Return the JSON Schema of the setting in a manifest."""
        examples: Schema = {"examples": list(self.examples)} if self.examples else {}
        return {"description": self.doc, **self.kind.schema(), **examples}


def setting(
    kind: Kind,
    doc: str,
    *examples: object,
    default: object = None,
    key: str = "=",
    group: str = "",
    inline: bool = False,
    conversion: bool = False,
    later: bool = False,
    **option: Any,
) -> Any:
    """Return the field of a setting; ``key`` is its name unless given. Further arguments are those of ``Option``."""
    row = Setting("", kind, doc, default, key, group, inline, conversion, later, examples, Option(**option))
    made: Dict[str, Any] = {"default_factory": dict} if default is dict else {"default": default}
    return dataclasses.field(**made, metadata={_KEY: row})


def rows(record: Any) -> Tuple[Setting, ...]:
    """Return the settings of a record, in the order of its fields; fields without a row are no settings."""
    found: Tuple[Setting, ...] = record.ROWS
    return found


@dataclass_transform(frozen_default=True, kw_only_default=True)
class Record(Value):
    """A group of settings.

    SPARSE: its JSON contains only what is set. EXCLUSIVE: keys of which a manifest has at most one. ROWS: its settings.
    """

    ROWS: ClassVar[Tuple[Setting, ...]] = ()
    SPARSE: ClassVar[bool] = False
    EXCLUSIVE: ClassVar[Tuple[str, ...]] = ()

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        found = [(field.name, field.metadata[_KEY]) for field in dataclasses.fields(cls) if _KEY in field.metadata]
        cls.ROWS = tuple(row._replace(name=name, key=name if row.key == "=" else row.key) for name, row in found)

    @classmethod
    def from_dict(cls: Type[T], raw: Mapping[str, object], what: str = "settings") -> T:
        """Read the settings from JSON.

        Raises:
            ContractError: an unknown or missing field, or an invalid value.
        """
        known = rows(cls)
        codec.check_keys(raw, [row.name for row in known], what)
        values = {
            row.name: row.kind.decode(raw[row.name], f"{what}.{row.name}")
            for row in known
            if row.name in raw and not (raw[row.name] is None and row.default is None)
        }
        for row in known:
            if row.name not in raw and cls._needs(row):
                raise ContractError(f"{what}: field {row.name!r} is missing")
        return cls(**values)

    @classmethod
    def _needs(cls, row: Setting) -> bool:
        """Return whether the JSON form must contain a setting."""
        return row.default is REQUIRED

    def to_dict(self) -> Dict[str, object]:
        """Return the JSON form."""
        return self.written(rows(type(self)))

    def written(self, some: Iterable[Setting]) -> Dict[str, object]:
        """Return the JSON form of some of the settings."""
        found = [(row, getattr(self, row.name)) for row in some]
        return {
            row.name: None if value is None else row.kind.encode(value)
            for row, value in found
            if not (value in _UNSET if self.SPARSE else row.later and row.is_default(value))
        }

    def chosen(self) -> List[Tuple[Setting, Any]]:
        """Return the settings that are set, each with its value."""
        found = [(row, getattr(self, row.name)) for row in rows(type(self))]
        return [(row, value) for row, value in found if value not in _UNSET]


class Document(Record):
    """A record that one side writes and the other reads, with the version of the contract. ``WHAT``: its name."""

    WHAT: ClassVar[str] = ""

    @classmethod
    def from_dict(cls: Type[D], raw: Mapping[str, object], what: str = "") -> D:
        """Read the document.

        Raises:
            ContractError: another version of the contract, an unknown field, or an invalid value.
        """
        name = what or cls.WHAT
        codec.check_version(raw, name)
        return super().from_dict({key: value for key, value in raw.items() if key != "contract"}, name)

    @classmethod
    def _needs(cls, row: Setting) -> bool:
        return row.default is not None and not row.later  # the other side writes every setting that it knows

    def to_dict(self) -> Dict[str, object]:
        """Return the JSON form."""
        return {"contract": codec.CONTRACT_VERSION, **super().to_dict()}


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
