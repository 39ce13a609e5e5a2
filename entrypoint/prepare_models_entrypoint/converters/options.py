"""Which builder settings a backend or converter knows. A setting that it would ignore is an error.

``contract/builder.py`` has this for each setting; this module has the versions of trtexec's options.
"""

from __future__ import annotations

from typing import Dict, Iterator, Optional, Sequence, Tuple

from ..contract.builder import BuilderConfig
from ..contract.settings import Setting, Version
from ..errors import ConvertError

Ignored = Tuple[Setting, str]
_FIRST: Version = (8, 4)

# trtexec's options: first version, first version without it, and the source for the first one. Precision flags left
# with TensorRT 11 (option strings of 10.16 against 11.1). Without a source, the option is documented for 8.6 or 10
# and its first version is an assumption; a trtexec without it says so, which is an error with its own code.
TRTEXEC: Dict[str, Tuple[Version, Optional[Version], str]] = {
    "onnx": (_FIRST, None, "published commands for 8.x"),
    "saveEngine": (_FIRST, None, "published commands for 8.x"),
    "minShapes": (_FIRST, None, "published commands for 8.x"),
    "optShapes": (_FIRST, None, "published commands for 8.x"),
    "maxShapes": (_FIRST, None, "published commands for 8.x"),
    "profile": ((8, 6), None, ""),
    "inputIOFormats": (_FIRST, None, ""),
    "outputIOFormats": (_FIRST, None, ""),
    "memPoolSize": ((8, 4), None, "NVIDIA/TensorRT CHANGELOG, 8.4.1"),
    "workspace": (_FIRST, (10, 0), "NVIDIA's guide from 8 to 10"),
    "fp16": (_FIRST, (11, 0), "published commands for 8.x"),
    "int8": (_FIRST, (11, 0), "published commands for 8.x"),
    "bf16": ((10, 0), (11, 0), "NvInfer.h: not in 8.6, in 10.0"),
    "fp8": ((8, 6), (11, 0), "NvInfer.h of 8.6"),
    "best": (_FIRST, (11, 0), ""),
    "calib": (_FIRST, (11, 0), "published commands for 8.x"),
    "layerPrecisions": (_FIRST, (11, 0), "NVIDIA/TensorRT CHANGELOG, 8.4.1"),
    "precisionConstraints": (_FIRST, (11, 0), ""),
    "stronglyTyped": ((10, 0), None, "NvInfer.h: in 10.0, a no-op in 11"),
    "noTF32": (_FIRST, None, "published commands for 10.x"),
    "builderOptimizationLevel": ((8, 6), None, ""),
    "maxTactics": ((10, 10), None, "sampleOptions.cpp: not in 10.3, in 10.10"),
    "avgTiming": (_FIRST, None, ""),
    "maxAuxStreams": ((8, 6), None, ""),
    "timingCacheFile": (_FIRST, None, ""),
    "hardwareCompatibilityLevel": ((8, 6), None, "NvInfer.h of 8.6"),
    "versionCompatible": ((8, 6), None, "NvInfer.h of 8.6"),
    "excludeLeanRuntime": ((8, 6), None, "NvInfer.h of 8.6"),
    "stripWeights": ((10, 0), None, ""),
    "refit": (_FIRST, None, ""),
    "allowWeightStreaming": ((10, 0), None, ""),
    "sparsity": (_FIRST, None, "published commands for 8.x"),
    "useDLACore": (_FIRST, None, "published commands for 8.x"),
    "allowGPUFallback": (_FIRST, None, "published commands for 8.x"),
    "plugins": (_FIRST, (10, 0), ""),
    "staticPlugins": ((8, 6), None, "published commands for 10.x"),
    "profilingVerbosity": (_FIRST, None, ""),
    "exportLayerInfo": (_FIRST, None, ""),
    "skipInference": ((8, 6), None, "sampleOptions.cpp of 8.6"),
    "buildOnly": (_FIRST, (10, 0), "sampleOptions.cpp of 8.6 and 10"),
    "help": (_FIRST, None, ""),
    "verbose": (_FIRST, None, ""),
}

# Builder options that trtexec gets as part of others, or that ``check`` refuses.
_OTHERWISE_TRTEXEC = ("timing_cache", "int8_remainder", "io_formats", "compute_capabilities")

# tao-converter's documented options; True for those with a value.
TAO_CONVERTER: Dict[str, bool] = {
    "-h": False, "-k": True, "-d": True, "-o": True, "-c": True, "-e": True, "-b": True, "-m": True, "-t": True,
    "-w": True, "-i": True, "-p": True, "-s": False, "-u": True,
}  # fmt: skip


def version_of(text: str) -> Version:
    """Return a version such as 10.3.0 as numbers, ignoring words in it."""
    return tuple(int(part) for part in text.split(".") if part.isdigit())


def trtexec_has(option: str, version: Version) -> bool:
    """Return whether the trtexec of this TensorRT version has an option."""
    since, until, _ = TRTEXEC[option]
    return version >= since and (until is None or version < until)


def lost_by_trtexec(row: Setting, value: object) -> bool:
    """Return whether trtexec has no option for a value of a builder option."""
    if row.option.pool[1] or row.name in _OTHERWISE_TRTEXEC:
        return False
    if isinstance(row.option.trtexec, str):
        return not row.option.trtexec
    return isinstance(value, str) and value not in ("none", *row.option.trtexec)


def check(builder: BuilderConfig, backend: str, version: str, *, precision: str, has_gpu: bool) -> None:
    """Refuse settings that this backend would ignore.

    Raises:
        ConvertError: there are such settings; the message names each, the backend and its version.
    """
    found = list(_ignored(builder, backend, version_of(version), has_gpu=has_gpu))
    if precision == "fp32":
        found += [
            (row, "the DLA computes in fp16 and int8 only") for row, _ in builder.chosen() if row.name == "dla_core"
        ]
    if found:
        raise _unavailable(found, f"{backend} {version}")


def check_tao(builder: BuilderConfig) -> None:
    """Refuse settings for which tao-converter has no option."""
    found = [(row, "tao-converter has no option for it") for row, _ in builder.chosen() if not row.option.tao]
    found += [
        (row, f"tao-converter has only {row.option.tao} to turn it on")
        for row, value in builder.chosen()
        if row.option.tao and value is False
    ]
    if found:
        raise _unavailable(found, "tao-converter")


def _ignored(builder: BuilderConfig, backend: str, version: Version, *, has_gpu: bool) -> Iterator[Ignored]:
    rtx = backend == "tensorrt_rtx"
    for row, value in builder.chosen():
        option = row.option
        if row.name == "strongly_typed" and value is False and (rtx or version >= (11,)):
            yield row, "networks are always strongly typed here"
        if rtx and option.rtx:
            yield row, option.rtx
        elif rtx and option.rtx_gpu and not has_gpu and value not in (False, "none"):
            yield row, "needs a GPU at build time"
        elif not rtx and option.rtx_only:
            yield row, option.rtx_only
        elif not rtx and version < option.since:
            yield row, f"exists from TensorRT {'.'.join(map(str, option.since))} on"
        elif not rtx and option.until and version >= option.until:
            yield row, f"was removed in TensorRT {'.'.join(map(str, option.until))}"
        elif not rtx and isinstance(value, str) and version < option.values_since.get(value, ()):
            since = ".".join(map(str, option.values_since[value]))
            yield row, f"its value {value} exists from TensorRT {since} on"


def _unavailable(found: Sequence[Ignored], who: str) -> ConvertError:
    text = "; ".join(f"builder.{row.key}: {why}" for row, why in found)
    return ConvertError(
        "builder-option-unavailable",
        f"{who} would ignore {text}",
        hint="remove these lines from builder:, or build where they have an effect",
    )
