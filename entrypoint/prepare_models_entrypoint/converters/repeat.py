"""The command line that builds the same engine without this tool, and the user's names for its files."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import List, Optional

from ..contract.job import ModelJob
from ..contract.precision import Means
from ..contract.source import Source
from ..onnx_graph import calibration_cache
from . import options
from .request import BuildResult
from .trtexec import NEWEST, additions, command, shell_line


def equivalent(model: ModelJob, result: BuildResult) -> Optional[str]:
    """Return the trtexec command line for what the Python API did, or None if trtexec has no such options.

    A file that the user doesn't have (a rewritten graph, a decrypted model, a member of an archive) is called
    ``<name>.onnx``, which ``prepare-models rewrite`` writes.

    Args:
        model: what was built, with the settings of the last attempt.
        result: the result of the build.
    """
    backend = result["backend"]
    is_rtx = backend is not None and backend["name"] == "tensorrt_rtx"
    version = NEWEST if backend is None or is_rtx else options.version_of(backend["version"])
    by_flags = _precision_flags(model, result)
    lost = any(options.lost_by_trtexec(row, value) for row, value in model.builder.chosen())
    if lost or (by_flags and (model.kept_patterns or _kept(result))):
        return None
    inputs = [binding for binding in result["io"] if binding["mode"] == "input"]
    argv = command(
        graph_name(model, result),
        plan_name(model),
        profiles=result["profiles"],
        builder=model.builder,
        precision_flags=by_flags,
        program="tensorrt_rtx" if is_rtx else "trtexec",
        inputs=[binding["name"] for binding in inputs],
        plugins=[plugin.file for plugin in model.plugins],
        version=version,
        explicit_shapes=any(-1 in binding["shape"] for binding in inputs),
    )
    if by_flags and model.builder.profiling_verbosity is None:
        argv.append("--profilingVerbosity=detailed")  # as with the API, so that the engine reports its precision
    return shell_line([*argv, *additions(version, layer_info=None, timing_cache=None)])


def _kept(result: BuildResult) -> bool:
    proof = result["precision_proof"]
    return proof is not None and bool(proof["kept"])


def graph_name(model: ModelJob, result: BuildResult) -> str:
    """Return the path of the ONNX file under which the user has, or can get, the built graph."""
    source = Source.of(model.source)
    if result["rewritten"] or source.path is None or source.path.suffix.lower() != ".onnx":
        return f"{model.name}.onnx"
    return source.public


def source_name(model: ModelJob) -> str:
    """Return the source's path, or the name of the file when fetched."""
    source = Source.of(model.source)
    if source.path is not None:
        return source.public
    return PurePosixPath(source.inner or source.public.partition("?")[0]).name


def plan_name(model: ModelJob) -> str:
    """Return the path of the published engine as its consumers see it."""
    return str(Path(model.deploy_dir) / "1" / "model.plan")


def cache_name(model: ModelJob) -> str:
    """Return the manifest's path of the calibration cache, or the file kept next to the engine."""
    return Source.of(model.calibration_cache).public if model.calibration_cache else calibration_cache.FILE


def _precision_flags(model: ModelJob, result: BuildResult) -> List[str]:
    """Return trtexec's flags for the builder flags that were used; a rewritten graph contains its types."""
    proof = result["precision_proof"]
    if proof is None:
        return []
    cache = [f"--calib={cache_name(model)}"] if proof["means"] == Means.FLAGS_AND_CACHE else []
    return [f"--{name.lower()}" for name in proof["flags"]] + cache
