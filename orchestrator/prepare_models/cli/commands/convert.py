"""``prepare-models convert``."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from prepare_models_entrypoint.contract.files import write_atomic
from prepare_models_entrypoint.contract.kinds import OneOf
from prepare_models_entrypoint.contract.precision import AUTO, PRECISIONS, SPELLINGS
from prepare_models_entrypoint.contract.shape_kinds import Shape
from prepare_models_entrypoint.contract.source import Source, split_pin

from ...errors import HostError, ManifestError, UsageError
from ...manifest import draft
from ...manifest.draft import Draft
from ...manifest.load import of_text
from ...manifest.model import NAME, Manifest
from ...reports import text
from .. import selection
from ..options import add_delivery, value
from . import run

EXAMPLE = """\
example:
  prepare-models convert model.onnx --precision fp16
  prepare-models convert model.onnx --precision int8 --images samples --write-manifest models.yaml
  prepare-models convert hf://onnx-community/yolov10n@main/onnx/model.onnx --name yolov10n

exit status: 0 the engine is good, 1 the model failed, 2 usage error,
3 this machine can't do it, 70 a bug, 130 interrupted
"""
_UNWRITTEN = Path("-")  # the manifest of an engine that was converted without one
_SAMPLED = ("int8", "fp8", AUTO)  # precisions for which samples decide the scales


def add_arguments(convert: argparse.ArgumentParser) -> None:
    """Add what ``convert`` takes."""
    convert.add_argument("model", metavar="MODEL", help="path, https://, ngc:// or hf:// URL, or catalog:NAME")
    convert.add_argument(
        "--name", type=_name, help="the model's directory and its name in Triton (default: the file's)"
    )
    convert.add_argument(
        "--precision", type=_precision, metavar="PRECISION",
        help=f"{', '.join(PRECISIONS)} or {AUTO} (default: that of the catalog's entry, else fp32)",
    )  # fmt: skip
    convert.add_argument(
        "--shape", type=_shape, action="append", default=[], metavar="NAME=SHAPE",
        help="shape of a dynamic input, such as x=1x3x640x640, or MIN:OPT:MAX, such as x=1x3x64x64:4x3x64x64:8x3x64x64",
    )  # fmt: skip
    convert.add_argument(
        "--images",
        type=Path,
        metavar="DIR",
        help="typical samples: they calibrate int8, and the engine is verified on them",
    )
    key = convert.add_mutually_exclusive_group()
    key.add_argument("--key-file", type=Path, metavar="FILE", help="file that holds the key of an .etlt")
    key.add_argument("--key-env", metavar="VARIABLE", help="environment variable that holds the key of an .etlt")
    convert.add_argument("--write-manifest", type=Path, metavar="FILE", help="write the manifest that repeats this")
    add_delivery(convert, "-o", "--models-dir")
    run.add_building(convert)
    convert.set_defaults(bundle=None, jobs=1, fail_fast=False)  # of run, for one model without a bundle


def main(arguments: argparse.Namespace) -> int:
    """Convert a model as ``run`` does, and print the manifest that repeats it."""
    started = time.time()
    run.get_ready(arguments)
    target = arguments.write_manifest
    drafted = _draft(arguments, (target or Path("models.yaml")).absolute().parent)
    loaded = _loaded(draft.manifest([drafted]), target)
    specs, executor = selection.delivered(loaded.models, arguments), selection.executor(arguments)
    if target is not None:
        _keep(target, draft.manifest([drafted]))
    report = run.perform(arguments, loaded, specs, executor, started=started)
    shown = (
        f"manifest  {target}"
        if target
        else f"\nthe same as a manifest:\n\n{draft.manifest([drafted], head=draft.START)}"
    )
    text.write(run.document_of(report) if arguments.json else f"{text.converted(report)}\n{shown}".rstrip())
    return run.status(report)


def _draft(arguments: argparse.Namespace, base: Path) -> Draft:
    """Return the model of the command line. ``base``: directory of its manifest."""
    source, sha256 = split_pin(arguments.model)
    entry = draft.entry_of(arguments.model, base, name=arguments.name)
    if Source.of(source).scheme == "http" and sha256 is None:
        hint = f"pin it: {source}#sha256=DIGEST, with the digest that its publisher names"
        raise UsageError("an http:// source needs its sha256, as anybody on the way may change its bytes", hint=hint)
    if arguments.key_env or arguments.key_file:
        entry["key"] = (
            {"env": arguments.key_env} if arguments.key_env else {"file": draft.path_in(arguments.key_file, base)}
        )
    if arguments.precision:
        entry["precision"] = arguments.precision
    if arguments.shape:
        entry["inputs"] = dict(arguments.shape)
    if arguments.images:
        if not arguments.images.expanduser().is_dir():
            raise UsageError(
                f"{arguments.images} is not a directory", hint="give one with typical samples: --images DIR"
            )
        use = "calibration" if arguments.precision in _SAMPLED else "verify"
        entry[use] = {"images": draft.path_in(arguments.images, base)}
    return Draft(entry)


def _loaded(manifest: str, target: Path | None) -> Manifest:
    try:
        return of_text(manifest, target or _UNWRITTEN)
    except ManifestError as error:  # lines and keys of a manifest that the user did not write
        raise UsageError("\n".join(problem.message for problem in error.problems)) from None


def _keep(target: Path, manifest: str) -> None:
    try:
        if target.exists() and target.read_bytes() != manifest.encode("utf-8"):
            raise UsageError(f"{target} exists with other content", hint="choose another with --write-manifest")
        write_atomic(target, manifest.encode("utf-8"))
    except OSError as error:
        hint = "choose another with --write-manifest"
        raise HostError(f"{target} can't be written: {error.strerror}", hint=hint) from None


def _name(given: str) -> str:
    return str(value(NAME, given))


def _precision(given: str) -> str:
    return str(value(OneOf(*PRECISIONS, AUTO, spellings=SPELLINGS), given))


def _shape(given: str) -> tuple[str, object]:
    name, equals, shapes = given.rpartition("=")
    ends = [str(each).replace(",", "x") for each in shapes.split(":")]
    if not name or not equals or len(ends) not in (1, 3):
        raise argparse.ArgumentTypeError(f"expected NAME=1x3x640x640 or NAME=MIN:OPT:MAX, found {given!r}")
    for end in ends:
        value(Shape(), end)
    return name, ends[0] if len(ends) == 1 else dict(zip(("min", "opt", "max"), ends, strict=True))
