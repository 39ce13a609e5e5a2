"""Manifests that the tool writes: models with comments, in YAML that ``load`` reads back unchanged."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from prepare_models_entrypoint.contract.source import Source, split_pin

from ..catalog import PREFIX
from ..support.paths import refuse_other_bytes

START = "version: 1\nmodels:\n"
HEAD = f"""\
# models.yaml: which networks become engines. docs/manifest.md explains every key.
#
#   prepare-models plan models.yaml     what would be done, and why
#   prepare-models run models.yaml      do it
#   prepare-models lock models.yaml     pin every byte for the next run
#
# Commented lines show what else a model can have; remove the # to set it.
{START}"""
_WIDTH = 116
# Text that YAML reads back unchanged without quotes, and words that it would read as something else.
_PLAIN = r"[A-Za-z/][A-Za-z0-9/._:@!+=-]*(?<!:)|\d+(x\d+)+"
_WORDS = ("null", "true", "false", "yes", "no", "on", "off", "y", "n")


@dataclass(frozen=True)
class Draft:
    """One model of a manifest to be written.

    entry: its keys and values, in reading order.
    about: comments before it. beside: comments by key. optional: keys and values that are written as comments.
    """

    entry: Mapping[str, object]
    about: Sequence[str] = ()
    beside: Mapping[str, str] = field(default_factory=dict)
    optional: Mapping[str, object] = field(default_factory=dict)


def entry_of(text: str, base: Path, name: str | None = None) -> dict[str, object]:
    """Return name, source and digest of a model that the user gave, for a manifest in the directory ``base``."""
    source, sha256 = split_pin(text)
    entry: dict[str, object] = {"name": name or _name_of(source), "source": _placed(source, base)}
    return entry if sha256 is None else {**entry, "sha256": sha256}


def _name_of(source: str) -> str:
    """Return a name for a model, derived from its file's name."""
    if source.startswith(PREFIX):
        return source.removeprefix(PREFIX)
    file = Source.of(source).inner or source
    last = re.split("[/=]", file if "?file=" in file else file.partition("?")[0])[-1]
    return re.sub("[^a-z0-9._-]+", "-", PurePosixPath(last).stem.lower()).lstrip("._-")[:128] or "model"


def _placed(source: str, base: Path) -> str:
    outer = Source.of(source).outer
    if outer.path is None or outer.scheme is not None or source.startswith(PREFIX):
        return source
    return path_in(outer.path, base) + source[len(outer.text) :]


def path_in(path: Path, base: Path) -> str:
    """Return a path relative to ``base`` if it is below it, else absolute."""
    there = path.expanduser().absolute()
    return str(there.relative_to(base)) if there.is_relative_to(base) else str(there)


def manifest(drafts: Sequence[Draft], head: str = HEAD) -> str:
    """Return the text of a manifest with these models."""
    return head + "\n".join(model(draft) for draft in drafts)


def model(draft: Draft) -> str:
    """Return the lines of one model under ``models:``."""
    about = [f"  {part}" for line in draft.about for part in _wrapped(line)]
    lines = []
    for key, value in draft.entry.items():
        first, *more = yaml_lines(key, value)
        beside = draft.beside.get(key)
        lines += [f"{first}  # {_one_line(beside)}" if beside else first, *more]
    head = [f"  {'-' if number == 0 else ' '} {line}" for number, line in enumerate(lines)]
    optional = [f"    # {line}" for key, value in draft.optional.items() for line in yaml_lines(key, value)]
    return "\n".join([*about, *head, *optional]) + "\n"


def _wrapped(line: str) -> list[str]:
    return textwrap.wrap(f"# {_one_line(line)}", _WIDTH, subsequent_indent="#   ", break_long_words=False)


def _one_line(text: str) -> str:
    """Return a one-line comment, whatever an untrusted name contains."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def yaml_lines(key: str, value: object) -> list[str]:
    """Return a key with its value; a mapping gets a line for each of its keys."""
    if isinstance(value, Mapping) and key in ("inputs", "outputs"):
        return [f"{key}:", *(f"  {_quoted(str(name))}: {_flow(item)}" for name, item in value.items())]
    return [f"{key}: {_flow(value)}"]


def _flow(value: object) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {_flow(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_quoted(item) if isinstance(item, str) else _flow(item) for item in value) + "]"
    if isinstance(value, str):
        return value if re.fullmatch(_PLAIN, value) and value.lower() not in _WORDS else _quoted(value)
    return json.dumps(value)


def _quoted(text: str) -> str:
    """Return a text in double quotes, with dollar signs escaped. Raises a UsageError if it is not UTF-8."""
    refuse_other_bytes(text)
    plain = json.dumps(text.replace("$", "$$"), ensure_ascii=False)
    return "".join(letter if letter.isprintable() else f"\\U{ord(letter):08x}" for letter in plain)
