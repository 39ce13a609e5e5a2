"""``prepare-models convert``."""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

from prepare_models_entrypoint.contract.kinds import OneOf
from prepare_models_entrypoint.contract.precision import AUTO, PRECISIONS, SPELLINGS
from prepare_models_entrypoint.contract.shapes import Shape

from ... import api
from ...manifest.model import NAME
from ...reports import text
from .. import building
from ..building import add_building, observer, reports
from ..options import add, add_delivery, value

EXAMPLE = """\
example:
  prepare-models convert model.onnx --precision fp16
  prepare-models convert model.onnx --precision int8 --images samples --write-manifest models.yaml
  prepare-models convert hf://onnx-community/yolov10n@main/onnx/model.onnx --name yolov10n

exit status: 0 the engine is good, 1 the model failed, 2 usage error,
3 this machine can't do it, 70 a bug, 130 interrupted
"""


def add_arguments(convert: argparse.ArgumentParser) -> None:
    """Add what ``convert`` takes."""
    add(convert, "model", "path, https://, ngc:// or hf:// URL, or catalog:NAME", "MODEL")
    add(convert, "--name", "the model's directory and its name in Triton (default: the file's)", partial(value, NAME))
    precision = OneOf(*PRECISIONS, AUTO, spellings=SPELLINGS)
    text = f"{', '.join(PRECISIONS)} or {AUTO} (default: that of the catalog's entry, else fp32)"
    add(convert, "--precision", text, partial(value, precision), metavar="PRECISION")
    text = "shape of a dynamic input, such as x=1x3x640x640, or MIN:OPT:MAX, such as x=1x3x64x64:4x3x64x64:8x3x64x64"
    add(convert, "--shape", text, _shape, many=True, metavar="NAME=SHAPE")
    text = "typical samples: they calibrate int8, and the engine is verified on them"
    add(convert, "--images", text, Path, metavar="DIR")
    key = convert.add_mutually_exclusive_group()
    add(key, "--key-file", "file that holds the key of an .etlt", Path)
    add(key, "--key-env", "environment variable that holds the key of an .etlt", "VARIABLE")
    add(convert, "--write-manifest", "write the manifest that repeats this conversion", Path)
    add_delivery(convert, "-o --models-dir")
    add_building(convert)


def main(arguments: argparse.Namespace) -> int:
    """Convert a model as ``run`` does, and print the manifest that repeats it."""
    target = arguments.write_manifest
    with observer(arguments) as listener:
        report = api.convert(
            arguments.model,
            name=arguments.name,
            precision=arguments.precision,
            shapes=dict(arguments.shape),
            images=arguments.images,
            key_file=arguments.key_file,
            key_env=arguments.key_env,
            write_manifest=target,
            **building.place(arguments),
            timeout_s=arguments.timeout,
            accept_eula=arguments.accept_eula,
            reports=reports(arguments),
            observer=listener,
        )
    parts = [*text.converted(report.document), *([f"manifest  {target}"] if target else [])]
    status = building.ended(report, arguments, parts)
    if target is None and report.ok and not arguments.json:
        text.write(f"\nthe same as a manifest:\n\n{report.manifest}".rstrip())
    return status


def _shape(given: str) -> tuple[str, object]:
    name, equals, shapes = given.rpartition("=")
    ends = [str(each).replace(",", "x") for each in shapes.split(":")]
    if not name or not equals or len(ends) not in (1, 3):
        raise argparse.ArgumentTypeError(f"expected NAME=1x3x640x640 or NAME=MIN:OPT:MAX, found {given!r}")
    for end in ends:
        value(Shape(), end)
    return name, ends[0] if len(ends) == 1 else dict(zip(("min", "opt", "max"), ends, strict=True))
