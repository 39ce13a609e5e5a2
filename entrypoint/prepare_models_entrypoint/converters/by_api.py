"""Building with the Python API: the request's whole way from the model file to the plan file."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import threading
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Optional, Tuple

from ..contract import external_data
from ..contract.conversion import OnnxConfig
from ..contract.files import sync
from ..contract.job import AUTO
from ..contract.report import Binding, PrecisionProof, ProfileShapes, WarningInfo
from ..errors import ConvertError
from ..onnx_graph import calibrate, calibration_cache, whole_file
from ..onnx_graph.calibration_cache import CalibrationCache
from . import estimate, gpu_support, messages, options, plugins, preflight
from .precision import Evidence, prove, rule, unmatched
from .ranges import Settled, settle
from .request import BuildRequest, BuildResult

Progress = Callable[[str, int, int], None]

_WRITE_CHUNK = 1 << 20


def convert(request: BuildRequest, result: BuildResult, progress: Progress) -> None:
    """Check the model and, unless the request is for a check only, build it."""
    source = Path(request.source)
    whole_file.check(source)
    weights = source.stat().st_size + external_data.check(source)
    estimate.check_memory(weights, available=estimate.memory_available())
    backend = _load_backend()
    info = backend.info()
    result["backend"] = info
    _check_options(request, result)
    plugins.load(request.model.plugins, backend)
    cache = _cache(request, progress)
    weakly = backend.weakly_typed() and not request.model.builder.strongly_typed
    settled = settle(request, cache, progress, weakly=weakly)
    request = settled.request
    model = request.model
    with _parsed(settled, result, backend, cache, progress) as (network, built):
        bindings: List[Binding] = network.bindings()
        preflight.check_network(bindings, network.layers)
        result["warnings"] += messages.from_parser(network.remarks)
        preflight.check_outputs(bindings, model.outputs)
        preflight.check_tensor_names(bindings, model.ros)
        profiles = preflight.resolve_profiles(bindings, model.inputs, model.profiles)
        result["profiles"], result["io"] = profiles, _with_profiles(bindings, profiles)
        settled.note(built.proof)
        result["precision_proof"] = built.proof
        result["details"] = network.details()
        result["warnings"] += _unused(request, built)
        builder = backend.Builder(network, profiles, request, built.flags)
        result["builder"] = builder.effective
        if request.check_only:
            result["preflight"] = estimate.findings(network, bindings, weights, model, Path(request.work_dir))
            return
        progress("build", 0, 0)
        plan = builder.build(built.calibrator, progress=progress)
    progress("write", 0, 0)
    result["engine_bytes"], result["engine_sha256"] = write_plan(plan, request.plan)


def _check_options(request: BuildRequest, result: BuildResult) -> None:
    model, info = request.model, result["backend"]
    if info is not None:
        has_gpu = request.capability is not None
        options.check(model.builder, info["name"], info["version"], precision=model.precision, has_gpu=has_gpu)
        result["warnings"] += gpu_support.check(info, request.capability, model.builder.compute_capabilities)


class _Built:
    """How the precision comes about: the proof so far, flags for the builder, the cache for a calibrator."""

    def __init__(self, proof: PrecisionProof, flags: "Tuple[str, ...]" = (), calibrator: Any = None) -> None:
        self.proof, self.flags, self.calibrator = proof, flags, calibrator


@contextlib.contextmanager
def _parsed(
    settled: Settled, result: BuildResult, backend: Any, cache: Optional[CalibrationCache], progress: Progress
) -> Iterator[Tuple[Any, _Built]]:
    request = settled.request
    model = request.model
    weakly = backend.weakly_typed() and not model.builder.strongly_typed
    if model.onnx == OnnxConfig() and (weakly or model.precision == "fp32"):
        progress("parse", 0, 0)
        network = backend.Network(request.source, strongly_typed=not weakly, check_only=request.check_only)
        yield network, _by_flags(request, result, backend, network, cache)
        return
    from ..onnx_graph.typed_model import prepared

    with prepared(
        dataclasses.replace(model, precision="fp32") if weakly else model,
        Path(request.source),
        Path(request.work_dir),
        cache=cache,
        on_phase=lambda phase: progress(phase, 0, 0),
        check_only=request.check_only,
        findings=settled.findings,
    ) as typed:
        progress("parse", 0, 0)
        network = backend.Network(str(typed.path), strongly_typed=not weakly, check_only=request.check_only)
        result["warnings"] += typed.warnings
        if weakly:
            yield network, _by_flags(request, result, backend, network, cache)
            return
        yield network, _Built(typed.proof(model))


def _by_flags(
    request: BuildRequest, result: BuildResult, backend: Any, network: Any, cache: Optional[CalibrationCache]
) -> _Built:
    model = request.model
    has_qdq: bool = network.has_qdq()
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
        for told in calibration_cache.check(found, allow_fallback=model.allow_fallback):
            hint = "use the calibration cache of exactly this model version"
            result["warnings"].append({"code": "calibration-incomplete", "message": told, "hint": hint})
    evidence = None  # what the builder makes of its flags only the engine tells
    if chosen.flags:
        network.keep_fp32(model.kept_patterns)
        result["warnings"] += unmatched(model.kept_patterns, (layer.name for layer in network))
    else:
        evidence = Evidence("graph", network.precisions())
    proof = prove(model.precision, chosen, evidence, allow_fallback=model.allow_fallback, calibration=found)
    return _Built(proof, chosen.flags, cache if chosen.calibrator else None)


def _unused(request: BuildRequest, built: _Built) -> List[WarningInfo]:
    """Return the warning that the build takes nothing from the calibration cache that the manifest gives."""
    if request.cache_file is None or built.proof["calibration"] is not None:
        return []
    return [
        WarningInfo(
            code="calibration-unused",
            message=f"nothing is taken from the calibration cache: {request.model.precision} {built.proof['how']}",
            hint="remove calibration_cache:, or ask for precision: int8 of a model without Q/DQ nodes",
        )
    ]


def _cache(request: BuildRequest, progress: Progress) -> Optional[CalibrationCache]:
    config = request.model.calibration
    if request.cache_file is None and config is not None and request.model.precision in ("int8", AUTO):
        made = Path(request.work_dir) / calibrate.FILE
        calibrate.produce(Path(request.source), config, made, progress)
        return calibration_cache.read(made, "the cache made from samples")
    if request.cache_file is None:
        return None
    return calibration_cache.read(Path(request.cache_file), request.model.calibration_cache or "the calibration cache")


def _load_backend() -> Any:
    try:
        from . import backend
    except (ImportError, OSError) as error:
        raise ConvertError(
            "backend-unusable",
            f"the TensorRT module does not load: {error}",
            hint="install 'prepare-models[local]' again, or check the driver and libraries of this environment",
        ) from error
    return backend


def _with_profiles(bindings: List[Binding], profiles: List[Dict[str, ProfileShapes]]) -> List[Binding]:
    for binding in bindings:
        binding["profiles"] = [profile[binding["name"]] for profile in profiles if binding["name"] in profile]
    return bindings


def write_plan(plan: Any, path: str) -> "tuple[int, str]":
    """Write the plan and bring it to the disk; meanwhile hash it."""
    view, digest = memoryview(plan), hashlib.sha256()
    hashing = threading.Thread(target=digest.update, args=(view,))
    hashing.start()
    try:
        with open(path, "wb") as stream:
            # one write of hundreds of megabytes takes several times as long
            stream.writelines(view[start : start + _WRITE_CHUNK] for start in range(0, len(view), _WRITE_CHUNK))
            sync(stream)
    finally:
        hashing.join()
    return len(view), digest.hexdigest()
