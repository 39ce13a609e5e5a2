"""Building with the Python API, all the way from the model file to the engine file."""

from __future__ import annotations

import contextlib
import copy
import hashlib
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Callable, Dict, Iterator, List, Mapping, Optional, Tuple

from ..contract import external_data, extras
from ..contract.builder import BuilderConfig
from ..contract.conversion import OnnxConfig
from ..contract.files import naming
from ..contract.precision import AUTO
from ..contract.report import Binding, KeptLayer, PrecisionProof, ProfileShapes, WarningInfo
from ..contract.values import Value
from ..errors import ConvertError, missing
from ..onnx_graph import calibration_cache, whole_file
from ..onnx_graph.calibration_cache import CalibrationCache
from ..onnx_graph.findings import Findings
from . import messages, options, plugins, preflight, profiles, program, trtexec, well_formed
from .attempts import Attempt, best, located, settle
from .precision import Evidence, check_flags, prove, rule, unmatched
from .request import PARSE, SYNC, BuildRequest, BuildResult, Progress

if TYPE_CHECKING:
    from .backend import Network, trt

_WRITE_CHUNK = 1 << 20
_REHEARSED_WHOLE = 64 << 20  # bytes of weights; such a build takes a fraction of a second


def convert(request: BuildRequest, result: BuildResult, progress: Progress) -> None:
    """Check the model and, unless the request is for a check only, build it.

    A model that the backend refuses is tried again if a small rewrite that doesn't change results makes it buildable.
    """
    source = request.source
    whole_file.check(source)
    weights = source.stat().st_size + external_data.check(source)
    preflight.check_memory(weights, available=preflight.memory_available())
    _check_backend()
    from . import backend

    whole_file.check_operator_sets(source)
    info = backend.info()
    result["backend"] = info
    _check_options(request, result)
    plugins.load(request.model.plugins, backend.trt, backend.LOG)
    if request.verdict is None:
        well_formed.check(source)
    weakly = _weakly(request.model.builder)
    if _is_measured(request) and not weakly:  # which takes minutes
        _Attempt(request, request.model.precision, None, None, progress, None, weights).check_parser(result)
    cache = _cache(request, progress)
    settled, findings = settle(request, cache, progress, weakly=weakly)
    attempt = _Attempt(settled, request.model.precision, findings, cache, progress, None, weights)
    result.update(best(attempt, result))


def takes(builder: BuilderConfig) -> bool:
    """Return True: the API has every option, and ``options.check`` knows which versions lack some."""
    del builder
    return True


line = trtexec.equivalent


def _check_options(request: BuildRequest, result: BuildResult) -> None:
    model, info = request.model, result["backend"]
    if info is not None:
        has_gpu = request.capability is not None
        options.check(model.builder, info["name"], info["version"], precision=model.precision, has_gpu=has_gpu)
        result["warnings"] += options.check_gpu(info, request.capability, model.builder.compute_capabilities)
    if _weakly(model.builder):  # starting a builder takes ten seconds in TensorRT 8.6
        from . import backend

        check_flags(model.precision, backend.flag_names(), model.builder.int8_remainder)


def _weakly(builder: BuilderConfig) -> bool:
    """Return whether builder flags choose the precision."""
    from . import backend

    return backend.weakly_typed() and not builder.strongly_typed


class _Built(Value):
    """How the engine gets its precision: the proof so far, flags for the builder, the cache for a calibrator."""

    proof: PrecisionProof
    flags: Tuple[str, ...] = ()
    calibrator: Optional[CalibrationCache] = None


class _Attempt(Attempt):
    """An attempt through the API. ``weights``: size of the source's weights in bytes."""

    weights: int

    @property
    def precision(self) -> str:
        return "fp32" if _weakly(self.request.model.builder) else self.request.model.precision

    def tried_in_fp32(self) -> "_Attempt":
        """See ``Attempt``; a check asks the builder, too."""
        return self.in_fp32(check_only=True, graph=None)

    def check_parser(self, result: BuildResult) -> None:
        """Refuse a model that the parser takes in no form."""
        plain = self.tried_in_fp32()
        try:
            plain.parse(copy.deepcopy(result))
        except ConvertError:
            rescued = plain.rescued()
            if rescued is None:
                raise
            rescued.parse(copy.deepcopy(result))

    def parse(self, result: BuildResult) -> None:
        """Have the parser read the model, and do no more."""
        with self._parsed(result):
            pass

    def made(self, result: BuildResult) -> BuildResult:
        from .builder import Builder

        request, model = self.request, self.request.model
        with self._parsed(result) as (network, built):
            bindings = network.bindings()
            preflight.check_network(bindings, network.layers)
            self._check_declared(bindings)
            result["warnings"] += messages.from_parser(network.remarks)
            preflight.check_outputs(bindings, model.outputs)
            preflight.check_tensor_names(bindings, model.ros)
            traits = network.traits()
            resolved = profiles.resolve(bindings, model.inputs, model.profiles, traits=traits)
            _check_names(profiles.check_names(traits, resolved))
            for binding in bindings:
                binding["profiles"] = [each[binding["name"]] for each in resolved if binding["name"] in each]
            result["profiles"], result["io"] = resolved, bindings
            self.note(built.proof)
            result["precision_proof"] = built.proof
            result["details"] = network.details()
            result["warnings"] += _unused(request, built)
            builder = Builder(network, resolved, request, built.flags)
            result["builder"] = builder.effective
            if request.check_only:
                found = preflight.findings(network, self.weights, model, request.work_dir)
                with _with_sizes(traits, resolved):
                    found["rehearsed"] = builder.rehearse(whole=self.weights <= _REHEARSED_WHOLE)
                result["preflight"] = found
                result["warnings"] += messages.from_builder_warnings(network.warnings()) + preflight.isaac_ros(bindings)
                return result
            self.progress("build", 0, 0)
            with _with_sizes(traits, resolved):
                plan = builder.build(built.calibrator, progress=self.progress)
            result["warnings"] += messages.from_builder_warnings(network.warnings())
        self.progress("write", 0, 0)
        written = write_plan(plan, request.plan, lambda: self.progress(SYNC, 0, 0))
        result["engine_bytes"], result["engine_sha256"] = written
        return result

    def _check_declared(self, bindings: List[Binding]) -> None:
        """Refuse inputs that the parser read as scalars or with sizes of 0 because the model doesn't describe them."""
        doubtful = [each for each in bindings if each["mode"] == "input" and (0 in each["shape"] or not each["shape"])]
        if not doubtful or self.needs:
            return
        try:
            from ..onnx_graph import rescue
        except ImportError:
            return
        static = {*self.request.model.onnx.static_shapes, *self.request.model.onnx.constants}
        names = [name for name in rescue.undeclared(self.request.source) if name not in static]
        if names:
            raise ConvertError(
                "inputs-missing",
                f"the model does not say how large these inputs are: {', '.join(names)}",
                hint="add their shapes to the manifest under inputs:",
            )

    @contextlib.contextmanager
    def _parsed(self, result: BuildResult) -> Iterator[Tuple[Network, _Built]]:
        from . import backend

        request, model = self.request, self.request.model
        source, weakly = request.source, _weakly(model.builder)
        # How a builder that works on a GPU reads weights that are not aligned is not known.
        in_place = request.check_only or backend.needs_no_gpu()
        as_it_is = model.onnx == OnnxConfig() and not self.needs and not well_formed.has_functions(source)
        with contextlib.ExitStack() as stack:
            unchanged = as_it_is and (weakly or model.precision == "fp32")
            typed = None if unchanged else stack.enter_context(self.prepared())
            graph = typed.path if typed else source
            stack.enter_context(located(graph, source))
            result["rewritten"] = graph != source
            self.keep(graph)
            self.progress(PARSE, 0, 0)
            well_formed.check_loops(graph, source)
            network = backend.Network(graph, source, strongly_typed=not weakly, in_place=in_place)
            result["warnings"] += typed.warnings if typed else []
            if typed is None or weakly:
                yield network, _by_flags(request, result, network, self.cache, self.findings)
            else:
                yield network, _Built(typed.proof(model))


@contextlib.contextmanager
def _with_sizes(traits: Mapping[str, profiles.Traits], resolved: List[Dict[str, ProfileShapes]]) -> Iterator[None]:
    """Add the manifest's sizes to a builder's objection to them."""
    try:
        yield
    except ConvertError as error:
        if error.code != "inputs-mismatch":
            raise
        raise profiles.with_sizes(error, traits, resolved) from None


def _check_names(shared: List[str]) -> None:
    """Refuse dimensions of different sizes that share a meaningless name, as the builder would."""
    if shared:
        raise ConvertError(
            "inputs-mismatch",
            f"the model has one name for dimensions of different sizes: {', '.join(map(repr, shared))}",
            hint="fix the sizes with onnx: {static_shapes: {INPUT: SHAPE}}",
        )


def _by_flags(
    request: BuildRequest, result: BuildResult, network: Network, cache: Optional[CalibrationCache],
    findings: Optional[Findings],
) -> _Built:  # fmt: skip
    from . import backend

    model = request.model
    has_qdq = network.has_qdq()
    chosen = rule(
        model.precision,
        flags=backend.flag_names(),
        has_qdq=has_qdq,
        has_cache=cache is not None,
        remainder=model.builder.int8_remainder,
    )
    found = None
    if chosen.calibrator and cache is not None:
        wanted = network.activations()
        found = calibration_cache.coverage(cache, wanted, network.tensors())
        result["warnings"] += calibration_cache.check(found, allow_fallback=model.allow_fallback)
    kept: List[KeptLayer] = []
    evidence = None  # only the engine reports what the builder did with its flags
    if chosen.flags:
        kept = network.keep_fp32(model.kept_patterns, findings.keep if findings else {})
        result["warnings"] += unmatched(model.kept_patterns, (layer.name for layer in network))
    else:
        evidence = Evidence("graph", network.precisions())
    proof = prove(model.precision, chosen, evidence, allow_fallback=model.allow_fallback, calibration=found, kept=kept)
    return _Built(proof, chosen.flags, cache if chosen.calibrator else None)


def _unused(request: BuildRequest, built: _Built) -> List[WarningInfo]:
    """Return the warning that the build uses nothing from the manifest's calibration cache."""
    if request.cache_file is None or built.proof["calibration"] is not None:
        return []
    return [
        WarningInfo(
            code="calibration-unused",
            message=f"nothing is taken from the calibration cache: {request.model.precision} {built.proof['how']}",
            hint="remove calibration_cache:, or ask for precision: int8 of a model without Q/DQ nodes",
        )
    ]


def _is_measured(request: BuildRequest) -> bool:
    """Return whether scales come from the manifest's samples."""
    model = request.model
    return request.cache_file is None and model.calibration is not None and model.precision in ("int8", AUTO)


def _cache(request: BuildRequest, progress: Progress) -> Optional[CalibrationCache]:
    if _is_measured(request):
        return _measured(request, progress)
    return program.cache_of(request)


def _measured(request: BuildRequest, progress: Progress) -> CalibrationCache:
    """Return a cache made from the manifest's samples."""
    try:
        from ..onnx_graph import calibrate, typed_model
    except ImportError as error:
        raise missing(ConvertError, "calibration", "calibrate", error) from error
    made = request.work_dir / calibration_cache.FILE
    model = typed_model.as_asked(request.model, request.source, request.work_dir)
    try:
        return calibrate.produce(model, request.model, made, progress)
    except ConvertError as error:
        if request.model.precision != AUTO or error.code != "precision-not-delivered":
            raise
        return CalibrationCache.of_nothing(error.message)


def _check_backend() -> None:
    """Import the backend, or raise an error that says why it can't be used."""
    try:
        from . import backend
    except (ImportError, OSError) as error:
        raise ConvertError(
            "backend-unusable",
            f"the TensorRT module does not load: {error}",
            hint=f"{extras.install('local')}, or check the driver and libraries of this environment",
        ) from error
    del backend


def write_plan(plan: trt.IHostMemory, path: Path, on_written: Callable[[], None]) -> "tuple[int, str]":
    """Write the plan, and return its size in bytes and its sha256, computed meanwhile.

    ``on_written``: called when it can be flushed to the disk, which this function leaves to others.
    """
    view, digest = memoryview(plan), hashlib.sha256()
    hashing = threading.Thread(target=digest.update, args=(view,))
    hashing.start()
    try:
        with naming(path), open(path, "wb") as stream:
            # a single write of hundreds of megabytes takes several times as long
            stream.writelines(view[start : start + _WRITE_CHUNK] for start in range(0, len(view), _WRITE_CHUNK))
        on_written()
    finally:
        hashing.join()
    return len(view), digest.hexdigest()
