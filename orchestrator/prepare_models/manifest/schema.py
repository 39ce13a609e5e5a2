"""The JSON Schema of ``models.yaml``, derived from the table of settings."""

from __future__ import annotations

from prepare_models_entrypoint.contract.deployment import CONSUMER, DEPLOY_DIR
from prepare_models_entrypoint.contract.kinds import VARIABLE, OneOrMore, Schema, Whole
from prepare_models_entrypoint.contract.settings import closed, rows
from prepare_models_entrypoint.contract.shapes import DIMS, Shape
from prepare_models_entrypoint.contract.source import KINDS, NGC_EXAMPLE

from .model import DEFAULT_KEYS, MODEL_ROWS, NAME, TARGETS, Defaults
from .nodes import EXTENSION
from .variables import FORMS

_HTTP = {"type": "string", "pattern": "^[Hh][Tt][Tt][Pp]://"}
_EXAMPLE = {"name": "peoplesemsegnet", "source": "peoplesemseg.onnx", "precision": "fp16", "outputs": ["argmax_1"]}
_SHAPES = {
    "min": "Smallest shape that the engine takes.",
    "opt": "Shape for which the engine is tuned.",
    "max": "Largest shape that the engine takes.",
}
_SOURCES = (
    r"(?![A-Za-z][A-Za-z0-9+.-]*://)",
    "file:///",
    *(kind.pattern for kind in KINDS),
)
_VALUES = OneOrMore(Whole()).schema()
_RANGE_OF_VALUES = closed(dict.fromkeys(_SHAPES, _VALUES), list(_SHAPES))
_DEFINITIONS: Schema = {
    "variable": {
        "description": f"Text with a variable of the environment: {FORMS}.",
        "type": "string",
        "pattern": r"\$\{",
    },
    "text": {"type": ["string", "number", "boolean"], "minLength": 1},
    "source": {
        "description": "Where the bytes are: a path relative to the manifest, file:///, https://, "
        "ngc://org[/team]/model:version/file, hf://owner/repository[@revision]/file, "
        "s3:// and similar, a member of an archive (archive.tar.gz!inner/path), "
        "or catalog:NAME for a model of the catalog. An http:// source needs sha256.",
        "type": ["string", "number", "boolean"],
        "minLength": 1,
        "pattern": "|".join([*(f"^{form}" for form in _SOURCES), r"\$\{"]),
        "examples": ["peoplesemseg.onnx", "https://example.com/models.tar.gz!inner/model.onnx", NGC_EXAMPLE],
    },
    "shape": {
        "description": "Dimensions, each at least 0. A bare integer is a shape of one dimension.",
        "anyOf": [
            {"type": "integer", "minimum": 0},
            {"type": "string", "pattern": r"^[0-9]{1,18}(x[0-9]{1,18})*$|\$\{"},
            DIMS,
        ],
        "examples": ["1x3x544x960", 16, [1, 3, 544, 960]],
    },
    "shapes": {
        "description": "One shape, or rising min, opt and max of the same rank. For an input whose values become sizes "
        "inside the network (a shape tensor): its values.",
        "anyOf": [
            Shape().schema(),
            closed({end: {"description": text, **Shape().schema()} for end, text in _SHAPES.items()}, list(_SHAPES)),
            closed(
                {"values": {"description": "Numbers of a shape tensor.", "anyOf": [_VALUES, _RANGE_OF_VALUES]}},
                ["values"],
            ),
        ],
    },
}


def manifest_schema() -> Schema:
    """Return the schema."""
    settings = {row.key: row.schema() for row in MODEL_ROWS}
    settings["calibration_cache"]["not"] = _HTTP
    settings |= {row.key: row.schema() for row in rows(Defaults)}
    shared = {key: {"$ref": f"#/$defs/{key}"} for key in DEFAULT_KEYS}  # by models and defaults alike
    model = {
        **closed({row.key: shared.get(row.key, settings[row.key]) for row in MODEL_ROWS}, ["name", "source"]),
        "if": {"required": ["source"], "properties": {"source": _HTTP}},
        "then": {"required": ["sha256"]},
        "examples": [_EXAMPLE],
    }
    version = {"description": "Version of the manifest's format.", "anyOf": [{"const": 1}, {"const": "1"}, VARIABLE]}
    frame = {
        "version": {**version, "examples": [1]},
        "defaults": {
            "description": "Settings for models that do not set their own. Options of builder are taken one by one.",
            **closed(shared),
            "examples": [{"precision": "fp16", "builder": {"workspace": "2GiB"}}],
        },
        "deploy_dir": {
            "description": "The models directory as the consumers see it, such as a mount of their container.",
            **DEPLOY_DIR.schema(), "examples": ["/workspaces/isaac_ros-dev/models"],
        },
        "consumers": {
            "description": "Consumers to check for, with a release where it matters.",
            "anyOf": [CONSUMER.schema(), {"type": "array", "minItems": 1, "items": CONSUMER.schema()}],
            "examples": ["isaac-ros@5.0", ["isaac-ros@4.6", "triton"]],
        },
        "targets": {
            "description": "Device classes that engines are built for, by names. prepare-models worker prints its own.",
            **TARGETS.schema(), "minProperties": 1, "propertyNames": {"pattern": f"^{NAME.pattern}$"},
            "examples": [{"orin": "sm_87/trt10.3", "rtx": "portable/rtx1.7"}],
        },
        "models": {
            "description": "The models, in the order in which they are prepared.",
            "type": "array", "minItems": 1, "items": {"$ref": "#/$defs/model"}, "examples": [[_EXAMPLE]],
        },
    }  # fmt: skip
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "prepare-models manifest",
        "description": "models.yaml: which models to prepare, and how. Scalars may hold variables: "
        f"{FORMS}; $$ stands for a dollar sign.",
        "$comment": "For editors. prepare-models itself also checks what a schema can't: unique names, rising shapes, "
        "set variables, formats that can't be converted.",
        **closed(frame, ["version", "models"]),
        "examples": [{"version": 1, "models": [_EXAMPLE]}],
        "$defs": {**_DEFINITIONS, **{key: settings[key] for key in DEFAULT_KEYS}, "model": model},
    }
    return {name: _extensible(part) for name, part in schema.items()}


def _extensible(part: object) -> object:
    """Allow the user's own keys in objects with fixed keys."""
    if isinstance(part, list):
        return [_extensible(each) for each in part]
    if not isinstance(part, dict):
        return part
    found = {name: _extensible(each) for name, each in part.items()}
    if found.get("additionalProperties") is False and "properties" in found:
        found["patternProperties"] = {f"^{EXTENSION}": {}}
    return found
