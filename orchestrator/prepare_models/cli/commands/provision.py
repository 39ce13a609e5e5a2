"""``prepare-models provision``."""

from __future__ import annotations

import argparse
import contextlib
import json
import shlex
import sysconfig
from collections.abc import Sequence
from pathlib import Path

from ... import api
from ...errors import EXIT_MODEL_FAILED, EXIT_OK, HostError, PrepareModelsError, UsageError
from ...provisioning import metrics, status_document, units
from ...provisioning.health import Health
from ...provisioning.notify import Notifier
from ...provisioning.spans import spans
from ...provisioning.status_document import Provisioned
from ...reports import text
from ...running.progress import Observer, Several
from ...support.page import Part, Table, of_error, show
from .. import building, printing
from ..building import add_limits, add_sharing, observer, sharing
from ..options import add, add_output, add_selection, positive, seconds

EXAMPLE = """\
example:
  prepare-models provision models.yaml --models-dir /var/lib/models
  prepare-models provision --bundle site.bundle --require-signed --health 'systemctl is-active triton'
  prepare-models provision models.yaml --models-dir /var/lib/models --install-unit

exit status: 0 every model is as the manifest asks, 1 one is not and serves what it served,
2 usage or manifest error, 3 this machine can't do it, 70 a bug, 130 interrupted
"""


def add_arguments(provision: argparse.ArgumentParser) -> None:
    """Add what ``provision`` takes."""
    add_selection(provision)
    add_limits(provision)
    add_sharing(provision)
    add(provision, "--keep", "versions of each model that stay (default 2)", positive, default=2)
    add(provision, "--health", "shell command that judges each new version; if it fails, the one before returns", "CMD")
    add(provision, "--health-timeout", "longest time for it (default 60)", seconds, default=60.0)
    add(provision, "--device", "name of this machine in status and ledger (default: its host name)", "NAME")
    add(provision, "--metrics", "write metrics for Prometheus' node_exporter, such as models.prom", Path)
    _add_install(provision)
    add_output(provision)


def main(arguments: argparse.Namespace) -> int:
    """Provision the models and print the results; JSON in one line, for a journal."""
    if arguments.install_unit:
        own = [arguments.metrics.parent] if arguments.metrics else []
        return _install(arguments, [arguments.models_dir, *own])
    notifier = Notifier()
    try:
        with observer(arguments) as shown, spans("provision") as traced:
            done = _provisioned(arguments, Several(shown, notifier, traced))
            states = ", ".join(f"{name} {each['state']}" for name, each in done.models.items())
            notifier.ended(f"{done.document['outcome']}: {states}", good=done.ok)
    except BaseException as error:
        if isinstance(error, PrepareModelsError):
            notifier.ended(f"[{error.code}] {error.message}", good=False)
        with contextlib.suppress(PrepareModelsError):  # what ended the run is the news
            _measure(arguments)
        raise
    _measure(arguments)
    if arguments.json:
        text.write(json.dumps(done.document))
    else:
        show(*_parts(done), wide=arguments.wide)
    return EXIT_OK if done.ok else EXIT_MODEL_FAILED


def _provisioned(arguments: argparse.Namespace, listener: Observer) -> Provisioned:
    return api.provision(
        building.given(arguments),
        **building.call(arguments),
        sharing=sharing(arguments),
        timeout_s=arguments.timeout,
        accept_eula=arguments.accept_eula,
        device=arguments.device,
        keep=arguments.keep,
        health=Health(arguments.health, arguments.health_timeout) if arguments.health else None,
        observer=listener,
    )


def _measure(arguments: argparse.Namespace) -> None:
    if arguments.metrics is not None:
        metrics.save(arguments.metrics, status_document.load(arguments.models_dir))


def _parts(done: Provisioned) -> list[Part]:
    models = done.models.values()
    rows = [
        (each["name"], each["state"], str(each["version"] or "-"), str(each["previous_version"] or "-"), each["reason"])
        for each in models
    ]
    parts: list[Part] = [Table(("MODEL", "STATE", "VERSION", "BEFORE", "WHY"), rows, 1)]
    for each in models:
        if each["error"] is not None:
            parts += ["", of_error(each["error"], each["name"])]
            parts += [f"  build log: {each['log']}"] if each["log"] else []
    return parts


def _add_install(command: argparse.ArgumentParser) -> None:
    """Add what makes units of a command line."""
    group = command.add_argument_group("systemd")
    add(group, "--install-unit", "install a service and a timer that do this every night, and end")
    add(group, "--print", "with --install-unit: print the units, install nothing")
    add(group, "--root", "with --install-unit: root directory of an image", Path, default=Path("/"), metavar="DIR")
    add(group, "--user", "with --install-unit: for this user's service manager")


def _install(arguments: argparse.Namespace, writes: Sequence[Path]) -> int:
    """Write or print the units of this command line.

    ``writes``: files and directories that the command writes, besides cache and state.

    Raises:
        UsageError: there is no such manifest or bundle, or a path does not fit into a unit.
        HostError: a file can't be written.
    """
    elsewhere = arguments.root != Path("/")
    if elsewhere and not all(path.is_absolute() for path in (*writes, arguments.bundle or arguments.manifest)):
        raise UsageError("a relative path leads nowhere in an image", hint="with --root, give absolute paths")
    if not elsewhere and arguments.bundle is None:  # a manifest that can't be read would fail every night
        api.load(arguments.manifest)
    elif not elsewhere and not arguments.bundle.is_file():
        raise UsageError(f"there is no bundle {arguments.bundle}", hint="check the path")
    only = argparse.ArgumentParser(add_help=False)  # what only installs, and is not repeated
    _add_install(only)
    repeated = only.parse_known_args(arguments.argv)[1]
    places = [path.absolute() for path in writes]
    directory = Path("/") if elsewhere else Path.cwd()
    rendered = units.render([_program(), *repeated], directory, places, user=arguments.user)
    if arguments.print:
        text.write("\n".join(f"# {name}\n{unit}" for name, unit in rendered.items()).rstrip())
        return EXIT_OK
    changed = units.install(rendered, arguments.root, user=arguments.user)
    document = {"files": list(map(str, changed)), "changed": [str(file) for file, new in changed.items() if new]}
    rows = [("written" if new else "unchanged", str(file)) for file, new in changed.items()]
    printing.result(arguments, document, Table((), rows), "", *_next_steps(arguments, elsewhere=elsewhere))
    return EXIT_OK


def _program() -> str:
    program = Path(sysconfig.get_path("scripts"), "prepare-models")
    if not program.exists():
        raise HostError(f"there is no {program} for the service to start", hint="install prepare-models with pip")
    return str(program)


def _next_steps(arguments: argparse.Namespace, *, elsewhere: bool) -> list[str]:
    if elsewhere:
        return [f"next: systemctl --root={shlex.quote(str(arguments.root))} enable {units.TIMER}"]
    manager = "systemctl --user" if arguments.user else "sudo systemctl"
    return [
        f"next: {manager} daemon-reload && {manager} enable --now {units.TIMER}",
        f"now:  {manager} start {units.SERVICE}",
    ]
