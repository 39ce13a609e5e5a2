"""``prepare-models init``."""

from __future__ import annotations

import argparse
import os
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from prepare_models_entrypoint.contract.converters import is_encrypted
from prepare_models_entrypoint.contract.files import write_atomic
from prepare_models_entrypoint.contract.source import Source

from ... import catalog
from ...errors import EXIT_OK, UsageError
from ...manifest import draft
from ...manifest.draft import Draft
from ...running import inspecting
from ...support.os_errors import writing
from ...support.page import columns, show
from ..options import add

_EXAMPLE = "peoplesemsegnet-shuffleseg-onnx"
_KEY = "MODEL_KEY"  # variable for the key of an encrypted model, to be renamed by the user

EXAMPLE = (
    "example:\n  prepare-models init model.onnx\n"
    "  prepare-models init peoplesemsegnet-shuffleseg-onnx bi3d-featnet-2.0.0 -o models.yaml"
)


def add_arguments(init: argparse.ArgumentParser) -> None:
    """Add what ``init`` takes."""
    add(init, "names", "files, URLs, and names of the catalog (default: one as an example)", "MODEL", nargs="*")
    add(init, "-o --output", "default: models.yaml", Path, default=Path("models.yaml"))
    add(init, "--force", "replace the file")


def main(arguments: argparse.Namespace) -> int:
    """Write a manifest to start from."""
    target = arguments.output
    if os.path.lexists(target) and not arguments.force:
        raise UsageError(f"{target} already exists", hint="choose another with --output FILE, or give --force")
    models = list(dict.fromkeys(arguments.names or [_EXAMPLE]))
    files = [text for text in models if _is_file(text)]
    documents = inspecting.inspect(list(map(Path, files))) if files else []
    of_file = dict(zip(files, documents, strict=True))
    drafts = _distinct([_draft(text, of_file.get(text), target.absolute().parent) for text in models])
    with writing(target, "choose another with --output"):
        write_atomic(target, draft.manifest(drafts).encode("utf-8"))
    names = ", ".join(str(each.entry["name"]) for each in drafts)
    show(f"{target}: {names}\nnext: prepare-models plan {shlex.quote(str(target))}")
    return EXIT_OK


def _is_file(text: str) -> bool:
    path = Source.of(text).path
    return path is not None and text not in catalog.entries() and (path.suffix.lower() == ".onnx" or path.is_file())


def _draft(text: str, document: Mapping[str, Any] | None, base: Path) -> Draft:
    if document is not None:
        return _of_file(draft.entry_of(text, base), document)
    if Source.of(text).is_remote or Source.of(text).archive is not None:
        problem = Source.of(text).problem
        if problem is not None:
            raise UsageError(f"{text} is not a source", hint=f"write {problem}")
        return Draft(draft.entry_of(text, base), optional={"precision": "fp16"})
    return draft.of_entry(catalog.find(text.removeprefix(catalog.PREFIX)))


def _of_file(entry: dict[str, object], document: Mapping[str, Any]) -> Draft:
    """Return a draft of a model, from its file."""
    error = document["error"]
    if error is not None and error["code"] != "module-missing":
        raise UsageError(error["message"], hint=error["hint"])
    if document["format"] == "plan":
        raise UsageError(f"{document['file']} is an engine already", hint="give the model that it was built from")
    about = [f"{document['format'] or 'onnx'}, {document['bytes']} bytes"]
    if error is not None:
        about.append(f"- names and shapes were not read: {error['message']}; {error['hint']}")
    if is_encrypted(str(entry["source"])):
        entry["key"] = {"env": _KEY}
        about.append(f"- encrypted: its key is on the page of the model; export {_KEY}=...")
    io = document["io"] or []
    about += [f"- {line}" for line in columns([(b["mode"], b["name"], b["dtype"], _shape(b["dims"])) for b in io])]
    dynamic = {b["name"]: _shape(b["dims"]) for b in io if b["mode"] == "input" and _is_dynamic(b["dims"])}
    optional: dict[str, object] = {"precision": "fp16"}
    if dynamic:
        about.append("- has dynamic axes: remove the # before inputs: and enter the sizes that it was trained with")
        optional["inputs"] = dynamic
    outputs = [b["name"] for b in io if b["mode"] == "output"]
    return Draft(entry, about=about, optional={**optional, "outputs": outputs} if outputs else optional)


def _is_dynamic(dims: Sequence[int | str | None] | None) -> bool:
    return dims is None or any(not isinstance(size, int) or size < 0 for size in dims)


def _shape(dims: Sequence[int | str | None] | None) -> str:
    """Return dimensions with the names of dynamic axes in capitals; an unnamed axis is named by its number."""
    if dims is None:
        return "SHAPE"
    named = [
        str(size) if isinstance(size, int) else re.sub("[^A-Z0-9_]", "_", (size or f"AXIS_{axis}").upper())
        for axis, size in enumerate(dims)
    ]
    return "x".join(named) or "()"


def _distinct(drafts: Sequence[Draft]) -> list[Draft]:
    """Return models with names that differ: a second ``model`` is ``model-2``."""
    seen: dict[object, int] = {}
    found = []
    for each in drafts:
        name = each.entry["name"]
        seen[name] = seen.get(name, 0) + 1
        named = name if seen[name] == 1 else f"{name}-{seen[name]}"
        found.append(replace(each, entry={**each.entry, "name": named}))
    return found
