"""The catalog of published models: facts from their publishers' scripts and pages, as data in ``models.json``.

Nothing in it has been tried, and no publisher gives a sha256: your first trusted fetch records it in the lock.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from prepare_models_entrypoint.contract.spelling import near
from prepare_models_entrypoint.contract.values import Value

from ..errors import UsageError

PREFIX = "catalog:"

# Manifest keys that an entry may give for a model, in reading order.
MANIFEST_KEYS = ("source", "precision", "key", "calibration_cache", "inputs", "outputs", "tao", "deepstream", "eula")


class Entry(Value):
    """One published model.

    manifest: its settings, by a manifest's keys.
    family: the model's name on NGC. task: what it does; empty if no source says so.
    isaac_ros: releases that use it.
    notes: what to know before using it. sources: where the facts come from.
    """

    name: str
    family: str
    format: str
    manifest: Mapping[str, object]
    task: str
    isaac_ros: str
    notes: tuple[str, ...]
    sources: tuple[str, ...]

    def to_dict(self) -> dict[str, object]:
        """Return the JSON form."""
        return {**vars(self), "manifest": dict(self.manifest), "notes": list(self.notes), "sources": list(self.sources)}


@functools.cache
def entries() -> dict[str, Entry]:
    """Return all models by name."""
    return {raw["name"]: _entry(raw) for raw in _data()["models"]}


@functools.cache
def unusable() -> dict[str, tuple[str, str]]:
    """Return the published models that a manifest can't use, by name: the URL of each, and why not."""
    return {raw["name"]: (raw["url"], raw["why"]) for raw in _data()["unusable"]}


def find(name: str) -> Entry:
    """Return the entry with this name.

    Raises:
        UsageError: there is none; the message has similar names, or says why this model can't be used.
    """
    found = entries().get(name)
    if found is not None:
        return found
    if name in unusable():
        url, why = unusable()[name]
        raise UsageError(f"{name} can't be taken from the catalog: {why}", hint=f"it is at {url}")
    meant = near(name, entries(), 0.4)
    hint = f"did you mean {', '.join(meant)}?" if meant else "prepare-models catalog list"
    raise UsageError(f"the catalog has no model {name}", hint=hint)


def search(words: Sequence[str]) -> list[Entry]:
    """Return the entries that contain every word, in any case and field."""
    wanted = [word.lower() for word in words]
    texts = ((entry, json.dumps(entry.to_dict()).lower()) for entry in entries().values())
    return [entry for entry, text in texts if all(word in text for word in wanted)]


def _data() -> dict[str, Any]:
    file = Path(__file__).with_name("models.json")
    document: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return document


def _entry(raw: Mapping[str, Any]) -> Entry:
    facts = {"task": "", "isaac_ros": "", **{key: each for key, each in raw.items() if key not in MANIFEST_KEYS}}
    manifest = {key: raw[key] for key in MANIFEST_KEYS if key in raw}
    return Entry(**{**facts, "notes": tuple(raw.get("notes", ())), "sources": tuple(raw["sources"])}, manifest=manifest)
