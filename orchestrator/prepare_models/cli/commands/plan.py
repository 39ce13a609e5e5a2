"""``prepare-models plan``, and ``run --dry-run``."""

from __future__ import annotations

import argparse

from ... import api
from ...errors import EXIT_OK
from ...reports import text
from ...support.page import Message, byte_lines, of_warning
from .. import building, printing
from ..options import add_output, add_selection

EXAMPLE = "example:\n  prepare-models plan models.yaml --json"


def add_arguments(plan: argparse.ArgumentParser) -> None:
    """Add what ``plan`` takes."""
    add_selection(plan)
    add_output(plan)


def main(arguments: argparse.Namespace) -> int:
    """Print what would be done for each model, and why. Changes nothing."""
    with byte_lines(show=not (arguments.quiet or arguments.json)) as line:
        verified = line("verified")
        plan = api.plan(
            building.given(arguments),
            **building.call(arguments),
            on_event=lambda event: verified(event.data["done"], event.data["total"]),
        )
    rows = [(each.name, each.told(), each.converter or "none", each.converter_reason) for each in plan.models]
    messages = [of_warning(each, "this TensorRT") for each in plan.warnings]
    messages += [
        Message(each["kind"], each["code"], model.name, each["message"], each["hint"])
        for model in plan.models
        for each in model.problems
    ]
    messages += filter(None, (disk.problem() for disk in plan.disks))
    parts = (part for each in messages for part in ("", each))
    printing.result(arguments, plan.to_dict(), text.plan(rows, wide=arguments.wide), *parts)
    return EXIT_OK
