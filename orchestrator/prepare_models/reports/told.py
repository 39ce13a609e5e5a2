"""How a field of a report is described in the schema."""

from __future__ import annotations

from collections.abc import Mapping

from prepare_models_entrypoint.contract.digest import SHA256
from prepare_models_entrypoint.contract.kinds import Schema
from prepare_models_entrypoint.contract.settings import closed

HEX64 = f"^{SHA256}$"  # pattern of a sha256


def told(description: str = "", *, ref: str = "", **rules: object) -> Schema:
    """Return what the schema says about a field besides its type: a description, and rules by JSON Schema's names."""
    about: Schema = {"description": description} if description else {}
    return {**about, **({"$ref": f"#/$defs/{ref}"} if ref else {}), **rules}


def whole(fields: Mapping[str, object], description: str = "") -> Schema:
    """Return the schema of an object with exactly these fields."""
    return {**told(description), **closed(fields, list(fields))}
