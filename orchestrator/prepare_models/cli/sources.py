"""The command lines of catalog, init, lock and bundle: where models come from, and how they travel."""

from __future__ import annotations

import argparse
from pathlib import Path

from .options import add_bases, add_json, add_output, command, size

_LOCK_EXAMPLE = """\
example:
  prepare-models lock models.yaml
  prepare-models lock models.yaml --update peoplesemsegnet
  prepare-models lock models.yaml --check
  prepare-models lock models.yaml --check --online

exit status: 0 locked, or nothing drifted, 1 something drifted or can't be fetched, 2 usage or manifest error,
3 this machine can't do it, 70 a bug, 130 interrupted
"""

_BUNDLE_EXAMPLE = """\
example:
  prepare-models bundle create models.yaml -o site.bundle --platform rtx
  prepare-models bundle verify site.bundle
  prepare-models run --bundle site.bundle --models-dir models

exit status: 0 good, 1 the bundle is damaged or incomplete, or something can't be had or drifted, 2 usage error,
3 this machine can't do it, 70 a bug, 130 interrupted
"""


def _add_catalog(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    catalog = command(
        commands, "catalog", "look into the catalog of published models",
        "example:\n  prepare-models catalog search segmentation onnx",
    )  # fmt: skip
    asks = catalog.add_subparsers(dest="ask", metavar="QUESTION", required=True)
    listed = command(asks, "list", "list every model", "example:\n  prepare-models catalog list --json")
    shown = command(
        asks, "show", "print what is known of a model", "example:\n  prepare-models catalog show bi3d-featnet-2.0.0"
    )
    shown.add_argument("name", metavar="NAME", help="model of the catalog")
    searched = command(
        asks, "search", "list the models in which every word occurs",
        "example:\n  prepare-models catalog search peoplenet onnx\n\nexit status: 0 found, 1 nothing found",
    )  # fmt: skip
    searched.add_argument("words", nargs="+", metavar="WORD", help="part of a name, task, file or source")
    for ask in (listed, shown, searched):
        add_json(ask)


def _add_init(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    init = command(
        commands, "init", "write a commented manifest with models of the catalog",
        "example:\n  prepare-models init peoplesemsegnet-shuffleseg-onnx bi3d-featnet-2.0.0 -o models.yaml",
    )  # fmt: skip
    init.add_argument("names", nargs="*", metavar="NAME", help="models of the catalog (default: one as an example)")
    init.add_argument(
        "-o", "--output", type=Path, default=Path("models.yaml"), metavar="FILE", help="default: models.yaml"
    )
    init.add_argument("--force", action="store_true", help="replace the file")


def _add_lock(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    lock = command(commands, "lock", "pin every byte that a manifest names, in a file beside it", _LOCK_EXAMPLE)
    lock.add_argument("manifest", type=Path, metavar="MANIFEST", help="models.yaml; its lock is models.lock")
    what = lock.add_mutually_exclusive_group()
    what.add_argument("--check", action="store_true", help="write nothing, say what drifted")
    what.add_argument(
        "--update", action="append", default=[], metavar="NAME", help="ask for this model's remote sources anew"
    )
    lock.add_argument(
        "--online", action="store_true", help="with --check: ask servers whether they have these bytes still"
    )
    lock.add_argument(
        "--platform", action="append", metavar="NAME[=IMAGE]",
        help="local, or one of image list; several times (default: what run would take here)",
    )  # fmt: skip
    lock.add_argument("--accept-eula", action="store_true", help="accept the terms of models that have to be fetched")
    add_output(lock)


def _add_bundle(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    bundle = command(
        commands, "bundle", "carry everything that a run needs to a machine without a network", _BUNDLE_EXAMPLE
    )
    actions = bundle.add_subparsers(dest="action", metavar="ACTION", required=True)
    _add_bundle_create(actions)
    verify = command(
        actions, "verify", "check every byte of a bundle", "example:\n  prepare-models bundle verify site.bundle"
    )
    listed = command(actions, "ls", "list what is in a bundle", "example:\n  prepare-models bundle ls site.bundle")
    for each in (verify, listed):
        each.add_argument("bundle", type=Path, metavar="FILE", help="bundle, or the first of its volumes")
    add_bases(verify)
    verify.add_argument("--public-key", type=Path, metavar="FILE", help="Ed25519 key that must have signed it (PEM)")
    add_json(listed, "index")
    add_output(verify)


def _add_bundle_create(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    create = command(
        actions, "create", "make a bundle from a locked manifest",
        "example:\n  prepare-models bundle create models.yaml -o site.bundle --platform rtx --split 4GB",
    )  # fmt: skip
    create.add_argument("manifest", type=Path, metavar="MANIFEST", help="models.yaml, with its lock beside it")
    create.add_argument("-o", "--output", type=Path, required=True, metavar="FILE", help="bundle to write")
    create.add_argument(
        "--platform", action="append", default=[], metavar="NAME[=IMAGE]",
        help="put this platform's image in; local: wheels that build without containers; several times",
    )  # fmt: skip
    add_bases(create)
    create.add_argument("--split", type=size, metavar="SIZE", help="write volumes of this size, such as 4GB")
    create.add_argument("--python", metavar="VERSION", help="Python that installs the wheels (default: this one's)")
    create.add_argument("--arch", choices=("x86_64", "aarch64"), help="its machine (default: this one's)")
    create.add_argument("--wheels", type=Path, metavar="DIR", help="take wheels from DIR before any other")
    create.add_argument("--no-wheels", dest="with_wheels", action="store_false", help="leave the tool itself out")
    create.add_argument("--engines", action="store_true", help="put in the engines that were built here")
    create.add_argument("--timing-caches", action="store_true", help="put in what builds here found out")
    create.add_argument("--sign-key", type=Path, metavar="FILE", help="private Ed25519 key (PEM) that signs the bundle")
    create.add_argument("--accept-eula", action="store_true", help="accept the terms of models that the manifest marks")
    add_output(create)


COMMANDS = {"catalog": _add_catalog, "init": _add_init, "lock": _add_lock, "bundle": _add_bundle}
