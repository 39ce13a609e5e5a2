"""trtexec's command line: for building without Python bindings, and for users to repeat a conversion."""

from __future__ import annotations

import re
import shlex
from pathlib import Path, PurePosixPath
from typing import List, Mapping, Optional, Sequence, Tuple

from ..contract.backends import TYPED_SINCE
from ..contract.builder import BuilderConfig
from ..contract.conversion import OnnxConfig
from ..contract.files import PathLike
from ..contract.job import ModelJob
from ..contract.precision import Means
from ..contract.report import ProfileShapes
from ..contract.settings import Option
from ..contract.source import Source
from ..contract.versions import Version, version_of
from ..errors import ConvertError
from ..onnx_graph import calibration_cache
from . import options
from .options import trtexec_has
from .request import BuildResult

_MIB = 1 << 20
_VERSION = r"\[TensorRT v(\d+)\]"
NEWEST: Version = (99,)

Profile = Mapping[str, ProfileShapes]


def command(
    onnx: str,
    plan: str,
    *,
    profiles: Sequence[Profile],
    builder: BuilderConfig,
    precision_flags: Sequence[str] = (),
    program: str = "trtexec",
    inputs: Optional[Sequence[str]] = None,
    plugins: Sequence[str] = (),
    version: Version = NEWEST,
    explicit_shapes: bool = False,
) -> List[str]:
    """Return the argument vector. Static shapes need no options; names with ':' are quoted as trtexec requires.

    profiles: shapes of every input, for each optimization profile. precision_flags: such as --fp16; empty if the model
    contains its types. inputs: names in the model's order; those of the first profile by default. version: TensorRT
    version of trtexec, for options that changed their names. explicit_shapes: give the shapes even if minimum and
    maximum are equal, as the model may be dynamic.
    """
    argv = [program, f"--onnx={onnx}", f"--saveEngine={plan}", *_shapes(profiles, explicit=explicit_shapes)]
    argv += _formats(builder, inputs if inputs is not None else list(profiles[0]) if profiles else [])
    argv += precision_flags
    argv += _settings(builder, version)
    library_option = "staticPlugins" if trtexec_has("staticPlugins", version) else "plugins"
    return argv + [f"--{library_option}={library}" for library in plugins]


def _shapes(profiles: Sequence[Profile], *, explicit: bool) -> List[str]:
    argv: List[str] = []
    fixed = all(
        shapes["min"] == shapes["max"] and "values" not in shapes for profile in profiles for shapes in profile.values()
    )
    if fixed and len(profiles) <= 1 and not explicit:
        return argv
    for index, profile in enumerate(profiles):
        if len(profiles) > 1:
            argv.append(f"--profile={index}")
        for option, key in (("minShapes", "min"), ("optShapes", "opt"), ("maxShapes", "max")):
            quoted = {name: f"'{name}'" if ":" in name else name for name in profile}
            pairs = (f"{quoted[name]}:{'x'.join(map(str, _bound(shapes, key)))}" for name, shapes in profile.items())
            argv.append(f"--{option}={','.join(pairs)}")
    return argv


def _bound(shapes: ProfileShapes, key: str) -> List[int]:
    """Return one of an input's three shapes; for a shape tensor, trtexec expects the values instead."""
    bounds: Mapping[str, List[int]] = shapes.get("values", shapes)  # type: ignore[assignment]  # either has all three
    return bounds[key]


def _formats(builder: BuilderConfig, inputs: Sequence[str]) -> List[str]:
    if not builder.io_formats:
        return []
    sides = {"inputIOFormats": list(inputs), "outputIOFormats": [n for n in builder.io_formats if n not in inputs]}
    return [
        f"--{option}={','.join(builder.io_formats.get(name, 'fp32:chw') for name in names)}"
        for option, names in sides.items()
        if any(name in builder.io_formats for name in names)
    ]


def _settings(builder: BuilderConfig, version: Version) -> List[str]:
    chosen = [(row.option, value) for row, value in builder.chosen()]
    pools = [f"{option.pool[1]}:{value / _MIB:.17g}M" for option, value in chosen if option.pool[1]]
    argv = [f"--memPoolSize={','.join(pools)}"] if pools else []
    if builder.compute_capabilities:
        targets = ",".join(capability.replace(".", "") for capability in builder.compute_capabilities)
        argv.append(f"--computeCapabilities={targets}")
    return argv + [
        f"--{argument}"
        for option, value in chosen
        if not (option.until and version >= option.until) and (argument := _argument(option, value))
    ]


def _argument(option: Option, value: object) -> str:
    if isinstance(option.trtexec, str):
        return option.trtexec.format(value)
    return option.trtexec.get(value, "")


def additions(version: Version, *, layer_info: Optional[str], timing_cache: Optional[str]) -> List[str]:
    """Return the options that this tool adds: no benchmark after the build, the timing cache, layer information."""
    argv = [f"--timingCacheFile={timing_cache}"] if timing_cache else []
    if layer_info:
        argv += [f"--exportLayerInfo={layer_info}", "--profilingVerbosity=detailed"]
    return [*argv, "--skipInference" if trtexec_has("skipInference", version) else "--buildOnly"]


def builder_flags(version: Version) -> Optional[List[str]]:
    """Return the precisions that trtexec has options for, as builder flags; None if only the graph decides."""
    named = [name for name in ("FP16", "INT8", "BF16", "FP8") if trtexec_has(name.lower(), version)]
    return named if version < TYPED_SINCE else None


def precision_flags(flags: Sequence[str], cache: Optional[PathLike]) -> List[str]:
    """Return the options for builder flags, and for the calibration cache that the builder gets."""
    return [f"--{flag.lower()}" for flag in flags] + ([f"--calib={cache}"] if cache else [])


def check_model(model: ModelJob, version: Version) -> None:
    """Refuse settings for which trtexec has no option."""
    text = ".".join(map(str, version))
    options.check(model.builder, "tensorrt", text, precision=model.precision, has_gpu=True)
    lost = [(row.key, value) for row, value in model.builder.chosen() if options.lost_by_trtexec(row, value)]
    unused = [f"builder.{key}: {value}" if isinstance(value, str) else f"builder.{key}" for key, value in lost]
    asked = {
        "keep_fp32": model.keep_fp32 and version < TYPED_SINCE,
        "onnx": model.onnx != OnnxConfig() and (version < TYPED_SINCE or model.precision not in ("fp16", "int8")),
        "calibration": model.calibration,
    }
    unused += [name for name, value in asked.items() if value]
    if unused:
        raise ConvertError(
            "builder-option-unavailable",
            f"trtexec {text} would ignore {', '.join(unused)}",
            hint="use converter: api, or remove these lines",
        )


def check(argv: Sequence[str], version: Version) -> None:
    """Refuse options that this version doesn't have."""
    names = [argument[2:].partition("=")[0] for argument in argv[1:]]
    missing = [name for name in names if not trtexec_has(name, version)]
    if missing:
        raise ConvertError(
            "builder-option-unavailable",
            f"trtexec {'.'.join(map(str, version))} has no option --{', --'.join(missing)}",
            hint="remove the setting from builder:, or build with a TensorRT that has it",
        )


def parse_version(text: str) -> Optional[Version]:
    """Return the version in trtexec's banner: v8601 is 8.6.1, v100300 is 10.3.0."""
    match = re.search(_VERSION, text)
    if match is None:
        return None
    number = int(match[1])
    base, step = (10000, 100) if number >= 100000 else (1000, 100)
    parts: Tuple[int, ...] = (number // base, number % base // step, number % step)
    return parts


def equivalent(model: ModelJob, result: BuildResult) -> Optional[str]:
    """Return the trtexec command line for what the Python API did, or None if trtexec has no such options.

    A file that the user doesn't have (a rewritten graph, a decrypted model, a member of an archive) is called
    ``<name>.onnx``, which ``prepare-models rewrite`` writes.

    ``model``: with the settings of the last attempt.
    """
    backend = result["backend"]
    is_rtx = backend is not None and backend["name"] == "tensorrt_rtx"
    version = NEWEST if backend is None or is_rtx else version_of(backend["version"])
    proof, lost = result["precision_proof"], any(options.lost_by_trtexec(*each) for each in model.builder.chosen())
    # Flags for the builder flags that were used; a rewritten graph contains its types.
    cache = cache_name(model) if proof and proof["means"] == Means.FLAGS_AND_CACHE else None
    by_flags = precision_flags(proof["flags"], cache) if proof else []
    if lost or (by_flags and (model.kept_patterns or (proof and proof["kept"]))):
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
    return shlex.join([*argv, *additions(version, layer_info=None, timing_cache=None)])


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
