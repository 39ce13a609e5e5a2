"""Building with a program: it runs, its engine is taken, and whatever can't be read is taken from the manifest."""

from __future__ import annotations

import resource
import subprocess
import sys
from typing import Dict, List, Optional, Sequence

from .. import gpu_turn
from ..contract.files import sha256_file
from ..contract.precision import AUTO
from ..contract.report import Binding, ProfileShapes
from ..errors import ConvertError
from ..onnx_graph import calibration_cache
from ..onnx_graph.calibration_cache import CalibrationCache
from . import build_time, plugins, profiles
from .messages import from_program
from .request import BuildRequest, BuildResult, Progress

MASK = "***"
_OUTPUT_KEPT = 64 << 10  # bytes


def check(request: BuildRequest) -> None:
    """Refuse what no program can do."""
    if request.model.precision == AUTO:
        raise ConvertError(
            "precision-unavailable",
            "precision: auto builds with TensorRT's Python module, but here a program would build",
            hint="name the precision, or build where the module is installed",
        )
    plugins.verify(request.model.plugins)


def run(argv: Sequence[str], name: str, request: BuildRequest, progress: Progress, *, secret: str = "") -> None:
    """Run a program in this process's session, so that both end together; its output is logged without the key."""
    turn = gpu_turn.held(request.timing_dir, lambda: progress(gpu_turn.WAITING, 0, 0))
    try:
        with turn, build_time.reported(progress, request.expected_s):
            ended = subprocess.run(
                argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
            )
    except OSError as error:
        raise ConvertError(
            "converter-unavailable", f"{argv[0]} does not start: {error.strerror}", hint="check its installation"
        ) from None
    output = ended.stdout.decode("utf-8", "replace")
    if secret:
        output = output.replace(secret, MASK)
    sys.stderr.write(output)
    if ended.returncode:
        raise from_program(name, ended.returncode, output[-_OUTPUT_KEPT:])


def take_plan(request: BuildRequest, result: BuildResult) -> None:
    """Record the size and the digest of the plan that a program wrote, and the program's peak memory."""
    plan = request.plan
    size = plan.stat().st_size if plan.exists() else 0
    if not size:
        raise ConvertError(
            "converter-failed",
            "the converter succeeded but wrote no engine",
            hint="check the free space on the disk, or use converter: api",
        )
    result["engine_bytes"], result["engine_sha256"] = size, sha256_file(plan)
    result["children_rss_bytes"] = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024


def declared(request: BuildRequest) -> "tuple[List[Binding], List[Dict[str, ProfileShapes]]]":
    """Return bindings and profiles from the manifest, for models that nothing here can read."""
    shapes = {name: profiles.declared(each) for name, each in request.model.inputs.items()}
    io = [
        Binding(
            name=name, mode="input", dtype="float32", profiles=[one], source="network",
            shape=[low if low == high else -1 for low, high in zip(one["min"], one["max"])],
        )
        for name, one in shapes.items()
    ]  # fmt: skip
    return io, [shapes]


def cache_of(request: BuildRequest) -> Optional[CalibrationCache]:
    """Return the manifest's calibration cache, or None."""
    if request.cache_file is None:
        return None
    return calibration_cache.read(request.cache_file, request.model.calibration_cache or "the calibration cache")
