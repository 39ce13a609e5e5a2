"""A manifest to begin with: models of the catalog, and as comments what the catalog says of each."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Sequence

from . import PREFIX, Entry

_HEAD = """\
# models.yaml: which networks become engines. Every key is told in docs/manifest.md.
#
#   prepare-models plan models.yaml     what would be done, and why
#   prepare-models run models.yaml      do it
#   prepare-models lock models.yaml     pin every byte for the next run
#
# A model takes what the catalog says of it. The commented lines show that; uncomment one to say otherwise.
version: 1
models:
"""
_WIDTH = 116
_PLAIN = re.compile(r"[A-Za-z/]\S*|\d+(x\d+)+")  # what YAML reads as the same text without quotes


def manifest(chosen: Sequence[Entry]) -> str:
    """Return the text of a manifest with these models."""
    return _HEAD + "\n".join(_model(entry) for entry in chosen)


def _model(entry: Entry) -> str:
    about = ", ".join(filter(None, (entry.family, entry.task.replace("_", " "), entry.format)))
    lines = [f"# {about}"]
    lines += [f"# - {note}" for note in entry.notes]
    if "eula" in entry.manifest:
        lines.append("# - has terms: read them at eula, then run with --accept-eula")
    wrapped = [
        part for line in lines for part in textwrap.wrap(line, _WIDTH, subsequent_indent="#   ", break_long_words=False)
    ]
    head = [f"  - name: {entry.name}", f"    source: {PREFIX}{entry.name}  # {entry.manifest['source']}"]
    told = [f"    # {line}" for key in entry.manifest if key != "source" for line in _yaml(key, entry.manifest[key])]
    return "\n".join([*(f"  {line}" for line in wrapped), *head, *told]) + "\n"


def _yaml(key: str, value: object) -> list[str]:
    if isinstance(value, dict):
        return [f"{key}:", *(f"  {json.dumps(name)}: {_flow(item)}" for name, item in value.items())]
    return [f"{key}: {_flow(value)}"]


def _flow(value: object) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_flow(item)}" for key, item in value.items()) + "}"
    quoted = isinstance(value, list) or (isinstance(value, str) and not _PLAIN.fullmatch(value))
    return json.dumps(value) if quoted else str(value)
