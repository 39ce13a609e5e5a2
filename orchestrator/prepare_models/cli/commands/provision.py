"""``prepare-models provision``."""

from __future__ import annotations

import argparse
import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

from ... import api
from ...errors import EXIT_MODEL_FAILED, EXIT_OK, PrepareModelsError
from ...provisioning import metrics, status_document
from ...provisioning.health import Health
from ...provisioning.notify import Notifier
from ...provisioning.spans import spans
from ...provisioning.status_document import Provisioned
from ...reports import text
from ...running.progress import Several
from ...support.page import Part, Table, of_error, show
from .. import installing, selection
from ..building import add_limits, add_sharing, observer, sharing
from ..options import add_output, add_selection, positive, seconds

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
    provision.add_argument(
        "--keep", type=positive, default=2, metavar="N", help="versions of each model that stay (default 2)"
    )
    provision.add_argument(
        "--health",
        metavar="CMD",
        help="shell command that judges each new version; if it fails, the one before returns",
    )
    provision.add_argument(
        "--health-timeout", type=seconds, default=60.0, metavar="SECONDS", help="longest time for it (default 60)"
    )
    provision.add_argument(
        "--device", metavar="NAME", help="name of this machine in status and ledger (default: its host name)"
    )
    provision.add_argument(
        "--metrics", type=Path, metavar="FILE", help="write metrics for Prometheus' node_exporter, such as models.prom"
    )
    installing.add_install(provision)
    add_output(provision)


def main(arguments: argparse.Namespace) -> int:
    """Provision the models and print the results; JSON in one line, for a journal."""
    if arguments.install_unit:
        own = [arguments.metrics.parent] if arguments.metrics else []
        return installing.main(arguments, [arguments.models_dir, *own])
    notifier = Notifier()
    with _measured(arguments), _told(notifier), observer(arguments) as shown, spans("provision") as traced:
        listener = Several(shown, notifier, traced)
        done = api.provision(
            selection.given(arguments),
            **selection.models(arguments),
            **selection.place(arguments),
            sharing=sharing(arguments),
            timeout_s=arguments.timeout,
            accept_eula=arguments.accept_eula,
            device=arguments.device,
            keep=arguments.keep,
            health=Health(arguments.health, arguments.health_timeout) if arguments.health else None,
            observer=listener,
        )
        notifier.ended(_summary(done), good=done.ok)
    if arguments.json:
        text.write(json.dumps(done.document))
    else:
        show(*_parts(done), wide=arguments.wide)
    return EXIT_OK if done.ok else EXIT_MODEL_FAILED


def _summary(done: Provisioned) -> str:
    return f"{done.document['outcome']}: " + ", ".join(f"{name} {each['state']}" for name, each in done.models.items())


@contextlib.contextmanager
def _measured(arguments: argparse.Namespace) -> Iterator[None]:
    """Write metrics after the block, however it ends."""
    try:
        yield
    except BaseException:
        with contextlib.suppress(PrepareModelsError):  # what ended the block is the news
            _measure(arguments)
        raise
    _measure(arguments)


def _measure(arguments: argparse.Namespace) -> None:
    if arguments.metrics is not None:
        metrics.save(arguments.metrics, status_document.load(arguments.models_dir))


@contextlib.contextmanager
def _told(notifier: Notifier) -> Iterator[None]:
    """Tell the service manager what ended the block."""
    try:
        yield
    except PrepareModelsError as error:
        notifier.ended(f"[{error.code}] {error.message}", good=False)
        raise


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
