"""``prepare-models doctor``."""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path

from prepare_models_entrypoint.contract import extras

from ...errors import EXIT_MODEL_FAILED, EXIT_OK, HostError, UsageError
from ...executors import choice
from ...machine import doctor, facts
from ...machine.findings import FAIL, OK, Finding
from ...reports import text
from ..options import add_output

EXAMPLE = (
    "example:\n  prepare-models doctor --models-dir ~/models\n\nexit status: 0 what auto takes works, 1 something fails"
)


def add_arguments(doctor: argparse.ArgumentParser) -> None:
    """Add what ``doctor`` takes."""
    doctor.add_argument("--models-dir", type=Path, default=Path("models"), metavar="DIR", help="default: ./models")
    doctor.add_argument("--platform", metavar="NAME", help="platform to check (default: this machine's)")
    doctor.add_argument(
        "--root",
        type=Path,
        default=Path("/"),
        metavar="DIR",
        help="examine the machine whose file system is mounted at DIR",
    )
    doctor.add_argument("--arch", choices=("x86_64", "aarch64"), help="with --root: that machine's architecture")
    add_output(doctor)


def main(arguments: argparse.Namespace) -> int:
    """Print every finding with its fix. Changes nothing."""
    if not arguments.root.is_dir():
        raise UsageError(
            f"{arguments.root} is not a directory", hint="give the root of a machine's files, such as /mnt"
        )
    here = arguments.root == Path("/")
    findings = doctor.examine(
        facts.probe(arguments.root, arch=arguments.arch),
        models_dir=arguments.models_dir,
        platform=arguments.platform,
        automatic=_automatic() if here else None,
        install=extras.install("local"),
    )
    if arguments.json:
        text.write(json.dumps({"findings": [dataclasses.asdict(finding) for finding in findings]}, indent=2))
    else:
        text.write("\n".join(_lines(findings)))
    return EXIT_MODEL_FAILED if any(finding.status == FAIL for finding in findings) else EXIT_OK


def _automatic() -> doctor.Automatic:
    try:
        return doctor.Automatic(choice.pick("auto").name)
    except HostError as error:
        return doctor.Automatic(None, error.message, error.hint)


def _lines(findings: list[Finding]) -> list[str]:
    width = max(len(finding.name) for finding in findings)
    lines = []
    for finding in findings:
        lines.append(f"{finding.status:4}  {finding.name:{width}}  {finding.message}")
        if finding.fix and finding.status != OK:
            lines.append(f"{'':{width + 8}}-> {finding.fix}")
    return lines
