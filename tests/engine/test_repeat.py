"""``trtexec_command``: a line that gives the very engine of the report, on the source or on what ``rewrite`` writes."""

from __future__ import annotations

import hashlib
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest

from tests.command import Workplace
from tests.engine import test_rescue as rescues

ROOT = Path(__file__).parents[2]
TWO = [{"x": "1x3x16x16"}, {"x": {"min": "1x3x16x16", "opt": "1x3x32x32", "max": "2x3x64x64"}}]

# What the model is, and what the manifest says of it.
REPEATED: dict[str, tuple[Callable[[], onnx.ModelProto], dict[str, Any]]] = {
    "static": (rescues.static, {}),
    "dynamic": (lambda: rescues.conv("b", 3, "h", "w"), {"inputs": {"x": rescues.SAMPLES}}),
    "fixed by the manifest": (lambda: rescues.conv("b", 3, 16, 16), {"inputs": {"x": "2x3x16x16"}}),
    "two profiles": (lambda: rescues.conv("b", 3, "h", "w"), {"profiles": TWO}),
    "values": (rescues.resize, {"inputs": {"sizes": rescues.VALUES}}),
    "fp16": (rescues.static, {"precision": "fp16"}),
    "rescued": (rescues.dft, {"inputs": {"x": "2x40x3x2"}}),
    "settings": (
        rescues.static,
        {
            "builder": {
                "compute_capabilities": ["8.6", "8.9"], "tf32": False, "workspace": "64MiB",
                "optimization_level": 2, "profiling_verbosity": "detailed",
            }
        },
    ),
}  # fmt: skip


def alike(one: bytes, other: bytes) -> bool:
    """Tell whether plans are equal but for the numbers that TensorRT-RTX gives dynamic axes, whose order varies."""
    changed = sum(left != right for left, right in zip(one, other, strict=True))
    return changed * 1000 < len(one)


@pytest.mark.parametrize("kind", REPEATED)
def test_the_line_gives_the_same_engine(place: Workplace, kind: str) -> None:
    make, asked = REPEATED[kind]
    onnx.save(make(), str(place.folder / "source.onnx"))
    built = place.build(source="source.onnx", **asked)
    assert built["status"] == "built", built["error"]
    program, *options = shlex.split(built["trtexec_command"])
    assert program == "tensorrt_rtx"
    if "--onnx=model.onnx" in options:
        assert (
            place.call("rewrite", str(place.manifest), "model", "-o", "model.onnx", "--executor", "local").status == 0
        )
    plan = Path(built["engine"]["path"])
    ours = plan.read_bytes()
    assert hashlib.sha256(ours).hexdigest() == built["engine"]["sha256"]
    plan.unlink()
    command = [sys.executable, "-m", "tests.engine.rtx_program", *options]
    subprocess.run(command, cwd=place.folder, env=place.environment(PYTHONPATH=str(ROOT)), check=True)
    assert alike(ours, plan.read_bytes())
