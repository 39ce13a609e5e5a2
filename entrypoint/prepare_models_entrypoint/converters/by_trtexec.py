"""Building with trtexec, for a Python without a TensorRT module."""

from __future__ import annotations

import dataclasses
import shlex
import subprocess
from pathlib import Path
from typing import List, Optional

from ..contract import external_data
from ..contract.builder import BuilderConfig
from ..contract.environment import BackendInfo
from ..contract.job import ModelJob
from ..contract.precision import Means
from ..contract.report import Binding, Calibration, WarningInfo
from ..contract.versions import Version
from ..errors import ConvertError
from ..onnx_graph import calibration_cache, whole_file
from ..onnx_graph.calibration_cache import CalibrationCache
from . import layer_info, options, preflight, profiles, program, timing_cache, trtexec, well_formed
from .attempts import Attempt, best, located, settle
from .precision import Rule, prove, rule
from .request import BuildRequest, BuildResult, Progress


def convert(request: BuildRequest, result: BuildResult, progress: Progress) -> None:
    """Check the model, build it with trtexec, and take the precision from the layer information that it exports."""
    program.check(request)
    model = request.model
    whole_file.check(request.source)
    external_data.check(request.source)
    version = _version(request.program or "")
    result["backend"] = backend = BackendInfo(name="tensorrt", version=".".join(map(str, version)))
    options.check_gpu(backend, request.capability, ())
    trtexec.check_model(model, version)
    whole_file.check_operator_sets(request.source)
    well_formed.check(request.source)
    cache = program.cache_of(request)
    bindings, has_qdq, found = _look(request, cache)
    chosen = rule(
        model.precision,
        flags=trtexec.builder_flags(version),
        has_qdq=has_qdq,
        has_cache=cache is not None,
        remainder=model.builder.int8_remainder,
    )
    if bindings:
        preflight.check_outputs(bindings, model.outputs)
        preflight.check_tensor_names(bindings, model.ros)
        result["io"], result["profiles"] = bindings, profiles.resolve(bindings, model.inputs, model.profiles)
    else:
        result["io"], result["profiles"] = program.declared(request)
    settled, findings = settle(request, cache, progress, weakly=False) if chosen.rewrites else (request, None)
    attempt = _Attempt(settled, model.precision, findings, cache, progress, None, version, chosen, found)
    result.update(best(attempt, result))


def takes(builder: BuilderConfig) -> bool:
    """Return whether trtexec has an option for each setting."""
    return not any(options.lost_by_trtexec(*chosen) for chosen in builder.chosen())


def line(model: ModelJob, result: BuildResult) -> Optional[str]:
    """Return the command line that was run, with the user's names for the files."""
    shown = {
        "--onnx": trtexec.graph_name(model, result),
        "--saveEngine": trtexec.plan_name(model),
        "--calib": trtexec.cache_name(model),
        "--timingCacheFile": "timing.cache",
        "--exportLayerInfo": "layers.json",
    }
    argv = result["command"] or []
    names = [argument.partition("=")[0] for argument in argv]
    return shlex.join([f"{name}={shown[name]}" if name in shown else a for name, a in zip(names, argv)])


class _Attempt(Attempt):
    """An attempt with trtexec. chosen: how the engine gets its precision. coverage: of the calibration cache."""

    version: Version
    chosen: Rule
    coverage: Optional[Calibration]

    @property
    def precision(self) -> str:
        return self.request.model.precision if self.chosen.rewrites else "fp32"

    def tried_in_fp32(self) -> "_Attempt":
        """See ``Attempt``; only a build shows it, and its engine is overwritten."""
        return self.in_fp32(graph=None)

    def in_fp32(self, **request: object) -> "_Attempt":
        return dataclasses.replace(super().in_fp32(**request), chosen=Rule(Means.EXPORTED))

    def made(self, result: BuildResult) -> BuildResult:
        source = self.request.source
        if not self.chosen.rewrites and not self.needs and not well_formed.has_functions(source):
            self._run(result, source)
        else:
            with self.prepared() as typed:
                result["warnings"] += typed.warnings
                result["rewritten"] = typed.path != source
                if self.chosen.rewrites:
                    result["precision_proof"] = proof = typed.proof(self.request.model)
                    self.note(proof)
                self._run(result, typed.path)
        if not self.chosen.rewrites and not self.request.check_only:
            self._by_layers(result)
        return result

    def _run(self, result: BuildResult, onnx: Path) -> None:
        """Build the engine with trtexec; for a check, only find out whether trtexec has the options."""
        request, model, source, version = self.request, self.request.model, self.request.source, self.version
        flags = trtexec.precision_flags(self.chosen.flags, request.cache_file if "INT8" in self.chosen.flags else None)
        layers = str(_layer_info_file(request)) if flags else None
        self.keep(onnx)
        with located(onnx, source):
            well_formed.check_loops(onnx, source)
            with timing_cache.private(request, "trtexec", ".".join(map(str, version))) as timings:
                argv = trtexec.command(
                    str(onnx),
                    str(request.plan),
                    profiles=result["profiles"],
                    builder=model.builder,
                    precision_flags=flags,
                    program=request.program or "trtexec",
                    inputs=[binding["name"] for binding in result["io"] if binding["mode"] == "input"] or None,
                    plugins=[plugin.file for plugin in model.plugins],
                    version=version,
                    explicit_shapes=bool(model.inputs),
                )
                argv += trtexec.additions(version, layer_info=layers, timing_cache=timings)
                trtexec.check(argv, version)
                result["command"] = argv
                if not request.check_only:
                    program.run(argv, "trtexec", request, self.progress)
        if not request.check_only:
            program.take_plan(request, result)

    def _by_layers(self, result: BuildResult) -> None:
        """Take the precision from the layer information."""
        try:
            evidence = layer_info.read(_layer_info_file(self.request))
        except layer_info.UnreadableError as error:
            evidence = None
            hint = "please report it with trtexec's version; until then the precision is unproven"
            result["warnings"].append(WarningInfo(code="engine-partly-unknown", message=str(error), hint=hint))
        model = self.request.model
        result["precision_proof"] = prove(
            model.precision, self.chosen, evidence, allow_fallback=model.allow_fallback, calibration=self.coverage
        )


def _look(
    request: BuildRequest, cache: Optional[CalibrationCache]
) -> "tuple[List[Binding], bool, Optional[Calibration]]":
    """Return bindings, whether there are Q/DQ nodes, and the cache's coverage, if onnx is installed."""
    try:
        from ..onnx_graph import graph, model_file
    except ImportError:
        return [], False, calibration_cache.coverage(cache, (), cache.scales) if cache else None
    from ..inspect.onnx_model import bindings

    model = model_file.load(request.source)
    found = None
    if cache is not None:
        wanted = [
            name for node in graph.nodes(model) if node.op_type in ("Conv", "MatMul", "Gemm") for name in node.input[:1]
        ]
        found = calibration_cache.coverage(cache, wanted, graph.tensor_names(model))
        calibration_cache.check(found, allow_fallback=request.model.allow_fallback)
    return bindings(model), graph.has_qdq(model), found


def _version(program: str) -> Version:
    try:
        printed = subprocess.run([program, "--help"], capture_output=True, check=False, timeout=30)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ConvertError(
            "converter-unavailable", f"{program} does not start: {error}", hint="check TensorRT's installation"
        ) from None
    version = trtexec.parse_version((printed.stdout + printed.stderr).decode("utf-8", "replace"))
    if version is None:
        raise ConvertError(
            "converter-unavailable",
            f"{program} does not report its TensorRT version",
            hint="check that it is NVIDIA's trtexec and that its libraries are found",
        )
    return version


def _layer_info_file(request: BuildRequest) -> Path:
    return request.work_dir / "layers.json"
