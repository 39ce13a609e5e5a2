"""``prepare-models doctor``."""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path

from ...errors import EXIT_MODEL_FAILED, EXIT_OK, UsageError
from ...machine import doctor, facts
from ...reports import text


def main(arguments: argparse.Namespace) -> int:
    """Print every finding with its fix. Changes nothing."""
    if not arguments.root.is_dir():
        raise UsageError(f"{arguments.root} is no directory", hint="give the root of a machine's files, such as /mnt")
    findings = doctor.examine(
        facts.probe(arguments.root, arch=arguments.arch),
        models_dir=arguments.models_dir,
        platform=arguments.platform,
        is_this_machine=arguments.root == Path("/"),
    )
    if arguments.json:
        text.write(json.dumps({"findings": [dataclasses.asdict(finding) for finding in findings]}, indent=2))
    else:
        text.write("\n".join(_lines(findings)))
    return EXIT_MODEL_FAILED if any(finding.status == doctor.FAIL for finding in findings) else EXIT_OK


def _lines(findings: list[doctor.Finding]) -> list[str]:
    width = max(len(finding.name) for finding in findings)
    lines = []
    for finding in findings:
        lines.append(f"{finding.status:4}  {finding.name:{width}}  {finding.message}")
        if finding.fix and finding.status != doctor.OK:
            lines.append(f"{'':{width + 8}}-> {finding.fix}")
    return lines
