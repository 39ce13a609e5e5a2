"""Building with NVIDIA's programs: trtexec without Python bindings, tao-converter where it alone can decrypt."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Sequence

from ..contract import external_data
from ..contract.environment import BackendInfo
from ..contract.files import sha256_file, sync
from ..contract.precision import AUTO, Means
from ..contract.report import Binding, Calibration, ProfileShapes, WarningInfo
from ..contract.settings import Version
from ..errors import ConvertError
from ..onnx_graph import calibration_cache, whole_file
from ..onnx_graph.calibration_cache import CalibrationCache
from . import (
    build_time,
    gpu_support,
    layer_info,
    plugins,
    preflight,
    profiles,
    quantization,
    tao_converter,
    timing_cache,
    trtexec,
)
from .messages import from_program
from .precision import Rule, judge_by_size, prove, rule
from .ranges import settle
from .request import BuildRequest, BuildResult

Progress = Callable[[str, int, int], None]

_OUTPUT_KEPT = 64 << 10


def convert(request: BuildRequest, result: BuildResult, progress: Progress) -> None:
    """Run the program that the request names and judge what it left."""
    if request.model.precision == AUTO:
        raise ConvertError(
            "precision-unavailable",
            "precision: auto builds with TensorRT's Python module, and here a program would build",
            hint="name the precision, or build where the module is installed",
        )
    plugins.verify(request.model.plugins)
    if request.key_fd is not None:
        _by_tao_converter(request, result, progress)
    else:
        _by_trtexec(request, result, progress)
    result["children_rss_bytes"] = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024


def _by_tao_converter(request: BuildRequest, result: BuildResult, progress: Progress) -> None:
    model, program = request.model, request.program or ""
    with os.fdopen(request.key_fd or 0, "r", encoding="utf-8") as stream:
        key = stream.read().strip()
    cache = _cache(request)
    argv = tao_converter.command(
        model, program=program, key=key, etlt=request.source, engine=request.plan, cache=request.cache_file
    )
    result["command"] = tao_converter.masked(argv)
    result["io"], result["profiles"] = _declared(request)
    result["backend"] = BackendInfo(name="tensorrt", version="unknown")
    if request.check_only:
        return
    with build_time.told(progress, request.expected_s):
        _run(argv, "tao-converter", secret=key)
    _take_plan(request, result)
    found = calibration_cache.coverage(cache, (), cache.scales) if cache else None
    model_bytes = Path(request.source).stat().st_size  # of the same size as the network that is encrypted in it
    shown, told = judge_by_size(model.precision, engine_bytes=result["engine_bytes"], model_bytes=model_bytes)
    chosen = Rule(Means.TAO_CONVERTER)
    proof = prove(model.precision, chosen, None, allow_fallback=model.allow_fallback, calibration=found)
    proof["how"] = f"{proof['how']}{told}"
    if shown:
        proof["delivered"], proof["source"] = model.precision, "engine size"
    result["precision_proof"] = proof


def _by_trtexec(request: BuildRequest, result: BuildResult, progress: Progress) -> None:
    model, program = request.model, request.program or ""
    whole_file.check(Path(request.source))
    external_data.check(Path(request.source))
    version = _version(program)
    result["backend"] = backend = BackendInfo(name="tensorrt", version=".".join(map(str, version)))
    gpu_support.check(backend, request.capability, ())
    trtexec.check_model(model, version)
    whole_file.check_operator_sets(Path(request.source))
    quantization.check(Path(request.source))
    cache = _cache(request)
    bindings, has_qdq, found = _look(request, cache)
    chosen = rule(
        model.precision,
        flags=("FP16", "INT8", "BF16", "FP8") if version < (11,) else None,
        has_qdq=has_qdq,
        has_cache=cache is not None,
        remainder=model.builder.int8_remainder,
    )
    if bindings:
        preflight.check_outputs(bindings, model.outputs)
        preflight.check_tensor_names(bindings, model.ros)
        result["io"], result["profiles"] = bindings, profiles.resolve(bindings, model.inputs, model.profiles)
    else:
        result["io"], result["profiles"] = _declared(request)
    if chosen.rewrites:
        _by_rewritten(request, result, version, cache, progress)
        return
    _keep(request, Path(request.source))
    _run_trtexec(request, result, version, request.source, progress)
    if request.check_only:
        return
    _take_plan(request, result)
    try:
        evidence = layer_info.read(_layer_info_file(request))
    except layer_info.UnreadableError as error:
        evidence = None
        hint = "please report it with trtexec's version; until then the precision is unproven"
        result["warnings"].append(WarningInfo(code="engine-partly-unknown", message=str(error), hint=hint))
    result["precision_proof"] = prove(
        model.precision, chosen, evidence, allow_fallback=model.allow_fallback, calibration=found
    )


def _keep(request: BuildRequest, onnx: Path) -> None:
    """Write the graph that the converter is given to the file that was asked for."""
    if request.graph is not None:
        from ..onnx_graph import typed_model

        typed_model.keep(onnx, Path(request.graph))


def _by_rewritten(
    request: BuildRequest, result: BuildResult, version: Version, cache: Optional[CalibrationCache], progress: Progress
) -> None:
    from ..onnx_graph.typed_model import prepared

    settled = settle(request, cache, progress, weakly=False)
    model = request.model
    with prepared(
        model,
        Path(request.source),
        Path(request.work_dir),
        cache=cache,
        on_phase=lambda phase: progress(phase, 0, 0),
        check_only=request.check_only,
        findings=settled.findings,
    ) as typed:
        result["warnings"] += typed.warnings
        result["rewritten"] = typed.path != Path(request.source)
        _keep(request, typed.path)
        proof = typed.proof(model)
        settled.note(proof)
        result["precision_proof"] = proof
        _run_trtexec(request, result, version, str(typed.path), progress)
    if not request.check_only:
        _take_plan(request, result)


def _run_trtexec(request: BuildRequest, result: BuildResult, version: Version, onnx: str, progress: Progress) -> None:
    """Have trtexec build the engine; for a check, only find out whether it could be asked to."""
    with timing_cache.private(request, "trtexec", ".".join(map(str, version))) as timings:
        argv = _trtexec_command(request, result, version, onnx, timings)
        trtexec.check(argv, version)
        result["command"] = argv
        if not request.check_only:
            with build_time.told(progress, request.expected_s):
                _run(argv, "trtexec")


def _trtexec_command(
    request: BuildRequest, result: BuildResult, version: Version, onnx: str, timings: Optional[str]
) -> List[str]:
    model = request.model
    flags = trtexec.precision_flags(
        model.precision, version, cache=request.cache_file, remainder=model.builder.int8_remainder
    )
    argv = trtexec.command(
        onnx,
        request.plan,
        profiles=result["profiles"],
        builder=model.builder,
        precision_flags=flags,
        program=request.program or "trtexec",
        inputs=[binding["name"] for binding in result["io"] if binding["mode"] == "input"] or None,
        plugins=[plugin.file for plugin in model.plugins],
        version=version,
        explicit_shapes=bool(model.inputs),
    )
    layers = str(_layer_info_file(request)) if flags else None
    return argv + trtexec.additions(version, layer_info=layers, timing_cache=timings)


def _look(
    request: BuildRequest, cache: Optional[CalibrationCache]
) -> "tuple[List[Binding], bool, Optional[Calibration]]":
    """Return bindings, whether there are Q/DQ nodes, and the cache's coverage, where onnx is there to tell."""
    try:
        from ..onnx_graph import graph, model_file
    except ImportError:
        return [], False, calibration_cache.coverage(cache, (), cache.scales) if cache else None
    from ..inspect.onnx_model import bindings

    model = model_file.load(Path(request.source))
    found = None
    if cache is not None:
        wanted = [
            name for node in graph.nodes(model) if node.op_type in ("Conv", "MatMul", "Gemm") for name in node.input[:1]
        ]
        found = calibration_cache.coverage(cache, wanted, graph.tensor_names(model))
        calibration_cache.check(found, allow_fallback=request.model.allow_fallback)
    return bindings(model), graph.has_qdq(model), found


def _declared(request: BuildRequest) -> "tuple[List[Binding], List[Dict[str, ProfileShapes]]]":
    """Return bindings and profiles as the manifest tells them, for models that nothing here can read."""
    shapes = {name: profiles.declared(each) for name, each in request.model.inputs.items()}
    io = [
        Binding(
            name=name, mode="input", dtype="float32", profiles=[one], source="network",
            shape=[low if low == high else -1 for low, high in zip(one["min"], one["max"])],
        )
        for name, one in shapes.items()
    ]  # fmt: skip
    return io, [shapes]


def _version(program: str) -> Version:
    try:
        told = subprocess.run([program, "--help"], capture_output=True, check=False, timeout=30)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ConvertError(
            "converter-unavailable", f"{program} does not start: {error}", hint="check TensorRT's installation"
        ) from None
    version = trtexec.parse_version((told.stdout + told.stderr).decode("utf-8", "replace"))
    if version is None:
        raise ConvertError(
            "converter-unavailable",
            f"{program} does not tell its TensorRT version",
            hint="check that it is NVIDIA's trtexec and that its libraries are found",
        )
    return version


def _run(argv: Sequence[str], name: str, *, secret: str = "") -> None:
    """Run a program in this session, so that it ends with this process; its output goes to the log without the key."""
    try:
        ended = subprocess.run(
            argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
        )
    except OSError as error:
        raise ConvertError(
            "converter-unavailable", f"{argv[0]} does not start: {error.strerror}", hint="check its installation"
        ) from None
    output = ended.stdout.decode("utf-8", "replace")
    if secret:
        output = output.replace(secret, tao_converter.MASK)
    sys.stderr.write(output)
    if ended.returncode:
        raise from_program(name, ended.returncode, output[-_OUTPUT_KEPT:])


def _take_plan(request: BuildRequest, result: BuildResult) -> None:
    plan = Path(request.plan)
    size = plan.stat().st_size if plan.exists() else 0
    if not size:
        raise ConvertError(
            "converter-failed",
            "the converter ended well and wrote no engine",
            hint="check the room on the disk, or use converter: api",
        )
    with plan.open("rb+") as stream:
        sync(stream)
    result["engine_bytes"], result["engine_sha256"] = size, sha256_file(plan)


def _cache(request: BuildRequest) -> Optional[CalibrationCache]:
    if request.cache_file is None:
        return None
    return calibration_cache.read(Path(request.cache_file), request.model.calibration_cache or "the calibration cache")


def _layer_info_file(request: BuildRequest) -> Path:
    return Path(request.work_dir) / "layers.json"


__all__: List[Any] = ["convert"]
