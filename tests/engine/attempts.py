"""The build process's work on small models, each in a fork of its own: many kinds in little time."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import onnx

from prepare_models_entrypoint.contract.job import ModelJob
from prepare_models_entrypoint.converters import by_api, by_trtexec
from prepare_models_entrypoint.converters.request import BuildRequest, empty_result
from prepare_models_entrypoint.errors import outcome
from prepare_models_entrypoint.onnx_graph import calibration_cache


def attempt(
    model: onnx.ModelProto,
    folder: Path,
    *,
    check_only: bool = True,
    scales: dict[str, float] | None = None,
    program: Path | None = None,
    **asked: Any,
) -> dict[str, Any]:
    """Return the result of checking or building a model, with trtexec where that is given as ``program``.

    ``asked`` is as in a job, ``scales`` as a cache has them.
    """
    cache = folder / "scales.cache"
    if scales is not None:
        cache.write_bytes(calibration_cache.write(scales))
        asked["calibration_cache"] = str(cache)
    source = folder / "model.onnx"
    source.write_bytes(model.SerializeToString())
    job = ModelJob.from_dict(
        {"name": "model", "source": str(source), "output_dir": str(folder), "deploy_dir": str(folder), **asked}
    )
    request = BuildRequest(
        model=job,
        source=source,
        plan=folder / "model.plan",
        work_dir=folder,
        result=folder / "result.json",
        check_only=check_only,
        cache_file=cache if scales is not None else None,
        program=str(program) if program else None,
    )
    convert = by_trtexec.convert if program else by_api.convert
    child = os.fork()
    if child == 0:
        status = 1
        try:
            result = empty_result()
            result["error"] = outcome(lambda: convert(request, result, lambda *_: None), "convert")
            request.result.write_text(json.dumps(result), encoding="utf-8")
            status = 0
        finally:
            os._exit(status)
    _, status = os.waitpid(child, 0)
    assert status == 0
    found: dict[str, Any] = json.loads(request.result.read_text(encoding="utf-8"))
    return found
