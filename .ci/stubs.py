"""Copy tensorrt-stubs of this environment to a folder, and fix the lines that are not valid Python.

The generator writes parameters named ``in``, and one without a default after ones with; mypy refuses such files.
"""

import importlib.util
import re
import shutil
import sys
from pathlib import Path

REPAIRS = (
    (re.compile(r"\bin: list\["), "in_: list["),
    (re.compile(r"power: Weights = None, channel_axis: int\)"), "power: Weights = None, channel_axis: int = ...)"),
)


def main(target: str) -> None:
    """Write the fixed stubs below ``target``."""
    for package in ("tensorrt", "tensorrt_bindings"):
        spec = importlib.util.find_spec(package)
        if spec is None or spec.submodule_search_locations is None:
            raise SystemExit(f"{package}: no stubs in this environment")
        folder = Path(target, package)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for stub in Path(next(iter(spec.submodule_search_locations))).glob("*.pyi"):
            text = stub.read_text(encoding="utf-8")
            for pattern, replacement in REPAIRS:
                text = pattern.sub(replacement, text)
            (folder / stub.name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
