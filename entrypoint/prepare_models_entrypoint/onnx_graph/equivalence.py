"""Is a rewritten model still the same function? If ONNX Runtime is installed, both run there on random inputs."""

from __future__ import annotations

import importlib.util
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Dict, Optional, Sequence

from ..contract.files import pass_on
from ..contract.job import ModelJob
from ..contract.launch import command
from ..errors import ConvertError
from ..processes import supervise, tail

if TYPE_CHECKING:
    from .runtime_worker import Answer, Distance

_TIMEOUT_S = 600.0
_LARGEST = 1e-3  # of the output's range; a DFT as a matrix product is 1e-5 off


def available() -> bool:
    """Return whether ONNX Runtime is installed."""
    return importlib.util.find_spec("onnxruntime") is not None


def check(source: Path, rewritten: Path, job: ModelJob, work_dir: Path) -> Optional[str]:
    """Compare a rewritten model with its source, and return why that was not possible, or None.

    Raises:
        ConvertError: the results differ.
    """
    if not available():
        return "onnxruntime is not installed"
    answer = run("compare", work_dir, source=str(source), rewritten=str(rewritten), **_fixed(job))
    wrong = {name: apart for name, apart in answer["outputs"].items() if isinstance(apart, str) or apart > _LARGEST}
    if wrong:
        text = "; ".join(f"{name}: {_described(apart)}" for name, apart in wrong.items())
        raise ConvertError(
            "onnx-unsupported-operator",
            f"TensorRT does not take the model as it is, and rewriting it changed its results ({text})",
            hint="export the model without the operators that the warnings name, or with static shapes",
        )
    return answer["why_not"]


def runs(source: Path, job: ModelJob, work_dir: Path) -> Optional[str]:
    """Return why ONNX Runtime can't run a model with the manifest's sizes; None if it can, or isn't installed."""
    if not available():
        return None
    return run("run", work_dir, source=str(source), **_fixed(job))["why_not"]


def run(task: str, work_dir: Path, **arguments: object) -> Answer:
    """Run a task of ONNX Runtime in a separate process; ``why_not`` in the answer says why it failed."""
    request, result, log = (work_dir / f"{task}{ending}" for ending in (".json", "-result.json", ".log"))
    document = {"task": task, "result": str(result), "parent": os.getpid(), **arguments}
    pass_on(request, json.dumps(document).encode("utf-8"))
    ended = supervise(
        command("onnx_graph.runtime_worker", str(request)), log=log, on_line=lambda _: None, timeout_s=_TIMEOUT_S
    )
    try:
        answer: Answer = json.loads(result.read_text(encoding="utf-8"))
    except FileNotFoundError:
        how = f"{ended.signal.name}" if ended.signal else f"status {ended.exit_code}"
        return {"why_not": f"ONNX Runtime ended with {how}: {tail(log, 1)}", "outputs": {}}
    result.unlink()
    return answer


def _fixed(job: ModelJob) -> Dict[str, Dict[str, Sequence[float]]]:
    """Return the shapes and values of inputs that the manifest fixes, as in a ``Request``."""
    profile = job.inputs or (job.profiles[0] if job.profiles else {})
    shapes = {name: one.opt for name, one in profile.items() if not one.values}
    values = {name: one.opt for name, one in profile.items() if one.values}
    return {"shapes": {**shapes, **job.onnx.static_shapes}, "values": {**values, **job.onnx.constants}}


def _described(apart: Distance) -> str:
    return apart if isinstance(apart, str) else f"{apart:.3g} of the output's range, at most {_LARGEST:g} is allowed"
