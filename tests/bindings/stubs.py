"""Stubs of a module out of its docstrings, by pybind11-stubgen, mended where they are no Python."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

from .stand_ins import Bindings

_BUFFER = "    def __buffer__(self, flags: int, /) -> memoryview: ..."
_FUNCTION = re.compile(r"( *)def (\w+)\((.*)\)( -> .*)?:( \.\.\.)?")


def write(bindings: Bindings, folder: Path) -> None:
    """Write them as those of ``tensorrt``, under which name the code knows every module."""
    name = f"{bindings.module}_bindings.{bindings.module}"
    command = [sys.executable, "-m", "pybind11_stubgen", name, "--ignore-all-errors", "-o", str(folder)]
    subprocess.run(command, env=bindings.environment(), check=True, capture_output=True)
    generated = folder / f"{bindings.module}_bindings" / f"{bindings.module}.pyi"
    lines = [_mended(line) for line in generated.read_text(encoding="utf-8").splitlines()]
    text = "\n".join(lines).replace("import annotations", "import annotations\nimport builtins", 1)
    if "__buffer__" not in text:  # before Python 3.12, a class can't tell that it is a buffer
        text = text.replace("class IHostMemory:", f"class IHostMemory:\n{_BUFFER}", 1)
    (folder / "tensorrt").mkdir()
    (folder / "tensorrt" / "__init__.pyi").write_text(text + "\n__version__: str\n", encoding="utf-8")


def _mended(line: str) -> str:
    """Return a line of which the type of a truth value is not the module's own ``bool``, and which is Python."""
    match = _FUNCTION.fullmatch(line)
    if match is None:
        return line
    line = re.sub(r"\bbool\b", "builtins.bool", re.sub(r"\bin: ", "in_: ", line))
    try:
        ast.parse(line.strip() + ("" if match[5] else " ..."))
    except SyntaxError:  # a parameter without a default after ones with
        return f"{match[1]}def {match[2]}(self, *args: typing.Any, **kwargs: typing.Any) -> typing.Any:{match[5] or ''}"
    return line
