"""``prepare-models bundle``."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from prepare_models_entrypoint.contract import sizes

from ...bundle.index import Index
from ...errors import EXIT_OK, UsageError
from ...machine import platforms
from ...manifest.model import terms_accepted
from ...running.fetch_process import counted
from ...support import paths
from ...support.page import Part, Table, byte_lines
from .. import printing
from ..options import add, add_output, add_require, add_sign, add_table, command, share, signatures, signer

EXAMPLE = """\
example:
  prepare-models bundle create models.yaml -o site.bundle --platform rtx
  prepare-models bundle verify site.bundle
  prepare-models run --bundle site.bundle --models-dir models

exit status: 0 good, 1 the bundle is damaged or incomplete, or something is missing or has drifted, 2 usage error,
3 this machine can't do it, 70 a bug, 130 interrupted
"""


def add_arguments(bundle: argparse.ArgumentParser) -> None:
    """Add what ``bundle`` takes."""
    actions = bundle.add_subparsers(dest="action", metavar="ACTION", required=True)
    example = "models.yaml -o site.bundle --platform rtx"
    create = command(actions, "create", "make a bundle from a locked manifest", example)
    verify = command(actions, "verify", "check every byte of a bundle", "site.bundle")
    listed = command(actions, "ls", "list what is in a bundle", "site.bundle")
    for each in (verify, listed):
        add(each, "bundle", "bundle", Path)
    share(verify, "--base")
    add_require(verify)
    add_table(listed, "index")
    add_output(verify, table=False)

    add(create, "manifest", "models.yaml, with its lock next to it", Path, metavar="MANIFEST")
    add(create, "-o --output", "bundle to write", Path, required=True)
    text = "include this platform's image; local: wheels that build without containers; may be repeated"
    add(create, "--platform", text, "NAME[=IMAGE]", many=True)
    share(create, "--base")
    add(create, "--python", "Python that installs the wheels (default: this one's)", "VERSION")
    share(create, "--arch", "architecture of its machine (default: this one's)")
    add(create, "--wheels", "take wheels from DIR before any other", Path, metavar="DIR")
    create.add_argument("--no-wheels", dest="with_wheels", action="store_false", help="leave the tool itself out")
    add(create, "--engines", "include the engines that were built here")
    add(create, "--timing-caches", "include the timing caches of builds here")
    add_sign(create)
    add(create, "--accept-eula", "accept the terms of models that the manifest marks")
    add_output(create)


def main(arguments: argparse.Namespace) -> int:
    """Make a bundle, verify it, or list its contents."""
    actions = {"create": _create, "verify": _verify, "ls": _list}
    return actions[arguments.action](arguments)


def _create(arguments: argparse.Namespace) -> int:
    from ...bundle.create import Order, create
    from ...bundle.wheels import Target

    if not arguments.output.absolute().parent.is_dir():
        raise UsageError(f"{arguments.output.absolute().parent} is not a directory", hint="choose another with -o FILE")
    paths.make_cache()
    here = Target.here()
    target = Target(arguments.python or here.python, arguments.arch or here.machine)
    local = "local" in arguments.platform
    order = Order(
        manifest=arguments.manifest,
        target=arguments.output.absolute(),
        platforms=[platforms.with_image(name) for name in dict.fromkeys(arguments.platform) if name != "local"],
        bases=arguments.base,
        wheels=target if arguments.with_wheels else None,
        extras=frozenset(extra for extra, needed in (("local", local), ("sign", arguments.sign)) if needed),
        given_wheels=arguments.wheels,
        timing=arguments.timing_caches,
        engines=arguments.engines,
        signer=signer(arguments),
        series=arguments.series or arguments.manifest.stem,
        counter=arguments.counter,
        accept_eula=terms_accepted(flag=arguments.accept_eula),
    )
    shown = not (arguments.quiet or arguments.json)
    measured = 0

    with byte_lines(show=shown) as line:
        on_collected = line("collected")

        def on_measured(count: int) -> None:
            nonlocal measured
            measured += count
            on_collected(measured, measured)

        index, files = create(
            order, on_event=counted(line("fetched")), on_measured=on_measured, on_written=line("written")
        )
    made = [f"bundle  {file} ({sizes.readable(file.stat().st_size)})" for file in files]
    document = {"files": [str(file) for file in files], **_facts(index)}
    printing.result(arguments, document, *_summary(index), *made, quiet=arguments.quiet)
    return EXIT_OK


def _verify(arguments: argparse.Namespace) -> int:
    from ...bundle.unpack import verify

    with byte_lines(show=not (arguments.quiet or arguments.json)) as line:
        index, signed_by = verify(arguments.bundle, arguments.base, signatures(arguments).keys(), line("verified"))
    signed = f", signed by key {signed_by}" if signed_by else ""
    text = f"{arguments.bundle}: every byte is intact{signed}\nindex  {index.digest}"
    document = {"index": index.digest, "verified": True, "signed_by": signed_by}
    printing.result(arguments, document, text, quiet=arguments.quiet)
    return EXIT_OK


def _list(arguments: argparse.Namespace) -> int:
    from ...bundle.unpack import read_index

    index = read_index(arguments.bundle)
    printing.result(arguments, _facts(index), *_summary(index))
    return EXIT_OK


def _facts(index: Index) -> dict[str, object]:
    return {"index": index.digest, **json.loads(index.to_bytes())}


def _summary(index: Index) -> list[Part]:
    size = {content.sha256: content.bytes for content in index.contents}
    rows = [("manifest", index.manifest.name, index.manifest.sha256), ("lock", index.lock.name, index.lock.sha256)]
    models = [(model.name, model.files) for model in index.models]
    rows += [(file.role, file.path or name, file.sha256) for name, files in models for file in files]
    rows += [("wheel", wheel.name, wheel.sha256) for wheel in index.wheels]
    rows += [("engine", engine.key[:16], file.sha256) for engine in index.engines for file in engine.files]
    rows += [("timing cache", cache.name, cache.sha256) for cache in index.timing]
    cells = [(kind, name, sizes.readable(size[digest]), digest[:16]) for kind, name, digest in rows]
    for image in index.images:
        total = sum(size[digest] for digest in {file.sha256 for file in image.files if file.sha256})
        kind = f"image {image.platform} {image.machine}"
        cells.append((kind, image.reference, sizes.readable(total), image.id.rpartition(":")[2][:16]))
    in_base = sum(content.base for content in index.contents)
    parts: list[Part] = [Table(("WHAT", "NAME", "SIZE", "SHA256"), cells), f"made by prepare-models {index.tool}"]
    return parts + ([f"{in_base} contents are in {len(index.bases)} base(s)"] if index.bases else [])
