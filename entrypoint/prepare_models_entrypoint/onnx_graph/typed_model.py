"""The ONNX file that the parser reads: the model itself, or a copy changed for the manifest and the precision."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Callable, Dict, Iterator, List, Mapping, Optional, Sequence, Tuple

from onnx import ModelProto, TensorProto

from ..contract import skeleton
from ..contract.conversion import OnnxConfig
from ..contract.job import ModelJob
from ..contract.precision import Means
from ..contract.report import REWRITING, Calibration, KeptLayer, PrecisionProof, WarningInfo
from ..converters.precision import Evidence, Rule, prove, rule, sentence, unfound, unmatched
from ..errors import ConvertError
from . import (
    affine,
    calibration_cache,
    domains,
    edits,
    equivalence,
    factors,
    faults,
    folding,
    graph,
    model_file,
    model_optimizer,
    opsets,
    proof,
    quantize,
    rescue,
    schemas,
    weight_chains,
)  # fmt: skip
from .calibration_cache import CalibrationCache
from .decide import KeptNode
from .findings import Findings
from .prepare import prepare
from .rescue import Applied, Rescue
from .retype import retype

_NOTHING = Rescue()
_TOO_FINE = "fp16 does not hold its scale"


@dataclass
class TypedModel:
    """A model file, how it got its types, and the evidence in the graph; None if a check left the types unchanged.

    calibration: set if a cache was read. kept: nodes that stay in fp32. already: whether it had the precision as
    exported.
    """

    path: Path
    rule: Rule
    evidence: Optional[Evidence]
    calibration: Optional[Calibration] = None
    warnings: List[WarningInfo] = field(default_factory=list)
    kept: List[KeptNode] = field(default_factory=list)
    already: bool = False
    findings: Optional[Findings] = None

    def proof(self, job: ModelJob) -> PrecisionProof:
        """Return how the model got its precision, and the evidence for it.

        Raises:
            ConvertError: the model did not get the precision asked for, and fallback is not allowed.
        """
        rule = Rule(Means.OWN_TYPES) if self.already else self.rule
        layers = [KeptLayer(name=node.name, op_type=node.op_type, reason=node.reason) for node in self.kept]
        kept = [layer for layer, node in zip(layers, self.kept) if not node.harmless]
        search = self.findings.search if self.findings is not None else None
        proven = prove(
            job.precision, rule, self.evidence, allow_fallback=job.allow_fallback, calibration=self.calibration,
            kept=kept, computing=[layer for layer in layers if layer["op_type"] in graph.COMPUTE] or kept or layers,
            addition=unfound(search, job.judged) if job.precision in ("fp16", "bf16") else ("", ""),
        )  # fmt: skip
        proven["kept_harmless"] = sum(node.harmless for node in self.kept)
        return proven


@contextlib.contextmanager
def prepared(
    job: ModelJob, source: Path, work_dir: Path, *, cache: Optional[CalibrationCache],
    on_phase: Callable[[str], None], check_only: bool = False, findings: Optional[Findings] = None,
    needs: Rescue = _NOTHING,
) -> Iterator[TypedModel]:  # fmt: skip
    """Yield the model for a strongly typed backend; a rewritten copy exists only while the block runs.

    Args:
        job: precision, and other changes that the manifest asks for.
        source: the plain ONNX file.
        work_dir: private directory for the copy.
        cache: scales for int8, None without a cache.
        on_phase: called with the name of each step.
        check_only: skip what takes minutes: fp8 from samples.
        findings: what samples showed; None if nothing was measured.
        needs: rewrites that make the model buildable without changing its results.
    """
    with skeleton.mapped(source) as view:
        changed = job.onnx != OnnxConfig() or bool(needs) or skeleton.has_functions(view)
    model, done = _rescued(job, source, work_dir, needs)
    with _blaming(source):
        evidence = proof.of_graph(model)
    chosen = rule(
        job.precision,
        flags=None,
        has_qdq=graph.has_qdq(model),
        has_cache=cache is not None,
        remainder=job.builder.int8_remainder,
        has_samples=job.calibration is not None,
        typed=bool(evidence.layers.get(job.precision)),
    )
    typed = TypedModel(source, chosen, evidence, findings=findings)
    if findings is not None:
        typed.warnings += findings.warnings
    if done.told:
        typed.warnings += _compared(source, model, done, job, work_dir)
    typed.warnings += _kept(job, chosen, model)
    rewriter = _Rewriter(job, cache, work_dir, typed, on_phase, dict.fromkeys(done.nodes, rescue.SPECTRUM))
    if chosen.rewrites and check_only and job.precision == "fp8":
        model_optimizer.check()
        typed.evidence = None
    elif chosen.rewrites:
        with _blaming(source):
            model = rewriter.rewrite(model, chosen.rewrites)
            changed = changed or not typed.already
            typed.evidence = proof.of_graph(model)
    if not changed:
        yield typed
        return
    typed.path = work_dir / "rewritten.onnx"
    try:
        model_file.save(model, typed.path)
        del model
        yield typed
    finally:
        for leftover in work_dir.glob("rewritten.onnx*"):
            leftover.unlink()


def _kept(job: ModelJob, chosen: Rule, model: ModelProto) -> List[WarningInfo]:
    """Return the warnings about what the manifest keeps in fp32.

    Raises:
        ConvertError: it would be ignored.
    """
    if chosen.rewrites:
        return unmatched(job.kept_patterns, (node.name for node in graph.nodes(model)))
    if job.kept_patterns and job.precision != "fp32":
        raise ConvertError(
            "builder-option-unavailable",
            "keep_fp32 would be ignored: the model is built with the types that it has "
            f"({sentence(chosen.means, requested=job.precision)})",
            hint="remove keep_fp32, or give the model without its own types",
        )
    return []


def as_asked(job: ModelJob, source: Path, work_dir: Optional[Path] = None) -> ModelProto:
    """Return the model with the manifest's changes to its graph, in the form that rewriting needs.

    With ``work_dir``, a private directory where it stays, branches that the manifest decides are removed as in a build:
    nodes and tensors then have the names of the built graph.
    """
    if work_dir is None or not job.onnx.constants:
        return prepare(edits.apply(_with_constants(job, source), job.onnx))
    folder = work_dir / "as-asked"
    folder.mkdir(mode=0o700, exist_ok=True)
    return _decided(job, source, folder, sizes=True)[0]


def _with_constants(job: ModelJob, source: Path) -> ModelProto:
    model = model_file.load(source)
    domains.declare(model)
    folding.fix(model, job)  # while inputs with a default are still inputs
    return prepare(model)


def _rescued(job: ModelJob, source: Path, work_dir: Path, needs: Rescue) -> Tuple[ModelProto, Applied]:
    """Return the model with the manifest's changes and the rewrites that it needs, and a description of the latter."""
    model, told = _decided(job, source, work_dir, sizes=bool(job.onnx.constants) or needs.branches)
    done = rescue.apply(model, needs, job)
    done.told += told
    return prepare(model), done


def _decided(job: ModelJob, source: Path, work_dir: Path, *, sizes: bool) -> Tuple[ModelProto, List[str]]:
    """Return the model with the manifest's changes, without branches that constants (and sizes, if wanted) decide."""
    model, by_constants = folding.by_constants(_with_constants(job, source), job, work_dir)
    model = prepare(edits.apply(model, job.onnx))
    model, by_sizes = folding.by_sizes(model, job, work_dir) if sizes else (model, [])
    return prepare(model), by_constants + by_sizes


def _compared(source: Path, model: ModelProto, done: Applied, job: ModelJob, work_dir: Path) -> List[WarningInfo]:
    """Return the warnings of a rescue, after checking that its results are the source model's."""
    file = work_dir / "rewritten.onnx"
    model_file.save(model, file)
    why_not = equivalence.check(source, file, job, work_dir)
    compared = "compared with the source model in ONNX Runtime" if why_not is None else f"not compared: {why_not}"
    hint = "prepare-models rewrite writes the graph that the engine is built from"
    return [WarningInfo(code=REWRITING, message=f"{told} ({compared})", hint=hint) for told in done.told]


def keep(graph_file: Path, target: Path) -> None:
    """Write a graph to ``target`` with all its weights, which are in a file next to it if too large for protobuf."""
    model_file.save(model_file.load(graph_file), target)


@contextlib.contextmanager
def _blaming(source: Path) -> Iterator[None]:
    """Turn a failure into an error that names the culprit: a graph that breaks the rules of ONNX, or this tool."""
    try:
        yield
    except (AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        why = f"{type(error).__name__}: {error}"
        raise faults.blame(source.name, faults.of(model_file.load(source)), why) from error


@dataclass
class _Rewriter:
    """Gives a model the precision that a job asks for, and records the result in ``typed``."""

    job: ModelJob
    cache: Optional[CalibrationCache]
    work_dir: Path
    typed: TypedModel
    on_phase: Callable[[str], None]
    added: Dict[str, str]

    def rewrite(self, model: ModelProto, steps: Sequence[str]) -> ModelProto:
        names = graph.tensor_names(model)
        fault = faults.of(model)
        if "qdq" in steps:
            model = self._lifted(model, steps)
            weight_chains.fold(model)
        affine.fold(model)
        for step in steps:
            self.on_phase(f"rewrite to {'int8' if step == 'qdq' else step}")
            model = self._step(model, step, names)
        made = faults.of(model)
        if made is not None and fault is None:
            raise faults.RewriteError(made)
        return model

    def _lifted(self, model: ModelProto, steps: Sequence[str]) -> ModelProto:
        """Return the model with the operators that Q/DQ nodes need. ONNX's converter would break an fp16 model."""
        if self.cache is None:
            return model
        half = "fp16" in steps or any(tensor.data_type == TensorProto.FLOAT16 for tensor in model.graph.initializer)
        return opsets.lift(model, schemas.HALF_SCALES if half else schemas.SCALE_AXIS)

    def _step(self, model: ModelProto, step: str, names: Sequence[str]) -> ModelProto:
        if step in ("fp16", "bf16"):
            return self._narrowed(model, step)
        if step == "fp8":
            return prepare(model_optimizer.to_fp8(model, self.job, self.work_dir))
        if self.cache is not None:
            out = self._out_of_int8(model)
            done = quantize.insert(model, self.cache.scales, names=set(names), keep=out.keys())
            layers = {node.name for node in graph.nodes(model) if node.op_type in graph.COMPUTE}
            self._cover(self.cache, done, names, {name: why for name, why in out.items() if name in layers})
        return model

    def _out_of_int8(self, model: ModelProto) -> Dict[str, str]:
        """Return the nodes that int8 would harm more than fp16 does, with the reasons.

        Where scales were made from samples, int8 itself was tried on them: then what fp16 can't hold is no reason.
        """
        asked = graph.asked_in_fp32(model, self.job.kept_patterns)
        if self.job.calibration is not None:
            return {**self.added, **asked}
        measured = self.typed.findings.keep if self.typed.findings is not None else {}
        valued = {node.name: node.reason for node in self.typed.kept if not node.harmless}
        return {**self.added, **measured, **valued, **asked}

    def _narrowed(self, model: ModelProto, target: str) -> ModelProto:
        """Return the model in fp16 or bf16, and record what has to stay in fp32."""
        if target == "bf16":
            model = opsets.for_bf16(model)
        elif graph.has_qdq(model):
            model = opsets.lift(model, schemas.HALF_SCALES)
        findings = self.typed.findings
        asked = graph.asked_in_fp32(model, self.job.kept_patterns)
        keep = {**self.added, **(findings.keep if findings is not None else {}), **asked}
        done = retype(model, target, keep=keep, samples=findings is not None and findings.trusted)
        self.typed.already = done.already and self.job.precision == target
        self.typed.kept = done.kept
        factors.spread(done.model)
        self.typed.warnings += done.warnings
        return done.model

    def _cover(
        self, cache: CalibrationCache, done: quantize.Quantized, names: Sequence[str], kept: Mapping[str, str]
    ) -> None:
        """Record how much of the model the cache covers, and refuse one that covers too little."""
        if self.job.calibration is not None and cache.method is None:
            cache = replace(cache, method=self.job.calibration.method)  # it was made from samples and read back
        lacking = {name for skipped in done.skipped.values() for name in skipped if name in cache.scales}
        self.typed.calibration = calibration_cache.coverage(cache.without(lacking, _TOO_FINE), done.wanted, names)
        for warning in calibration_cache.check(
            self.typed.calibration, allow_fallback=self.job.allow_fallback, kept=kept
        ):
            layers = f"{len(done.skipped)} layers stay out of int8: {', '.join(list(done.skipped)[:5])}"
            self.typed.warnings.append(WarningInfo(**{**warning, "message": f"{warning['message']}; {layers}"}))
