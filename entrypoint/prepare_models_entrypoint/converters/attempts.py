"""The ways from a model to its engine, which are tried until a backend accepts one, and what is to blame if none is."""

from __future__ import annotations

import abc
import contextlib
import copy
import dataclasses
import glob
import importlib.util
import json
from pathlib import Path
from typing import TYPE_CHECKING, Callable, ContextManager, Dict, FrozenSet, Iterator, Optional, Sequence, Tuple

from ..contract.precision import AUTO
from ..contract.report import PrecisionChoice, PrecisionProof
from ..contract.values import Value
from ..errors import ConvertError
from ..onnx_graph.calibration_cache import CalibrationCache
from ..onnx_graph.findings import Findings
from . import parser_errors
from .request import BuildRequest, BuildResult, Progress

if TYPE_CHECKING:
    from typing_extensions import Self  # missing in Python 3.8

    from ..onnx_graph.rescue import Rescue
    from ..onnx_graph.typed_model import TypedModel

_REWRITTEN = ("fp16", "bf16", "int8")
# Errors of parser, builder and programs about a graph and its sizes, which another form of the graph may avoid.
_OF_THE_GRAPH = (
    "build-failed", "converter-failed", "inputs-mismatch", "inputs-missing", "onnx-invalid", "onnx-node-invalid",
    "onnx-unsupported-operator", "plugin-missing", "precision-unavailable",
)  # fmt: skip
_SINGLY = 4  # how often only the refused nodes stay in fp32, before their neighbours do, too
_AROUND = 2  # nodes
_NAMED = 10


def settle(
    request: BuildRequest, cache: Optional[CalibrationCache], progress: Progress, *, weakly: bool
) -> Tuple[BuildRequest, Optional[Findings]]:
    """Return the request with a settled precision, and what samples showed; None if nothing was measured.

    ``weakly``: whether the builder chooses the types, and accepts names of layers that stay in fp32.
    """
    job, source, work_dir = request.model, request.source, request.work_dir
    findings: Optional[Findings] = None
    if job.precision == AUTO:
        from ..verify import choice

        job, findings = choice.choose(job, source, work_dir, cache, _phases(progress))
    elif job.precision in _REWRITTEN and (not weakly or importlib.util.find_spec("onnx") is not None):
        from ..verify import analysis

        findings = analysis.find(job, source, _phases(progress), work_dir=work_dir)
    if weakly and findings is not None:
        job = dataclasses.replace(job, keep_fp32=(*job.kept_patterns, *map(glob.escape, findings.keep)))
    return dataclasses.replace(request, model=job), findings


def _phases(progress: Progress) -> Callable[[str], None]:
    return lambda phase: progress(phase, 0, 0)


class Attempt(Value, abc.ABC):
    """One way from the model to the engine.

    request: with the settled precision. requested: the precision that the manifest names. findings: what samples
    showed; None if nothing was measured. cache: scales for int8. needs: rewrites that the model needs to be buildable.
    """

    request: BuildRequest
    requested: str
    findings: Optional[Findings]
    cache: Optional[CalibrationCache]
    progress: Progress
    needs: "Optional[Rescue]"

    @property
    @abc.abstractmethod
    def precision(self) -> str:
        """Return the precision to which the graph is rewritten; fp32 if the builder or the model decides."""

    @abc.abstractmethod
    def made(self, result: BuildResult) -> BuildResult:
        """Return the result with what was found and built.

        Raises:
            ConvertError: the backend refuses it. The error has the names of the nodes, if the backend reports them.
        """

    @abc.abstractmethod
    def tried_in_fp32(self) -> Self:
        """Return the attempt that shows whether the backend accepts the model without any change of precision."""

    def rescued(self) -> Optional[Self]:
        """Return the attempt with rewrites that may make the model buildable, or None if there are none."""
        try:
            from ..onnx_graph import rescue
        except ImportError:
            return None
        needs = rescue.survey(self.request.source, self.request.model)
        return dataclasses.replace(self, needs=needs) if needs else None

    def keeping(self, nodes: Dict[str, str]) -> Self:
        """Return the attempt with more nodes in fp32; ``nodes``: reasons by name."""
        findings = self.findings or Findings({}, None, trusted=False)
        findings = dataclasses.replace(findings, keep={**findings.keep, **nodes})
        return dataclasses.replace(self, findings=findings)

    def in_fp32(self, **request: object) -> Self:
        """Return the attempt without any change of precision; ``request``: other changes to the request."""
        model = dataclasses.replace(self.request.model, precision="fp32", keep_fp32=())
        changed = dataclasses.replace(self.request, model=model, **request)  # type: ignore[arg-type]  # fields of it
        return dataclasses.replace(self, request=changed, findings=_in_fp32(self.findings))

    def prepared(self) -> ContextManager[TypedModel]:
        """Return a context that has the model in the form that the backend gets."""
        from ..onnx_graph.typed_model import prepared

        request = self.request
        return prepared(
            dataclasses.replace(request.model, precision=self.precision),
            request.source,
            request.work_dir,
            cache=self.cache,
            on_phase=_phases(self.progress),
            check_only=request.check_only and request.graph is None,
            findings=self.findings,
            **({"needs": self.needs} if self.needs else {}),
        )

    def keep(self, graph: Path) -> None:
        """Write the backend's graph to the file that was asked for, if any."""
        if self.request.graph is not None:
            from ..onnx_graph import typed_model

            typed_model.keep(graph, self.request.graph)

    def note(self, proof: PrecisionProof) -> None:
        """Record in a proof what was asked for and what was measured."""
        proof["requested"] = self.requested
        if self.findings is not None:
            proof["measured"], proof["choices"] = self.findings.measured, self.findings.choices
            proof["measured_runs"], proof["search"] = self.findings.runs, self.findings.search
            proof["kept_share"] = self.findings.share


def _in_fp32(findings: Optional[Findings]) -> Optional[Findings]:
    """Return findings that choose fp32, as the builder accepts nothing lower."""
    if findings is None:
        return None
    rows = [
        PrecisionChoice(**{**row, "verdict": "impossible", "told": "the builder refuses it"})
        if row["verdict"] == "chosen"
        else PrecisionChoice(**{**row, "verdict": "chosen", "told": "as exported", "error": 0.0})
        if row["precision"] == "fp32"
        else row
        for row in findings.choices
    ]
    return dataclasses.replace(findings, keep={}, choices=rows, search=None, share=None)


def best(attempt: Attempt, blank: BuildResult) -> BuildResult:
    """Return the result of the first way that the backend accepts.

    Raises:
        ConvertError: it accepts none. The model is blamed only if the backend refuses it unchanged.
    """
    try:
        return attempt.made(copy.deepcopy(blank))
    except ConvertError as error:
        refusal = error
    if refusal.code not in _OF_THE_GRAPH:
        raise refusal
    rescued = attempt.rescued()
    if rescued is not None:
        attempt = rescued
        try:
            return attempt.made(copy.deepcopy(blank))
        except ConvertError as error:
            refusal = error
    if attempt.precision == "fp32" or refusal.code not in _OF_THE_GRAPH:
        raise _with_a_witness(attempt, refusal)
    return _with_less_rewritten(attempt, refusal, blank)


def _with_a_witness(attempt: Attempt, refusal: ConvertError) -> ConvertError:
    """Return the error; contradictory sizes are the model's fault if ONNX Runtime can't compute them either."""
    if not refusal.of_sizes:
        return refusal
    try:
        from ..onnx_graph import equivalence
    except ImportError:
        return refusal
    request, model = attempt.request, attempt.request.model
    why = equivalence.runs(request.source, model, request.work_dir)
    if why is None:
        return refusal
    message = f"{refusal.message}. ONNX Runtime can't run it either: {why}"
    if model.inputs or model.profiles or model.onnx.static_shapes:
        return ConvertError("inputs-mismatch", message, hint=refusal.hint)
    return ConvertError("onnx-node-invalid", message, hint="export the model with sizes that fit together at this node")


def _with_less_rewritten(attempt: Attempt, refusal: ConvertError, blank: BuildResult) -> BuildResult:
    try:
        attempt.tried_in_fp32().made(copy.deepcopy(blank))
    except ConvertError as error:  # if it is refused there, too, precision isn't the cause
        raise _with_a_witness(attempt, error) from None
    keep: Dict[str, str] = {}
    reason = f"the builder refuses it in {attempt.precision}"
    for tried in range(_SINGLY + 1):
        more = refusal.nodes if tried < _SINGLY else refusal.around
        fresh = [name for name in more if name not in keep]
        if not fresh and tried < _SINGLY:
            continue
        if not fresh:
            break
        keep.update(dict.fromkeys(fresh, reason))
        try:
            return attempt.keeping(keep).made(copy.deepcopy(blank))
        except ConvertError as error:
            if error.code not in _OF_THE_GRAPH:
                raise
            refusal = error
    if refusal.code == "precision-unavailable" and not keep:
        raise refusal  # no node is at fault: this machine lacks something that the precision needs
    if attempt.requested == AUTO:
        return attempt.in_fp32().made(copy.deepcopy(blank))
    raise _is_ours(attempt.precision, keep, refusal)


def _is_ours(precision: str, keep: Dict[str, str], refusal: ConvertError) -> ConvertError:
    named = ", ".join(list(keep)[:_NAMED]) + (", ..." if len(keep) > _NAMED else "")
    tried = f", also with {len(keep)} nodes kept in fp32 ({named})" if keep else ""
    pattern = f", or keep more around these nodes in fp32 with keep_fp32: {json.dumps(list(keep)[:1])}" if keep else ""
    error = ConvertError(
        "rewriting-refused",
        f"the builder takes the model in fp32, but refuses it rewritten to {precision}{tried}: {refusal.message}",
        hint=f"use precision: fp32, which this builder takes{pattern}; please report it with the model",
    )
    error.nodes = tuple(keep) or refusal.nodes
    return error


@contextlib.contextmanager
def located(graph: Path, source: Path) -> Iterator[None]:
    """Add the nodes of the backend's graph, under the source's names, to its errors."""
    try:
        yield
    except ConvertError as error:
        with contextlib.suppress(ImportError):
            from ..onnx_graph import model_file
            from ..onnx_graph.surroundings import Surroundings

            found = Surroundings(model_file.load(graph))
            by_builder = not error.nodes
            refused = found.computing(error.nodes or _words(error.said or error.message))
            error.nodes = tuple(refused)
            error.around = tuple(found.near(refused, _AROUND))
            if by_builder and error.code == "onnx-unsupported-operator":
                error.hint += parser_errors.advice(source, refused, decided=True)
        raise


def _words(message: str) -> Sequence[str]:
    """Return what may be names of nodes in a builder's message. It adds numbers and suffixes to them."""
    words: FrozenSet[str] = frozenset(
        part.strip("'\"`.:;,")
        for word in message.translate(str.maketrans("()[]{}", "      ")).split()
        for part in (word, *word.split("..."))
    )
    return sorted(words | {part.rpartition("_")[0] for part in words} - {""})
