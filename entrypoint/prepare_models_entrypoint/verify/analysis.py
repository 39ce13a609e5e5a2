"""Before a model is rewritten: samples show which nodes can't leave fp32, and which precision is right."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Dict, Iterable, List, Optional, Tuple

from onnx import ModelProto, TensorProto

from ..contract import external_data
from ..contract.job import ModelJob
from ..contract.report import WarningInfo
from ..contract.verification import VerifyConfig
from ..errors import StageError
from ..onnx_graph import affine, equivalence, graph, meaning, rounding
from ..onnx_graph.findings import Findings
from ..onnx_graph.lockstep import Lockstep
from ..onnx_graph.opsets import for_bf16
from ..onnx_graph.typed_model import as_asked
from . import needs, ranges, runners, samples
from .judging import Judgement, judge

# Without samples, random ones are run only if that is quick.
_LARGEST_UNASKED = 256 << 20


@dataclass(frozen=True)
class Samples:
    """Where samples come from. ``real``: whether they are the user's. ``asked``: whether their failure is an error."""

    config: VerifyConfig
    real: bool
    asked: bool


def samples_of(job: ModelJob) -> Samples:
    """Return the samples of a model: those of its verification, else of its calibration, else random numbers."""
    config = job.judged
    if config is None:
        return Samples(VerifyConfig(count=1), real=False, asked=False)
    real = config.images is not None or config.npz is not None or bool(config.ranges)
    return Samples(config, real, asked=job.verify is not None)


def inputs_of(model: ModelProto, job: ModelJob) -> List[samples.Input]:
    """Return name, type and shape of each input as fed in a verification.

    Raises:
        VerifyError: there are no samples for such an input.
    """
    found = []
    for value in model.graph.input:
        kind = value.type.tensor_type
        sizes = [dim.dim_value if dim.HasField("dim_value") else None for dim in kind.shape.dim]
        name = TensorProto.DataType.Name(kind.elem_type).lower()
        dtype = runners.dtype_of(value.name, f"tensor({name})")
        found.append(samples.Input(value.name, dtype, samples.shape_of(value.name, sizes, job)))
    return found


def watched(job: ModelJob, given: Samples, model: ModelProto) -> Tuple[str, ranges.Source]:
    """Return a description of a model's samples, and the model with them, its batch normalization folded.

    Raises:
        VerifyError: the samples can't be used.
    """
    inputs = inputs_of(model, job)
    described, feeds = samples.feeds(given.config, inputs)
    few = list(itertools.islice(feeds, ranges.SAMPLES))
    affine.fold(model)
    return described, ranges.Source(
        model, few, lambda: itertools.islice(samples.feeds(given.config, inputs)[1], ranges.SAMPLES, None)
    )


def find(
    job: ModelJob, source: Path, on_phase: Callable[[str], None], known: Optional[Tuple[str, ranges.Source]] = None, *,
    work_dir: Optional[Path] = None,
) -> Optional[Findings]:  # fmt: skip
    """Return what samples show about a model to be rewritten to fp16 or bf16; None if nothing was measured.

    Args:
        job: the model.
        source: its file.
        on_phase: called with the name of each step.
        known: what ``watched`` returned for the model, if already called.
        work_dir: private directory for the model without branches that the manifest decides.

    Raises:
        VerifyError: the samples that the manifest names can't be used, or ONNX Runtime can't run the model.
    """
    given = samples_of(job)
    target = job.precision if job.precision == "bf16" else "fp16"
    required = given.asked or bool(job.keep_auto)
    if job.keep_auto is False or (job.precision == "int8" and job.builder.int8_remainder == "fp32"):
        return None
    if required:
        needs.check_modules()
    elif not equivalence.available() or source.stat().st_size + external_data.check(source) > _LARGEST_UNASKED:
        return None
    model = known[1].model if known is not None else as_asked(job, source, work_dir)
    if graph.has_qdq(model):
        return None
    on_phase("measure ranges")
    try:
        if known is None:
            if target == "bf16":
                model = for_bf16(model)
            known = watched(job, given, model)
        return _measured(job, given, known, target)
    except StageError:
        if required:
            raise
        return None


def _measured(job: ModelJob, given: Samples, known: Tuple[str, ranges.Source], target: str) -> Findings:
    described, source = known
    keep = graph.asked_in_fp32(source.model, job.kept_patterns)
    grow = given.asked or given.real or bool(job.keep_auto)
    try:
        judged = judge(given.config, target, meaning=meaning.of(source.model, source.feeds[0]))
        found = ranges.measure(source, target, judged, keep=keep, grow=grow)
    except runners.runtime_errors() as error:
        raise runners.cannot_run(error) from None
    added = {name: why for name, why in found.keep.items() if name not in keep}
    chosen = given.asked or given.real
    warnings = [] if chosen else _on_random({} if grow else added, found.judgement, target)
    return Findings(
        added, described, trusted=grow, runs=found.runs, warnings=warnings, search=found.search, share=found.share
    )


def _on_random(keep: Dict[str, str], judgement: Judgement, target: str) -> List[WarningInfo]:
    """Return the warning that only random numbers were used, which may show too much or too little."""
    if not keep and not judgement.problems:
        return []
    shown = [f"{name} ({why})" for name, why in list(keep.items())[:5]]
    shown += [f"{name}: {'; '.join(problems)}" for name, problems in judgement.problems.items()]
    return [
        WarningInfo(
            code="ranges-from-random",
            message=f"on random numbers {target} is not good enough everywhere: {', '.join(shown)}",
            hint="give samples with verify: {npz: FILE} or verify: {images: DIR}, so that what matters is kept in fp32",
        )
    ]


def origin(
    job: ModelJob, source: Path, twin: rounding.Rounded, feeds: Iterable[samples.Feed], work_dir: Optional[Path] = None
) -> Optional[str]:
    """Return where a rewritten model first departs from its source: the first tensor not finite, or else far off."""
    model = as_asked(job, source, work_dir)
    affine.fold(model)
    pair = Lockstep(model, twin.model, twin.wide)
    for feed in itertools.islice(feeds, ranges.SAMPLES):
        pair.run(feed)
    for limit in (math.inf, 0.01):
        for node in model.graph.node:
            for name in node.output:
                seen = pair.seen.get(name)
                if seen is not None and seen.relative >= limit:
                    text = f"reaches {seen.most:.3g} and is not finite" if seen.broken else "is more than 1 % off"
                    return f"the first tensor that {text}: {name!r}, made by {node.name} ({node.op_type})"
    return None
