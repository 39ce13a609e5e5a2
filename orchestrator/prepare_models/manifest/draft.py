"""Manifests that the tool writes: models with comments, in YAML that ``load`` reads back unchanged."""

from __future__ import annotations

import json
import os
import re
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import field
from pathlib import Path, PurePosixPath

from prepare_models_entrypoint.contract.files import write_atomic
from prepare_models_entrypoint.contract.precision import AUTO
from prepare_models_entrypoint.contract.source import Source, split_pin
from prepare_models_entrypoint.contract.values import Value

from ..catalog import PREFIX, Entry
from ..errors import ManifestError, Problem, UsageError
from ..support.os_errors import writing
from ..support.paths import refuse_other_bytes
from .load import NO_FILE, of_text
from .model import Manifest

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


class Draft(Value):
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
    there = Path(os.path.expanduser(path)).absolute()  # which leaves unknown users as they are
    return str(there.relative_to(base)) if there.is_relative_to(base) else str(there)


def manifest(drafts: Sequence[Draft], head: str = HEAD) -> str:
    """Return the text of a manifest with these models."""
    return head + "\n".join(model(draft) for draft in drafts)


def model(draft: Draft) -> str:
    """Return the lines of one model under ``models:``."""
    about = [
        f"  {part}"
        for line in draft.about
        for part in textwrap.wrap(f"# {_one_line(line)}", _WIDTH, subsequent_indent="#   ", break_long_words=False)
    ]
    lines = []
    for key, value in draft.entry.items():
        first, *more = yaml_lines(key, value)
        beside = draft.beside.get(key)
        lines += [f"{first}  # {_one_line(beside)}" if beside else first, *more]
    head = [f"  {'-' if number == 0 else ' '} {line}" for number, line in enumerate(lines)]
    optional = [f"    # {line}" for key, value in draft.optional.items() for line in yaml_lines(key, value)]
    return "\n".join([*about, *head, *optional]) + "\n"


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


def of_entry(entry: Entry) -> Draft:
    """Return a draft of a model with the catalog's settings, and its notes as comments."""
    about = [", ".join(filter(None, (entry.family, entry.task.replace("_", " "), entry.format)))]
    about += [f"- {note}" for note in entry.notes]
    if "eula" in entry.manifest:
        about.append("- has terms: read them at eula, then run with --accept-eula")
    return Draft(
        {"name": entry.name, "source": f"{PREFIX}{entry.name}"},
        about=about,
        beside={"source": str(entry.manifest["source"])},
        optional={key: value for key, value in entry.manifest.items() if key != "source"},
    )


_SAMPLED = ("int8", "fp8", AUTO)  # precisions with scales from samples
_ITS_MODEL = "models[0]"

ShapeText = str | Sequence[int]


class SingleModel(Value):
    """A model and how it is converted; None or empty values get the manifest's defaults.

    source: path, URL or ``catalog:NAME``, with ``#sha256=`` if pinned.
    shapes: by input, one shape such as ``1x3x640x640``, or ``min``, ``opt`` and ``max`` for a dynamic one.
    images: directory of samples.
    """

    source: str
    name: str | None = None
    precision: str | None = None
    shapes: Mapping[str, ShapeText | Mapping[str, ShapeText]] = field(default_factory=dict)
    images: Path | None = None
    key_file: Path | None = None
    key_env: str | None = None

    def draft(self, base: Path) -> Draft:
        """Return a draft of the model for a manifest in the directory ``base``.

        Raises:
            UsageError: its source needs a digest, or there are no samples.
        """
        source, sha256 = split_pin(self.source)
        entry = entry_of(self.source, base, name=self.name)
        if Source.of(source).scheme == "http" and sha256 is None:
            hint = f"pin it: {source}#sha256=DIGEST, with the digest that its publisher names"
            raise UsageError("an http:// source needs its sha256, as anyone in between may change its bytes", hint=hint)
        if self.key_env:
            entry["key"] = {"env": self.key_env}
        elif self.key_file:
            entry["key"] = {"file": path_in(self.key_file, base)}
        if self.precision:
            entry["precision"] = self.precision
        if self.shapes:
            entry["inputs"] = {name: _plain(shape) for name, shape in self.shapes.items()}
        if self.images:
            if not os.path.isdir(os.path.expanduser(self.images)):
                raise UsageError(
                    f"{self.images} is not a directory", hint="give one with typical samples: --images DIR"
                )
            use = "calibration" if self.precision in _SAMPLED else "verify"
            entry[use] = {"images": path_in(self.images, base)}
        return Draft(entry)


def load(drafted: Draft, target: Path | None) -> Manifest:
    """Return a manifest with this model. ``target``: file to which it is written, if any.

    Raises:
        UsageError: a value is invalid.
    """
    try:
        return of_text(manifest([drafted]), target or NO_FILE)
    except ManifestError as error:  # its line numbers are of a manifest that the user didn't write
        raise UsageError("\n".join(map(_told_of, error.problems))) from None


def keep(drafted: Draft, target: Path) -> None:
    """Write a manifest with this model.

    Raises:
        UsageError: another one already exists.
        HostError: it can't be written.
    """
    content = manifest([drafted]).encode("utf-8")
    with writing(target, "choose another with --write-manifest"):
        if target.exists() and target.read_bytes() != content:
            raise UsageError(f"{target} exists with other content", hint="choose another with --write-manifest")
        write_atomic(target, content)


def _plain(shape: ShapeText | Mapping[str, ShapeText]) -> object:
    if isinstance(shape, Mapping):
        return {end: _plain(each) for end, each in shape.items()}
    return shape if isinstance(shape, str) else "x".join(map(str, shape))


def _told_of(problem: Problem) -> str:
    setting = problem.path.removeprefix(f"{_ITS_MODEL}.")
    return problem.message if setting in (_ITS_MODEL, "source") else f"{setting}: {problem.message}"
