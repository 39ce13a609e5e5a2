"""What ``provision --install-unit`` does: systemd units that repeat a command line every night."""

from __future__ import annotations

import argparse
import shlex
import sysconfig
from collections.abc import Sequence
from pathlib import Path

from ..errors import EXIT_OK, HostError, UsageError
from ..provisioning import units
from ..reports import text
from ..support.page import Table
from . import printing


def add_install(command: argparse.ArgumentParser) -> None:
    """Add what makes units of a command line."""
    group = command.add_argument_group("systemd")
    group.add_argument(
        "--install-unit", action="store_true", help="install a service and a timer that do this every night, and end"
    )
    group.add_argument("--print", action="store_true", help="with --install-unit: print the units, install nothing")
    group.add_argument(
        "--root", type=Path, default=Path("/"), metavar="DIR", help="with --install-unit: root directory of an image"
    )
    group.add_argument("--user", action="store_true", help="with --install-unit: for this user's service manager")


def main(arguments: argparse.Namespace, writes: Sequence[Path]) -> int:
    """Write or print the units of this command line.

    ``writes``: files and directories that the command writes, besides cache and state.

    Raises:
        UsageError: there is no such manifest or bundle, or a path does not fit into a unit.
        HostError: a file can't be written.
    """
    elsewhere = arguments.root != Path("/")
    if elsewhere and not all(path.is_absolute() for path in (*writes, arguments.bundle or arguments.manifest)):
        raise UsageError("a relative path leads nowhere in an image", hint="with --root, give absolute paths")
    if not elsewhere:
        _check(arguments)
    places = [path.absolute() for path in writes]
    directory = Path("/") if elsewhere else Path.cwd()
    rendered = units.render([_program(), *_repeated(arguments.argv)], directory, places, user=arguments.user)
    if arguments.print:
        text.write("\n".join(f"# {name}\n{unit}" for name, unit in rendered.items()).rstrip())
        return EXIT_OK
    changed = units.install(rendered, arguments.root, user=arguments.user)
    document = {"files": list(map(str, changed)), "changed": [str(file) for file, new in changed.items() if new]}
    rows = [("written" if new else "unchanged", str(file)) for file, new in changed.items()]
    printing.result(arguments, document, Table((), rows), "", *_next_steps(arguments, elsewhere=elsewhere))
    return EXIT_OK


def _check(arguments: argparse.Namespace) -> None:
    """Refuse what would fail every night: a manifest that can't be read, a bundle that is not there."""
    if arguments.bundle is None:
        from .. import api  # only to judge a manifest

        api.load(arguments.manifest)
    elif not arguments.bundle.is_file():
        raise UsageError(f"there is no bundle {arguments.bundle}", hint="check the path")


def _program() -> str:
    program = Path(sysconfig.get_path("scripts"), "prepare-models")
    if not program.exists():
        raise HostError(f"there is no {program} for the service to start", hint="install prepare-models with pip")
    return str(program)


def _repeated(argv: Sequence[str]) -> list[str]:
    """Return a command line without what only installs."""
    only = argparse.ArgumentParser(add_help=False)
    add_install(only)
    return only.parse_known_args(argv)[1]


def _next_steps(arguments: argparse.Namespace, *, elsewhere: bool) -> list[str]:
    if elsewhere:
        return [f"next: systemctl --root={shlex.quote(str(arguments.root))} enable {units.TIMER}"]
    manager = "systemctl --user" if arguments.user else "sudo systemctl"
    return [
        f"next: {manager} daemon-reload && {manager} enable --now {units.TIMER}",
        f"now:  {manager} start {units.SERVICE}",
    ]
