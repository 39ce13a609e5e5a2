"""``prepare-models lock``."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from prepare_models_entrypoint.contract.files import sha256_file

from ...errors import EXIT_MODEL_FAILED, EXIT_OK, HostError, LockError, UsageError
from ...executors import choice
from ...lock import document, pins
from ...lock.document import Facts, Lock, LockedEngine, facts_of_image
from ...lock.make import drift_of_servers, make
from ...lock.pins import held_to
from ...machine import platforms
from ...manifest.load import load
from ...manifest.model import Manifest, terms_accepted
from ...planning import planner
from ...running.fetch_process import counted
from ...signing import releases
from ...support import paths
from ...support.page import Message, Part, Table, byte_lines, show
from .. import printing
from ..options import add, add_output, add_sign, signer

EXAMPLE = """\
example:
  prepare-models lock models.yaml
  prepare-models lock models.yaml --update peoplesemsegnet
  prepare-models lock models.yaml --engines
  prepare-models lock models.yaml --check
  prepare-models lock models.yaml --check --online

exit status: 0 locked, or nothing drifted, 1 something drifted or can't be fetched, 2 usage or manifest error,
3 this machine can't do it, 70 a bug, 130 interrupted
"""


def add_arguments(lock: argparse.ArgumentParser) -> None:
    """Add what ``lock`` takes."""
    add(lock, "manifest", "models.yaml; its lock is models.lock", Path, metavar="MANIFEST")
    what = lock.add_mutually_exclusive_group()
    add(what, "--check", "write nothing; report what has drifted")
    add(what, "--update", "ask for this model's remote sources again", "NAME", many=True)
    add(lock, "--online", "with --check: ask the servers whether they still have these bytes")
    text = "local, or one of image list; may be repeated (default: what run would take here)"
    add(lock, "--platform", text, "NAME[=IMAGE]", many=True)
    add(lock, "--engines", "also lock the engines that this machine built and has in its store")
    add(lock, "--accept-eula", "accept the terms of models that have to be fetched")
    add_sign(lock)
    add_output(lock)


def main(arguments: argparse.Namespace) -> int:
    """Write the lock of a manifest; with ``--check``, only compare."""
    if arguments.online and not arguments.check:
        raise UsageError("--online needs --check", hint="give --check, or --update NAME to lock what a server has now")
    if arguments.engines and arguments.check:
        raise UsageError("--engines locks something, and --check changes nothing", hint="give one of them")
    paths.make_cache()
    return _check(arguments) if arguments.check else _write(arguments)


def _check(arguments: argparse.Namespace) -> int:
    loaded, known = load(arguments.manifest), document.read(document.path_of(arguments.manifest))
    if known is None:
        raise LockError(
            [f"{document.path_of(arguments.manifest)} doesn't exist"],
            hint=f"write it: prepare-models lock {arguments.manifest}",
        )
    drift = pins.drift_of_sources(loaded, known)
    for name, found in _platforms(arguments):
        drift += pins.drift_of_platform(known, name, found)
    if arguments.online:
        accepted = terms_accepted(flag=arguments.accept_eula)
        with byte_lines(show=not (arguments.quiet or arguments.json)) as line:
            drift += drift_of_servers(loaded, known, accept_eula=accepted, on_event=counted(line("fetched")))
    if not arguments.json:
        pins.refuse(drift, arguments.manifest)
    place = str(document.path_of(arguments.manifest))
    printing.result(arguments, {"lock": place, "drift": drift}, f"{place}: nothing drifted")
    return EXIT_MODEL_FAILED if drift else EXIT_OK


def _write(arguments: argparse.Namespace) -> int:
    signs = signer(arguments)
    loaded, target = load(arguments.manifest), document.path_of(arguments.manifest)
    planner.select(loaded, arguments.update)  # refuses unknown names
    previous = document.read(target) or Lock()
    with byte_lines(show=not (arguments.quiet or arguments.json)) as line:
        made = make(
            loaded, previous, update=arguments.update,
            accept_eula=terms_accepted(flag=arguments.accept_eula), on_event=counted(line("fetched")),
        )  # fmt: skip
    made = replace(made, platforms={**previous.platforms, **dict(_platforms(arguments))})
    if arguments.engines:
        made = replace(made, engines=_engines(arguments, loaded, made))
    document.write(target, made)
    if signs is not None:
        series = arguments.series or arguments.manifest.stem
        releases.sign(target, releases.edition(releases.LOCK, made.digest, series, arguments.counter), signs)
    signed = f", signed as {releases.signature_of(target).name}" if signs else ""
    parts = [*_summary(made), f"lock  {target}{signed}"]
    printing.result(arguments, json.loads(made.to_json()), *parts, quiet=arguments.quiet)
    return EXIT_OK


def _platforms(arguments: argparse.Namespace) -> list[tuple[str, Facts]]:
    """Return the facts of the platforms that the user names, else of what ``run`` would use here, if anything."""
    if arguments.platform:
        return [_platform(name) for name in dict.fromkeys(arguments.platform)]
    try:
        return [choice.pick("auto").locked_as()]
    except HostError as error:
        if not arguments.quiet:
            show(
                Message("note", error.code, "prepare-models", f"platforms are not checked: {error.message}"),
                stream=sys.stderr,
            )
        return []


def _platform(name: str) -> tuple[str, Facts]:
    if name == "local":
        return choice.named("local").locked_as()
    from ...docker.container import Containers

    row, reference = platforms.with_image(name)
    return facts_of_image(row, Containers().needed(reference, row.name))


def _engines(arguments: argparse.Namespace, loaded: Manifest, made: Lock) -> dict[str, tuple[LockedEngine, ...]]:
    """Return the lock's engines plus those that a run on this machine would use, which may replace others."""
    executor = choice.named("local") if arguments.platform == ["local"] else choice.pick("auto")
    runtime = executor.describe()
    gpu = runtime["gpu"]
    platform = executor.locked_as()[0] + (f", {gpu['name']}" if gpu else "")
    found = dict(made.engines)
    for spec, entry in planner.built(held_to(loaded, made), runtime):
        others = [each for each in made.engines.get(spec.name, ()) if each.platform != platform]
        engine = LockedEngine(platform, entry.key, sha256_file(entry.plan), entry.plan.stat().st_size)
        found[spec.name] = (*others, engine)
    return found


def _summary(made: Lock) -> list[Part]:
    rows = [
        (
            name, file.role, file.sha256[:16], str(file.bytes),
            "-" if file.source_id is None else file.promised or "first fetch, not pinned", file.source,
        )
        for name, files in made.models.items()
        for file in files
    ]  # fmt: skip
    head: Sequence[str] = ("MODEL", "ROLE", "SHA256", "BYTES", "PROMISED BY", "SOURCE")
    platforms_ = [
        f"platform {name}: " + ", ".join(f"{key} {value}" for key, value in found.items())
        for name, found in made.platforms.items()
    ]
    engines = [
        f"engine {name}: sha256 {engine.sha256[:16]} on {engine.platform}"
        for name, found in made.engines.items()
        for engine in found
    ]
    return [Table(head, rows), *platforms_, *engines]
