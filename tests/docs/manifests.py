"""Parts of manifests, as pages show them, against the manifest's schema."""

from __future__ import annotations

import functools
from typing import Any

import jsonschema
import yaml

from prepare_models.manifest.schema import manifest_schema


def judge(source: str) -> None:
    """Complete a part of a manifest to a whole one, which has to fit the schema."""
    part = yaml.safe_load(source)
    if part is None:  # a comment, such as that which names the schema
        return
    top = _schema()["properties"]
    whole = part if part.keys() <= top.keys() else {"models": [part]}
    models = [{"name": "model", "source": "model.onnx", **model} for model in whole.get("models", [{}])]
    jsonschema.validate({"version": 1, **whole, "models": models}, _schema())


@functools.cache
def _schema() -> dict[str, Any]:
    return manifest_schema()
