"""Before a model is rewritten: what samples show of the nodes that can't leave fp32, and which precision is right."""

from __future__ import annotations

import fnmatch
import importlib.util
import itertools
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Dict, Iterable, List, Optional

from onnx import ModelProto, TensorProto

from ..contract import external_data
from ..contract.job import ModelJob
from ..contract.report import WarningInfo
from ..contract.verification import VerifyConfig
from ..errors import StageError
from ..onnx_graph import batch_norm, graph, rounding
from ..onnx_graph.findings import Findings
from ..onnx_graph.lockstep import Lockstep
from ..onnx_graph.opsets import lift
from ..onnx_graph.typed_model import as_asked
from . import needs, ranges, runners, samples
from .judging import Judgement, judge

# Without samples, random ones are run only where that is quick.
_LARGEST_UNASKED = 256 << 20
_OPSET_OF_BF16 = 13


@dataclass(frozen=True)
class Samples:
    """Where samples come from. ``real``: they are the user's; ``asked``: their failure is an error."""

    config: VerifyConfig
    real: bool
    asked: bool


def samples_of(job: ModelJob) -> Samples:
    """Return the samples of a model: those of its verification, else of its calibration, else random numbers."""
    if job.verify is not None:
        real = job.verify.images is not None or job.verify.npz is not None or bool(job.verify.ranges)
        return Samples(job.verify, real, asked=True)
    if job.calibration is not None:
        return Samples(VerifyConfig(images=job.calibration), real=True, asked=False)
    return Samples(VerifyConfig(count=1), real=False, asked=False)


def inputs_of(model: ModelProto, job: ModelJob) -> List[samples.Input]:
    """Return name, type and shape of each input as a verification feeds it.

    Raises:
        VerifyError: there are no samples for such an input.
    """
    found = []
    for value in model.graph.input:
        kind = value.type.tensor_type
        sizes = [dim.dim_value if dim.HasField("dim_value") else None for dim in kind.shape.dim]
        name = TensorProto.DataType.Name(kind.elem_type).lower()
        found.append(
            (value.name, runners.dtype_of(value.name, f"tensor({name})"), samples.shape_of(value.name, sizes, job))
        )
    return found


def find(job: ModelJob, source: Path, on_phase: Callable[[str], None]) -> Optional[Findings]:
    """Return what samples show of a model that is to be rewritten to fp16 or bf16, None where nothing was measured.

    Raises:
        VerifyError: the samples that the manifest names can't be used, or ONNX Runtime can't run the model.
    """
    given = samples_of(job)
    target = job.precision if job.precision == "bf16" else "fp16"
    if job.keep_auto is False or not _has_halves(job) or not _is_possible(job, given):
        return None
    if not given.asked and not job.keep_auto and _bytes(source) > _LARGEST_UNASKED:
        return None
    model = as_asked(job, source)
    if graph.has_qdq(model):
        return None
    on_phase("measure ranges")
    if target == "bf16":
        model = lift(model, _OPSET_OF_BF16, required=_OPSET_OF_BF16, why="bf16")
    batch_norm.fold(model)
    try:
        return _measured(job, given, model, target)
    except StageError:
        if given.asked or job.keep_auto:
            raise
        return None


def _bytes(source: Path) -> int:
    return source.stat().st_size + external_data.check(source)


def _has_halves(job: ModelJob) -> bool:
    return job.precision != "int8" or job.builder.int8_remainder != "fp32"


def _is_possible(job: ModelJob, given: Samples) -> bool:
    if given.asked or job.keep_auto:
        needs.check_modules()
    return importlib.util.find_spec("onnxruntime") is not None


def _measured(job: ModelJob, given: Samples, model: ModelProto, target: str) -> Findings:
    described, feeds = samples.feeds(given.config, inputs_of(model, job))
    few = list(itertools.islice(feeds, ranges.SAMPLES))
    keep: Dict[str, str] = {}
    for node in graph.nodes(model):
        pattern = next((each for each in job.kept_patterns if fnmatch.fnmatchcase(node.name, each)), None)
        if pattern is not None:
            keep[node.name] = f"keep_fp32: {pattern}"
    grow = given.asked or given.real or bool(job.keep_auto)
    try:
        found = ranges.measure(model, target, few, judge(given.config, target), keep=keep, grow=grow)
    except runners.runtime_errors() as error:
        raise runners.cannot_run(error) from None
    told = {name: why for name, why in found.keep.items() if name not in keep}
    warnings = [] if grow else _on_random(told, found.judgement, target)
    return Findings(told, described, trusted=grow, warnings=warnings)


def _on_random(keep: Dict[str, str], judgement: Judgement, target: str) -> List[WarningInfo]:
    """Return the warning that random numbers showed something: they may show too much or too little."""
    if not keep and not judgement.problems:
        return []
    shown = [f"{name} ({why})" for name, why in list(keep.items())[:5]]
    shown += [f"{name}: {'; '.join(problems)}" for name, problems in judgement.problems.items()]
    return [
        WarningInfo(
            code="ranges-from-random",
            message=f"on random numbers {target} does not hold everywhere: {', '.join(shown)}",
            hint="give samples with verify: {npz: FILE} or verify: {images: DIR}, so that what matters is kept in fp32",
        )
    ]


def origin(job: ModelJob, source: Path, twin: rounding.Rounded, feeds: Iterable[samples.Feed]) -> Optional[str]:
    """Return where a rewritten model first leaves its source: the first tensor that is not finite, else is far off."""
    model = as_asked(job, source)
    batch_norm.fold(model)
    pair = Lockstep(model, twin.model, twin.wide)
    for feed in itertools.islice(feeds, ranges.SAMPLES):
        pair.run(feed)
    for limit in (math.inf, 0.01):
        for node in model.graph.node:
            for name in node.output:
                seen = pair.seen.get(name)
                if seen is not None and seen.relative >= limit:
                    told = f"reaches {seen.most:.3g} and is not finite" if seen.broken else "is more than 1 % off"
                    return f"the first tensor that {told}: {name!r}, made by {node.name} ({node.op_type})"
    return None
