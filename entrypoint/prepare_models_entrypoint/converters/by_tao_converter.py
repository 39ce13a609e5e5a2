"""Building with tao-converter, for encrypted models that only it can decrypt here (TensorRT 8)."""

from __future__ import annotations

import os
import shlex
from typing import List, Optional, Sequence

from ..contract.builder import BuilderConfig
from ..contract.environment import BackendInfo
from ..contract.job import ModelJob
from ..contract.precision import Means
from ..errors import ConvertError
from ..onnx_graph import calibration_cache
from . import program, trtexec
from .options import check_tao
from .precision import Rule, judge_by_size, prove
from .program import MASK
from .request import BuildRequest, BuildResult, Progress


def convert(request: BuildRequest, result: BuildResult, progress: Progress) -> None:
    """Run tao-converter with the key from ``request.key_fd``, and judge the precision by the engine's size."""
    program.check(request)
    model = request.model
    with os.fdopen(request.key_fd or 0, "r", encoding="utf-8") as stream:
        key = stream.read().strip()
    cache = program.cache_of(request)
    argv = command(
        model,
        program=request.program or "",
        key=key,
        etlt=str(request.source),
        engine=str(request.plan),
        cache=str(request.cache_file) if request.cache_file else None,
    )
    result["command"] = masked(argv)
    result["io"], result["profiles"] = program.declared(request)
    result["backend"] = BackendInfo(name="tensorrt", version="unknown")
    if request.check_only:
        return
    program.run(argv, "tao-converter", request, progress, secret=key)
    program.take_plan(request, result)
    found = calibration_cache.coverage(cache, (), cache.scales) if cache else None
    model_bytes = request.source.stat().st_size  # as large as the network encrypted in it
    shown, why = judge_by_size(model.precision, engine_bytes=result["engine_bytes"], model_bytes=model_bytes)
    chosen = Rule(Means.TAO_CONVERTER)
    proof = prove(model.precision, chosen, None, allow_fallback=model.allow_fallback, calibration=found)
    proof["how"] = f"{proof['how']}{why}"
    if shown:
        proof["delivered"], proof["source"] = model.precision, "engine size"
    result["precision_proof"] = proof


def takes(builder: BuilderConfig) -> bool:
    """Return whether tao-converter has an option for each setting."""
    try:
        check_tao(builder)
    except ConvertError:
        return False
    return True


def line(model: ModelJob, result: BuildResult) -> Optional[str]:
    """Return the command line that was run, with the user's names for the files, and without the key."""
    argv = result["command"] or []
    replaced = {"-e": trtexec.plan_name(model), "-c": trtexec.cache_name(model)}
    out = [replaced.get(argv[index - 1], argument) if index else argument for index, argument in enumerate(argv)]
    return shlex.join([*out[:-1], trtexec.source_name(model)])


def command(
    model: ModelJob, *, program: str, key: str, etlt: str, engine: str, cache: Optional[str] = None
) -> List[str]:
    """Return the argument vector, in the order of NVIDIA's own examples.

    ``cache``: calibration cache file, required for int8.

    Raises:
        ConvertError: the manifest asks for something that tao-converter can't do.
    """
    _check(model, cache)
    argv = [program, "-k", key]
    argv += ["-d", ",".join(map(str, model.tao.dims))] if model.tao.dims else []
    for profile in (model.inputs, *model.profiles):
        for name, shapes in profile.items():
            ranges = ("x".join(map(str, dims)) for dims in (shapes.min, shapes.opt, shapes.max))
            argv += ["-p", ",".join([name, *ranges])]
    argv += ["-t", model.precision]
    argv += ["-c", cache] if cache else []
    argv += ["-e", engine]
    argv += ["-o", ",".join(model.outputs)] if model.outputs else []
    chosen = {
        "-b": model.tao.batch,
        "-m": model.tao.max_batch,
        "-i": model.tao.input_order,
        **{row.option.tao: value for row, value in model.builder.chosen()},
    }
    argv += [part for option, value in chosen.items() if type(value) in (int, str) for part in (option, str(value))]
    return [*argv, *(option for option, value in chosen.items() if value is True), etlt]


def _check(model: ModelJob, cache: Optional[str]) -> None:
    check_tao(model.builder)
    if model.precision not in ("fp32", "fp16", "int8"):
        raise ConvertError(
            "precision-unavailable", f"tao-converter has no -t {model.precision}", hint="use fp32, fp16 or int8"
        )
    if model.precision == "int8" and cache is None:
        raise ConvertError(
            "calibration-missing",
            "tao-converter -t int8 without -c would calibrate on nothing",
            hint="add calibration_cache: with the file from the model's page",
        )
    values = [shapes for profile in (model.inputs, *model.profiles) for shapes in profile.values() if shapes.values]
    asked = {"keep_fp32": model.keep_fp32, "plugins": model.plugins, "inputs: values": values}
    unused = [name for name, value in asked.items() if value]
    if unused:
        raise ConvertError(
            "builder-option-unavailable",
            f"tao-converter would ignore {', '.join(unused)}",
            hint="remove these lines, or use converter: api",
        )


def masked(argv: Sequence[str]) -> List[str]:
    """Return the vector with the key replaced."""
    return [MASK if index and argv[index - 1] == "-k" else argument for index, argument in enumerate(argv)]
