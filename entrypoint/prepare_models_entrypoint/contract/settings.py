"""The table of settings: one row for each, as a field of a dataclass. Whatever handles settings derives from the rows.

That is how a setting is read from a manifest, written to a job and read from it, what the schema and the documentation
say of it, and by what name TensorRT, trtexec and tao-converter know it. CONTRIBUTING.md shows how one is added.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, ClassVar, Dict, Iterable, List, Mapping, NamedTuple, Tuple, Type, TypeVar, Union

from . import codec
from .codec import ContractError

if TYPE_CHECKING:
    from .kinds import Kind, Schema

T = TypeVar("T", bound="Record")
Version = Tuple[int, ...]

REQUIRED: object = dataclasses.MISSING
_KEY = "setting"
_UNSET: Tuple[object, ...] = (None, (), {})


class Option(NamedTuple):
    """What a builder option is to NVIDIA's programs. What stays empty they don't have, or code of its own handles it.

    pool: memory pool, by its names in TensorRT (MemoryPoolType) and trtexec (--memPoolSize).
    attribute: of TensorRT's builder configuration. enumeration, members: its type, and the member for each value.
    flags: BuilderFlag for each value; of a truth value it is set or cleared.
    trtexec: option, with ``{}`` for the value; or the option for each value that has one.
    tao: option of tao-converter.
    since, until: first TensorRT that has it, and first that has it no more.
    values_since: the first TensorRT of values that came later than the option.
    rtx: why TensorRT-RTX would ignore it. rtx_gpu: TensorRT-RTX has it where it builds on a GPU.
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
    """A row. ``name``: of the field, which is its key in jobs; ``default``: ``REQUIRED`` where there is none.

    key: in a manifest, empty where manifests don't have it. group: key of the mapping in which it is there.
    inline: the settings of its record are there among its neighbours.
    conversion: it decides the engine's bytes, so that it is a part of the build key.
    later: added after engines with build keys existed; it is written only where it is not the default.
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


def rows(record: type) -> Tuple[Setting, ...]:
    """Return the settings of a record, in the order of its fields; fields without a row are no settings."""
    if record not in _ROWS:
        found = [(item.name, item.metadata[_KEY]) for item in dataclasses.fields(record) if _KEY in item.metadata]
        _ROWS[record] = tuple(row._replace(name=name, key=name if row.key == "=" else row.key) for name, row in found)
    return _ROWS[record]


_ROWS: Dict[type, Tuple[Setting, ...]] = {}


class Record:
    """A group of settings, which is a frozen dataclass. ``EXCLUSIVE``: keys of which a manifest has at most one."""

    SPARSE: ClassVar[bool] = False
    EXCLUSIVE: ClassVar[Tuple[str, ...]] = ()

    @classmethod
    def from_dict(cls: Type[T], raw: Mapping[str, object], what: str = "settings") -> T:
        """Read the settings from JSON.

        Raises:
            ContractError: an unknown field, one that is missing, or a value that does not fit.
        """
        known = rows(cls)
        codec.check_keys(raw, [row.name for row in known], what)
        values = {}
        for row in known:
            if row.name not in raw and row.default is REQUIRED:
                raise ContractError(f"{what}: field {row.name!r} is missing")
            if row.name in raw and not (raw[row.name] is None and row.default is None):
                values[row.name] = row.kind.decode(raw[row.name], f"{what}.{row.name}")
        return cls(**values)

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
