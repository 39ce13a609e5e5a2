"""What benchmarks with limits share: their command line, and how they end."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

Result = dict[str, Any]


def main(
    doc: str | None,
    measure: Callable[[Path, int], Result],
    violations: Callable[[Result], list[str]],
    counted: tuple[str, int, str] = ("--rounds", 5, "measurements of each"),
) -> int:
    """Measure, print what came out and what passes a limit, and return the exit status.

    Args:
        doc: what the benchmark is, for its help.
        measure: takes an empty directory and the number of rounds, or of whatever is counted.
        violations: says what passes a limit.
        counted: the option for that number, its default and its help.
    """
    parser = argparse.ArgumentParser(description=doc)
    option, default, meaning = counted
    parser.add_argument(option, dest="count", type=int, default=default, help=f"{meaning} (default {default})")
    parser.add_argument("--check", action="store_true", help="fail where a limit is passed")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        result = measure(Path(folder), arguments.count)
    print(json.dumps(result, indent=2))
    found = violations(result)
    print("\n".join(found) or "all within the limits", file=sys.stderr)
    return 1 if found and arguments.check else 0
