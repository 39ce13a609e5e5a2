"""``prepare-models catalog``: the published models that this tool knows."""

from __future__ import annotations

import argparse
import json

from ... import catalog
from ...errors import EXIT_MODEL_FAILED, EXIT_OK
from ...reports.text import write
from ...support.page import Table
from .. import printing
from ..options import add, command, share

EXAMPLE = "example:\n  prepare-models catalog search segmentation onnx"


def add_arguments(catalog: argparse.ArgumentParser) -> None:
    """Add what ``catalog`` takes."""
    asks = catalog.add_subparsers(dest="ask", metavar="QUESTION", required=True)
    listed = command(asks, "list", "list every model", "--json")
    shown = command(asks, "show", "print what is known about a model", "bi3d-featnet-2.0.0")
    add(shown, "name", "model of the catalog", "NAME")
    statuses = "exit status: 0 found, 1 nothing found"
    searched = command(asks, "search", "list the models that match every word", "peoplenet onnx", more=statuses)
    add(searched, "words", "part of a name, task, file or source", "WORD", nargs="+")
    for ask in (listed, shown, searched):
        share(ask, "--json")
    for ask in (listed, searched):
        share(ask, "--wide")


def main(arguments: argparse.Namespace) -> int:
    """Print entries of the catalog."""
    if arguments.ask == "show":
        from ...manifest.draft import manifest, of_entry

        entry = catalog.find(arguments.name)
        lines = [manifest([of_entry(entry)]).partition("models:\n")[2].rstrip(), ""]
        lines += [f"Isaac ROS  {entry.isaac_ros}"] if entry.isaac_ros else []
        lines += [f"read in    {source}" for source in entry.sources]
        write(json.dumps(entry.to_dict(), indent=2) if arguments.json else "\n".join(lines))
        return EXIT_OK
    found = catalog.search(getattr(arguments, "words", ()))
    rows = [
        (entry.name, entry.task or "-", entry.format, str(entry.manifest["precision"]), entry.isaac_ros or "-")
        for entry in found
    ]
    table = Table(("NAME", "TASK", "FORMAT", "PRECISION", "ISAAC ROS"), rows)
    printing.result(arguments, [entry.to_dict() for entry in found], table)
    return EXIT_OK if found else EXIT_MODEL_FAILED
