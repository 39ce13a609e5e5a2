"""The JSON Schemas of reports and statuses: keys and types are the contract's, ``fields.json`` says what they mean.

In that file, a text is the description of a field, ``""`` describes the whole type, and ``@name`` stands for values
that the code knows.
"""

import functools
import json
import re
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Union, get_args, get_origin, get_type_hints, is_typeddict

from prepare_models_entrypoint.contract.backends import PRODUCTS
from prepare_models_entrypoint.contract.converters import CONVERTERS
from prepare_models_entrypoint.contract.digest import SHA256
from prepare_models_entrypoint.contract.kinds import Schema
from prepare_models_entrypoint.contract.precision import PRECISIONS, Means
from prepare_models_entrypoint.contract.report import SCHEMA_VERSION, STATUSES, ErrorInfo, ModelReport
from prepare_models_entrypoint.contract.settings import closed

from ..executors import EXECUTORS
from ..provisioning import status_document
from ..provisioning.status_document import PHASES, ProvisionStatus
from .documents import Run

_STAGES = ("fetch", "check", "convert", "inspect", "verify")
_VALUES: Mapping[str, Any] = {
    "@version": SCHEMA_VERSION,
    "@sha256": f"^{SHA256}$",
    "@stages": _STAGES,
    "@statuses": STATUSES,
    "@precisions": PRECISIONS,
    "@converters": CONVERTERS,
    "@means": [means.value for means in Means],
    "@backends": PRODUCTS,
    "@executors": EXECUTORS,
    "@phases": PHASES,
    "@outcomes": status_document.OUTCOMES,
    "@states": status_document.STATES,
    "@next": status_document.NEXT,
}
# Names of types in the schemas, where they are not those of the code.
_NAMES = {
    "ErrorInfo": "error", "WarningInfo": "warning", "StageResult": "stage", "OutputComparison": "comparison",
    "BackendInfo": "backend", "GpuInfo": "gpu", "RuntimeInfo": "runtime", "EngineDetails": "details",
    "ModelReport": "model",
}  # fmt: skip
_INLINE = ("Tool", "Host", "Power")
_OPTIONAL = {"ProfileShapes": ("values",), "DeploymentInfo": ("deepstream", "version")}
_SIMPLE: dict[object, str] = {str: "string", int: "integer", float: "number", bool: "boolean", dict: "object"}
_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_CLOSED = (
    "This describes what this version writes, so it is closed. Readers should ignore keys that they don't know: a later"
    " version may add some without a new schema_version."
)


def report_schema() -> Schema:
    """Return the schema of a run's report."""
    run = _properties(Run)
    counts = {
        status: {**_about(f"Models with status {status}."), "type": "integer", "minimum": 0} for status in STATUSES
    }
    run["summary"] |= _whole(counts)
    run["runtime"] = {**_about("Backend and GPU of the run."), "$ref": "#/$defs/runtime"}  # never null
    shape = _about("Dimensions; -1 is a dynamic one.") | {"type": "array", "items": {"type": "integer", "minimum": -1}}
    identity = _about("What decides the bytes of the engine; build_key is its digest.") | _whole(_fields()["identity"])
    builder = _about("Effective builder configuration; empty where nothing was built.") | closed(_fields()["builder"])
    return {
        "$schema": _DIALECT,
        "title": "prepare-models run report",
        "description": "What a run did: <models-dir>/report.json, and what run --json prints.",
        "$comment": _CLOSED,
        **_whole(run),
        "$defs": {
            "shape": {**shape, "examples": [[1, 3, 544, 960]]},
            "builder": builder,
            "identity": identity,
            **_definitions(ModelReport),
        },
    }


def status_schema() -> Schema:
    """Return the schema of a provisioning's status."""
    definitions = _definitions(ProvisionStatus)
    further = [phase for phase in PHASES if phase not in _STAGES]
    error = _properties(ErrorInfo)
    error["stage"] |= {
        "description": "Stage or phase that failed; null where it did not get that far.",
        "enum": [*_STAGES, *further, None],
    }
    definitions["error"] |= _whole(error)
    return {
        "$schema": _DIALECT,
        "title": "prepare-models provisioning status",
        "description": "What a provisioning did: <models-dir>/provision.json, and what provision --json prints.",
        "$comment": _CLOSED,
        **definitions.pop(_name(ProvisionStatus)),
        "$defs": definitions,
    }


@functools.cache
def _fields() -> dict[str, dict[str, Schema]]:
    """Return what ``fields.json`` says about the fields of each type, as parts of a schema."""
    text = Path(__file__).with_name("fields.json").read_text(encoding="utf-8")
    return {
        kind: {
            name: _about(meaning) if isinstance(meaning, str) else _filled_in(meaning)
            for name, meaning in fields.items()
        }
        for kind, fields in json.loads(text).items()
    }


def _about(description: str) -> Schema:
    return {"description": description}


def _filled_in(rules: Mapping[str, Any]) -> Schema:
    """Return rules with the values that an ``@name`` stands for."""
    found = {key: _VALUES.get(rule, rule) if isinstance(rule, str) else rule for key, rule in rules.items()}
    if "enum" in found:
        found["enum"] = [value for each in found["enum"] for value in _VALUES.get(each, [each])]
    return found


def _whole(fields: Mapping[str, object]) -> Schema:
    """Return the schema of an object with exactly these fields."""
    return closed(fields, list(fields))


def _definitions(kind: object) -> dict[str, Schema]:
    """Return the schemas of a type and, recursively, of those in its fields, by name."""
    named = is_typeddict(kind)
    found = {_name(kind): _object(kind)} if named else {}
    for each in get_type_hints(kind).values() if named else get_args(kind):
        found |= _definitions(each)
    return found


def _name(kind: object) -> str:
    own = getattr(kind, "__name__", "")
    return _NAMES.get(own) or re.sub("(?<=[a-z])(?=[A-Z])", "_", own).lower()


def _object(kind: object) -> Schema:
    """Return the schema of a type, whose keys are all required unless they are ``_OPTIONAL``."""
    name, fields = getattr(kind, "__name__", ""), _properties(kind)
    required = [field for field in fields if field not in _OPTIONAL.get(name, ())]
    return {**_fields().get(name, {}).get("", {}), **_whole(fields), "required": required}


def _properties(kind: object) -> dict[str, Schema]:
    about = _fields().get(getattr(kind, "__name__", ""), {})
    return {field: _field(hint, about.get(field, {})) for field, hint in get_type_hints(kind).items()}


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
        simple = "type" in some and "properties" not in some
        return {**some, "type": [some["type"], "null"]} if simple else {"anyOf": [some, {"type": "null"}]}
    if hint in _SIMPLE:
        return {"type": _SIMPLE[hint]}
    return _object(hint) if getattr(hint, "__name__", "") in _INLINE else {"$ref": f"#/$defs/{_name(hint)}"}
