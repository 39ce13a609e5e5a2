"""Verify one model: compare in a separate process, and judge the result."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Optional, Tuple, TypedDict

from ..contract.backends import loader
from ..contract.comparison import Verification, missed
from ..contract.environment import RuntimeInfo
from ..contract.files import pass_on
from ..contract.job import ModelJob
from ..contract.launch import command
from ..contract.precision import Means
from ..contract.report import ErrorInfo, PrecisionSearch
from ..contract.verification import multiplies_in_tf32
from ..converters.convert import plain_model
from ..converters.precision import unfound
from ..errors import VerifyError, reported
from ..inspect.header import read_header
from ..onnx_graph.findings import Findings
from ..processes import answer_of, supervise, tail

_LOG_LINES = 5
FAR_OFF = "verification-failed"


class Answer(TypedDict):
    """What the comparing process writes: one of them is set."""

    error: Optional[ErrorInfo]
    verification: Optional[Verification]


def verify(
    model: ModelJob, source: Path, plan: Path, *, means: Optional[Means], findings: Optional[Findings],
    runtime: RuntimeInfo, work_dir: Path, cache_file: Optional[Path], timing_dir: Path, rescued: bool, own: bool,
) -> Tuple[Verification, int]:  # fmt: skip
    """Compare an engine, or the rewritten model that it was built from, with its source model.

    Returns the result, and the peak memory in bytes of the process that compared.

    means: how the engine got its precision. findings: what samples showed when it was built. work_dir: private
    directory for intermediate files. timing_dir: where the locks of GPUs are kept. rescued: whether the model was
    rewritten so that it can be built. own: whether the engine was built here: code inside a foreign one is never run.

    Raises:
        VerifyError: nothing could be compared: a module, an operator or a usable sample is missing.
    """
    request_file, result, log = (work_dir / name for name in ("verify.json", "verify-result.json", "verify.log"))
    gpu, module = runtime["gpu"], loader(runtime, read_header(plan)["format"])
    if gpu is not None:
        timing_dir.mkdir(parents=True, exist_ok=True)
    with plain_model(model, source, work_dir) as plain:
        request = {
            "model": model.to_dict(),
            "source": str(plain),
            "plan": str(plan),
            "work_dir": str(work_dir),
            "result": str(result),
            "parent": os.getpid(),
            "cache_file": str(cache_file) if cache_file else None,
            "timing_dir": str(timing_dir),
            "module": module["name"] if module else None,
            "gpu": gpu["name"] if gpu else None,
            "tf32": gpu is not None
            and multiplies_in_tf32(model.precision, model.builder.tf32, gpu["compute_capability"]),
            "no_gpu": None if gpu and module else runtime["gpu_reason"] or "no TensorRT module here loads it",
            "findings": findings.to_dict() if findings else None,
            "rescued": rescued,
            "own": own,
            "by_flags": means is not None and means.leaves_the_graph,
        }
        pass_on(request_file, json.dumps(request).encode("utf-8"))
        argv = command("verify.worker", str(request_file))
        ended = supervise(argv, log=log, on_line=lambda _: None, timeout_s=model.limit_s)
    found = answer_of(result, Answer) or Answer(error=None, verification=None)
    if found["error"] is not None:
        raise reported(found["error"], VerifyError)
    if found["verification"] is None:
        how = ended.signal.name if ended.signal else f"status {ended.exit_code}"
        raise VerifyError(
            "verification-impossible",
            f"the process that compares ended with {how}: {tail(log, _LOG_LINES)}",
            hint="remove verify: from this model, or raise --timeout if the time ran out",
        )
    return found["verification"], ended.peak_rss_bytes


def refusal(
    verification: Verification, model: ModelJob, search: Optional[PrecisionSearch] = None
) -> Optional[VerifyError]:
    """Return the error of a failed verification, with every number that missed its threshold.

    ``search``: how the search for layers that have to stay in fp32 ended, if the model was rewritten with its result.
    """
    if verification["verdict"] != "failed":
        return None
    problems = missed(verification["outputs"], verification["scales"])
    if verification["origin"] is not None:
        problems.append(verification["origin"])
    text = "; ".join(problems)
    why, hint = unfound(search, model.judged)
    better = "use a higher precision, spare sensitive layers with keep_fp32:, or "
    if model.precision == "fp32":
        better = "" if model.builder.tf32 is False else "add builder: {tf32: false}, or "
    return VerifyError(
        FAR_OFF,
        f"{text}. {verification['statement']}{why}",
        hint=hint
        or f"{better}set wider thresholds under verify: if such outputs will do; a calibration cache must be this "
        "model's, and samples preprocessed as it expects",
    )
