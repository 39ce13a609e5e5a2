"""``prepare-models lock``."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import replace

from ... import executors, lock, manifest
from ...errors import EXIT_MODEL_FAILED, EXIT_OK, HostError, LockError, UsageError
from ...executors.local import LocalExecutor
from ...lock import Lock, facts
from ...lock.document import Facts
from ...lock.make import drift_of_servers, make
from ...machine import platforms
from ...manifest import licences
from ...planning import planner
from ...reports.text import table, write
from ...running.fetch_process import progress_line
from ...support import paths


def main(arguments: argparse.Namespace) -> int:
    """Write the lock of a manifest, or only compare with ``--check``."""
    if arguments.online and not arguments.check:
        raise UsageError(
            "--online belongs to --check", hint="give --check, or --update NAME to lock what a server has now"
        )
    paths.make(paths.cache_dir(), purpose="cache directory", chosen_by=f"the variable {paths.CACHE_VARIABLE}")
    return _check(arguments) if arguments.check else _write(arguments)


def _check(arguments: argparse.Namespace) -> int:
    loaded, known = manifest.load(arguments.manifest), lock.read(lock.path_of(arguments.manifest))
    if known is None:
        raise LockError(
            [f"{lock.path_of(arguments.manifest)} is not there"],
            hint=f"write it: prepare-models lock {arguments.manifest}",
        )
    drift = lock.drift_of_sources(loaded, known)
    for name, found in _platforms(arguments):
        drift += lock.drift_of_platform(known, name, found)
    if arguments.online:
        accepted = licences.accepted(flag=arguments.accept_eula)
        with progress_line(show=not (arguments.quiet or arguments.json)) as on_event:
            drift += drift_of_servers(loaded, known, accept_eula=accepted, on_event=on_event)
    if arguments.json:
        write(json.dumps({"lock": str(lock.path_of(arguments.manifest)), "drift": drift}, indent=2))
        return EXIT_MODEL_FAILED if drift else EXIT_OK
    lock.refuse(drift, arguments.manifest)
    write(f"{lock.path_of(arguments.manifest)}: nothing drifted")
    return EXIT_OK


def _write(arguments: argparse.Namespace) -> int:
    loaded, target = manifest.load(arguments.manifest), lock.path_of(arguments.manifest)
    planner.select(loaded, arguments.update)  # refuses unknown names
    previous = lock.read(target) or Lock()
    with progress_line(show=not (arguments.quiet or arguments.json)) as on_event:
        made = make(
            loaded, previous, update=arguments.update,
            accept_eula=licences.accepted(flag=arguments.accept_eula), on_event=on_event,
        )  # fmt: skip
    made = replace(made, platforms={**previous.platforms, **dict(_platforms(arguments))})
    lock.write(target, made)
    if arguments.json:
        write(made.to_json().rstrip())
    elif not arguments.quiet:
        write(_told(made))
        write(f"lock  {target}")
    return EXIT_OK


def _platforms(arguments: argparse.Namespace) -> list[tuple[str, Facts]]:
    """Return the facts of the platforms that the user names, or else of what ``run`` would take here, if anything."""
    if arguments.platform:
        return [_platform(name) for name in dict.fromkeys(arguments.platform)]
    try:
        return [executors.pick("auto").locked_as()]
    except HostError as error:
        if not arguments.quiet:
            sys.stderr.write(f"prepare-models: no platform is looked at: {error.message}\n")
        return []


def _platform(name: str) -> tuple[str, Facts]:
    if name == "local":
        return LocalExecutor().locked_as()
    from ...docker.container import Containers

    row, reference = platforms.with_image(name)
    image = Containers().image(reference)
    if image is None:
        raise HostError(
            f"the engine does not have the image {reference}", hint=f"prepare-models image build --platform {row.name}"
        )
    return facts.of_image(row, image)


def _told(made: Lock) -> str:
    rows = [
        (name, file.role, file.sha256[:16], str(file.bytes), _promised(file.source_id, file.promised), file.source)
        for name, files in made.models.items()
        for file in files
    ]
    head: Sequence[str] = ("MODEL", "ROLE", "SHA256", "BYTES", "PROMISED BY", "SOURCE")
    platforms_ = [
        f"platform {name}: " + ", ".join(f"{key} {value}" for key, value in found.items())
        for name, found in made.platforms.items()
    ]
    return "\n".join([table(head, rows), *platforms_])


def _promised(source_id: str | None, promised: str | None) -> str:
    return "-" if source_id is None else promised or "nobody: first fetch"
