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


def main(doc: str | None, measure: Callable[[Path, int], Result], violations: Callable[[Result], list[str]]) -> int:
    """Measure, print the results and what exceeds a limit, and return the exit status.

    Args:
        doc: description of the benchmark, for its help.
        measure: takes an empty directory and the number of rounds.
        violations: returns what exceeds a limit.
    """
    parser = argparse.ArgumentParser(description=doc)
    parser.add_argument("--rounds", type=int, default=5, help="measurements of each (default 5)")
    parser.add_argument("--check", action="store_true", help="fail where a limit is passed")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        result = measure(Path(folder), arguments.rounds)
    print(json.dumps(result, indent=2))
    found = violations(result)
    print("\n".join(found) or "all within the limits", file=sys.stderr)
    return 1 if found and arguments.check else 0
