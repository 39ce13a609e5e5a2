"""The trtexec command line that stands for a conversion, so that a user can repeat it without this tool."""

from __future__ import annotations

import shlex
from typing import List, Mapping, Sequence

from ..contract import BuilderConfig
from ..contract.report import ProfileShapes

_MIB = 1 << 20


def command(
    onnx: str,
    plan: str,
    *,
    profile: Mapping[str, ProfileShapes],
    builder: BuilderConfig,
    precision_flags: Sequence[str],
) -> List[str]:
    """Return the argument vector. Static shapes need no options; names with ':' are quoted as trtexec wants them."""
    argv = ["trtexec", f"--onnx={onnx}", f"--saveEngine={plan}"]
    if any(shapes["min"] != shapes["max"] for shapes in profile.values()):
        for option, key in (("minShapes", "min"), ("optShapes", "opt"), ("maxShapes", "max")):
            pairs = (f"{_name(name)}:{'x'.join(map(str, shapes[key]))}" for name, shapes in profile.items())  # type: ignore[literal-required]  # key is one of the three
            argv.append(f"--{option}={','.join(pairs)}")
    if builder.workspace_bytes is not None:
        argv.append(f"--memPoolSize=workspace:{_mebibytes(builder.workspace_bytes)}M")
    if builder.optimization_level is not None:
        argv.append(f"--builderOptimizationLevel={builder.optimization_level}")
    if builder.tf32 is False:
        argv.append("--noTF32")
    return [*argv, *precision_flags, "--skipInference"]


def shell_line(argv: Sequence[str]) -> str:
    """Return an argument vector as a line for a shell."""
    return " ".join(shlex.quote(argument) for argument in argv)


def _mebibytes(size: int) -> str:
    return str(size // _MIB) if size % _MIB == 0 else repr(size / _MIB)


def _name(name: str) -> str:
    return f"'{name}'" if ":" in name else name
