"""The JSON Schemas of reports and statuses: what their types say about their fields, and what ``fields`` adds."""

from __future__ import annotations

import re
import types
from collections.abc import Mapping
from typing import Any, Union, get_args, get_origin, get_type_hints, is_typeddict

from prepare_models_entrypoint.contract.kinds import Schema
from prepare_models_entrypoint.contract.report import ErrorInfo, ModelReport
from prepare_models_entrypoint.contract.settings import closed

from ..provisioning.status_document import PHASES, ProvisionStatus
from .fields import BUILDER, IDENTITY, NAMES, OPTIONAL, RUN, STAGES, TOLD
from .told import told, whole

_SIMPLE: dict[object, str] = {str: "string", int: "integer", float: "number", bool: "boolean", dict: "object"}


_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_CLOSED = (
    "This describes what this version writes, so it is closed. Readers should ignore keys that they don't know: a later"
    " version may add some without a new schema_version."
)
_FURTHER = tuple(phase for phase in PHASES if phase not in STAGES)


def report_schema() -> Schema:
    """Return the schema of a run's report."""
    return {
        "$schema": _DIALECT,
        "title": "prepare-models run report",
        "description": "What a run did: <models-dir>/report.json, and what run --json prints.",
        "$comment": _CLOSED,
        **whole(RUN),
        "$defs": {
            "shape": told(
                "Dimensions; -1 is a dynamic one.", type="array", items={"type": "integer", "minimum": -1},
                examples=[[1, 3, 544, 960]],
            ),
            "builder": {**told("Effective builder configuration; empty where nothing was built."), **closed(BUILDER)},
            "identity": whole(IDENTITY, "What decides the bytes of the engine; build_key is its digest."),
            **{_name(kind): _object(kind) for kind in _types(ModelReport)},
        },
    }  # fmt: skip


def status_schema() -> Schema:
    """Return the schema of a provisioning's status."""
    failed = told("Stage or phase that failed; null where it did not get that far.", enum=(*STAGES, *_FURTHER, None))
    definitions = {_name(kind): _object(kind) for kind in _types(ProvisionStatus) if kind is not ProvisionStatus}
    definitions["error"] = _object(ErrorInfo, {**TOLD[ErrorInfo], "stage": failed})
    return {
        "$schema": _DIALECT,
        "title": "prepare-models provisioning status",
        "description": "What a provisioning did: <models-dir>/provision.json, and what provision --json prints.",
        "$comment": _CLOSED,
        **_object(ProvisionStatus),
        "$defs": definitions,
    }


def _types(hint: object) -> dict[object, None]:
    """Return the contract's types in a type hint and, recursively, in their fields, each once."""
    named = is_typeddict(hint)
    found: dict[object, None] = {hint: None} if named else {}
    for each in get_type_hints(hint).values() if named else get_args(hint):
        found |= _types(each)
    return found


def _name(kind: object) -> str:
    return NAMES.get(kind) or re.sub("(?<=[a-z])(?=[A-Z])", "_", getattr(kind, "__name__", "")).lower()


def _object(kind: object, about: Mapping[str, Schema] | None = None) -> Schema:
    """Return the schema of a type whose keys are all required. ``about``: descriptions of its fields."""
    about = TOLD.get(kind, {}) if about is None else about
    fields = {name: _field(hint, about.get(name, {})) for name, hint in get_type_hints(kind).items()}
    required = [name for name in fields if name not in OPTIONAL.get(kind, ())]
    return {**about.get("", {}), **whole(fields), "required": required}


def _field(hint: object, about: Schema) -> Schema:
    ref = about.get("$ref")
    if ref is None:
        return {**_type(hint), **about}
    if type(None) not in get_args(hint):
        return about
    rest = {key: value for key, value in about.items() if key != "$ref"}
    return {**rest, "anyOf": [{"$ref": ref}, {"type": "null"}]}


def _type(hint: object) -> Schema:
    """Return the schema of a type hint."""
    origin, inner = get_origin(hint), get_args(hint)
    if hint in (Any, object):
        return {}
    if origin is list:
        return {"type": "array", "items": _type(inner[0])}
    if origin is dict:
        values = _type(inner[1])
        return {"type": "object", **({"additionalProperties": values} if values else {})}
    if origin in (Union, types.UnionType):
        some = _type(inner[0])
        return {**some, "type": [some["type"], "null"]} if "type" in some else {"anyOf": [some, {"type": "null"}]}
    if hint in _SIMPLE:
        return {"type": _SIMPLE[hint]}
    return {"$ref": f"#/$defs/{_name(hint)}"}
