"""Building with tao-converter, for encrypted models that only it can decrypt here (TensorRT 8)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Optional

from ..contract.builder import BuilderConfig
from ..contract.environment import BackendInfo
from ..contract.job import ModelJob
from ..contract.precision import Means
from ..errors import ConvertError
from ..onnx_graph import calibration_cache
from . import options, program, repeat, tao_converter
from .converter import Progress
from .precision import Rule, judge_by_size, prove
from .request import BuildRequest, BuildResult
from .trtexec import shell_line


def convert(request: BuildRequest, result: BuildResult, progress: Progress) -> None:
    """Run tao-converter with the key from ``request.key_fd``, and judge the precision by the engine's size."""
    with program.conversion(request, result):
        _convert(request, result, progress)


def takes(builder: BuilderConfig) -> bool:
    """Return whether tao-converter has an option for each setting."""
    try:
        options.check_tao(builder)
    except ConvertError:
        return False
    return True


def line(model: ModelJob, result: BuildResult) -> Optional[str]:
    """Return the command line that was run, with the user's names for the files, and without the key."""
    argv = result["command"] or []
    replaced = {"-e": repeat.plan_name(model), "-c": repeat.cache_name(model)}
    out = [replaced.get(argv[index - 1], argument) if index else argument for index, argument in enumerate(argv)]
    return shell_line([*out[:-1], repeat.source_name(model)])


def _convert(request: BuildRequest, result: BuildResult, progress: Progress) -> None:
    model = request.model
    with os.fdopen(request.key_fd or 0, "r", encoding="utf-8") as stream:
        key = stream.read().strip()
    cache = program.cache_of(request)
    argv = tao_converter.command(
        model,
        program=request.program or "",
        key=key,
        etlt=request.source,
        engine=request.plan,
        cache=request.cache_file,
    )
    result["command"] = tao_converter.masked(argv)
    result["io"], result["profiles"] = program.declared(request)
    result["backend"] = BackendInfo(name="tensorrt", version="unknown")
    if request.check_only:
        return
    program.run(argv, "tao-converter", request, progress, secret=key)
    program.take_plan(request, result)
    found = calibration_cache.coverage(cache, (), cache.scales) if cache else None
    model_bytes = Path(request.source).stat().st_size  # as large as the network encrypted in it
    shown, told = judge_by_size(model.precision, engine_bytes=result["engine_bytes"], model_bytes=model_bytes)
    chosen = Rule(Means.TAO_CONVERTER)
    proof = prove(model.precision, chosen, None, allow_fallback=model.allow_fallback, calibration=found)
    proof["how"] = f"{proof['how']}{told}"
    if shown:
        proof["delivered"], proof["source"] = model.precision, "engine size"
    result["precision_proof"] = proof
