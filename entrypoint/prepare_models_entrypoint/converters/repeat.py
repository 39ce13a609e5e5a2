"""The command line that gives the same engine without this tool."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import List, Optional

from ..contract.job import ModelJob
from ..contract.precision import Means
from ..contract.source import Source
from ..onnx_graph import calibrate
from .request import BuildResult
from .trtexec import command, shell_line

# Settings that the API has and no option of the program.
_API_ONLY = ("tactic_dram_bytes",)


def line(model: ModelJob, result: BuildResult, converter: str) -> Optional[str]:
    """Return the line, or None where no option says what was done.

    A file that is not on this machine under a name of its own is ``<name>.onnx``, which ``prepare-models rewrite``
    writes: a rewritten graph, a decrypted model, a member of an archive.

    Args:
        model: what was built, with the settings of the last attempt.
        result: what came of it.
        converter: api, trtexec or tao-converter.
    """
    if result["command"] is not None:
        return shell_line(_with_final_names(model, result, converter))
    backend = result["backend"]["name"] if result["backend"] else ""
    chosen = [row.name for row, _ in model.builder.chosen()]
    by_flags = _precision_flags(model, result)
    if (
        any(name in chosen for name in _API_ONLY)
        or model.builder.refit == "identical"
        or (model.keep_fp32 and by_flags)
    ):
        return None
    inputs = [binding for binding in result["io"] if binding["mode"] == "input"]
    argv = command(
        graph_name(model, result),
        _plan_name(model),
        profiles=result["profiles"],
        builder=model.builder,
        precision_flags=by_flags,
        program="tensorrt_rtx" if backend == "tensorrt_rtx" else "trtexec",
        inputs=[binding["name"] for binding in inputs],
        plugins=[plugin.file for plugin in model.plugins],
        explicit_shapes=any(-1 in binding["shape"] for binding in inputs),
    )
    if by_flags and model.builder.profiling_verbosity is None:
        argv.append("--profilingVerbosity=detailed")  # as the API is told, so that the engine can tell its precision
    return shell_line([*argv, "--skipInference"])


def graph_name(model: ModelJob, result: BuildResult) -> str:
    """Return the path of the ONNX file under which the user has, or can have, the graph that was built."""
    source = Source.of(model.source)
    if result["rewritten"] or source.path is None or source.path.suffix.lower() != ".onnx":
        return f"{model.name}.onnx"
    return source.public


def _source_name(model: ModelJob) -> str:
    """Return the source's path, or the name of the file that fetching it gives."""
    source = Source.of(model.source)
    if source.path is not None:
        return source.public
    return PurePosixPath(source.inner or source.public.partition("?")[0]).name


def _plan_name(model: ModelJob) -> str:
    return str(Path(model.deploy_dir) / "1" / "model.plan")


def _cache_name(model: ModelJob) -> str:
    return Source.of(model.calibration_cache).public if model.calibration_cache else calibrate.FILE


def _with_final_names(model: ModelJob, result: BuildResult, converter: str) -> List[str]:
    """Return a converter's vector with the source and the engine as the user knows them."""
    argv = result["command"] or []
    if converter == "trtexec":
        shown = {
            "--onnx": graph_name(model, result),
            "--saveEngine": _plan_name(model),
            "--calib": _cache_name(model),
            "--timingCacheFile": "timing.cache",
            "--exportLayerInfo": "layers.json",
        }
        names = [argument.partition("=")[0] for argument in argv]
        return [f"{name}={shown[name]}" if name in shown else a for name, a in zip(names, argv)]
    replaced = {"-e": _plan_name(model), "-c": _cache_name(model)}
    out = [replaced.get(argv[index - 1], argument) if index else argument for index, argument in enumerate(argv)]
    return [*out[:-1], _source_name(model)]


def _precision_flags(model: ModelJob, result: BuildResult) -> List[str]:
    """Return trtexec's flags for what was done by builder flags; a rewritten graph carries its types itself."""
    proof = result["precision_proof"]
    if proof is None:
        return []
    cache = [f"--calib={_cache_name(model)}"] if proof["means"] == Means.FLAGS_AND_CACHE else []
    return [f"--{name.lower()}" for name in proof["flags"]] + cache
