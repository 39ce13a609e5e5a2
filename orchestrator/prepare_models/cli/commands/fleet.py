"""``prepare-models fleet``."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from ...errors import EXIT_MODEL_FAILED, EXIT_OK
from ...provisioning import fleet
from ...reports import documents, html
from ...support.page import Table
from .. import printing
from ..options import add, add_table, command, positive

EXAMPLE = "example:\n  prepare-models fleet status statuses/"
_EXAMPLES = ("statuses/ --html fleet.html", "s3://fleet/statuses/ https://fleet.example/statuses.txt")
_PLACES = """\
A PLACE is a directory, a glob, a file, or the https:// or s3:// URL of a status, of a folder, or of a list of URLs.

exit status: 0 every machine is good or at work, 1 one failed, was rolled back, is stale or can't be read, 2 usage error
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what ``fleet`` takes."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    what = "show many machines, out of the statuses that provision wrote there"
    status = command(actions, "status", what, *_EXAMPLES, more=_PLACES)
    add(status, "places", "where statuses are", "PLACE", nargs="+")
    text = "hours after which a status says too little (default 48)"
    add(status, "--stale-after", text, positive, default=48, metavar="HOURS")
    add(status, "--html", "also write a page for a browser", Path)
    add_table(status)


def main(arguments: argparse.Namespace) -> int:
    """Show the machines; the exit status says whether one needs care."""
    if arguments.html is not None:
        html.check("jinja2")
    devices = fleet.look(arguments.places, stale_s=3600 * arguments.stale_after, now=time.time())
    counts = fleet.counts(devices)
    if arguments.html is not None:
        documents.save(arguments.html, html.fleet(devices, counts))
    rows = [(device.name, device.state, device.age(), device.models(), device.why) for device in devices]
    text = ", ".join(f"{count} {state}" for state, count in counts.items() if count)
    document = {"summary": counts, "devices": [device.to_dict() for device in devices]}
    printing.result(arguments, document, Table(("DEVICE", "STATE", "AGE", "MODELS", "WHY"), rows, 1), "", text)
    return EXIT_MODEL_FAILED if any(counts[state] for state in fleet.BAD) else EXIT_OK
