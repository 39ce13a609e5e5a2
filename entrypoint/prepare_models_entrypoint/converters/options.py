"""Which builder settings a backend or converter knows. One that it would ignore is an error, never a silent loss.

Data: since and until which TensorRT version a setting, or an option of trtexec, exists.
"""

from __future__ import annotations

from typing import Dict, List, Optional, Tuple

from ..contract.builder import BuilderConfig
from ..errors import ConvertError

Version = Tuple[int, ...]
_FIRST: Version = (8, 4)

# Setting -> first TensorRT version that has it; those not listed are as old as the oldest that this tool drives.
_SINCE: Dict[str, Version] = {
    "optimization_level": (8, 6),
    "max_aux_streams": (8, 6),
    "hardware_compatibility": (8, 6),
    "version_compatible": (8, 6),
    "exclude_lean_runtime": (8, 6),
    "tactic_dram_bytes": (8, 6),
    "strip_weights": (10, 0),
    "weight_streaming": (10, 0),
    "tactic_shared_bytes": (10, 0),
    "strongly_typed": (10, 0),
    "max_tactics": (10, 4),
}
_UNTIL: Dict[str, Version] = {"strict_types": (11, 0)}
_NO_DLA = "TensorRT-RTX has no DLA"
_NO_TIMING = "TensorRT-RTX chooses without running anything, so there are no tactics to time"
_RTX: Dict[str, str] = {
    "timing_cache": "TensorRT-RTX builds without timing, so a timing cache has no effect",
    "max_tactics": _NO_TIMING,
    "avg_timing_iterations": _NO_TIMING,
    "tactic_dram_bytes": _NO_TIMING,
    "hardware_compatibility": "TensorRT-RTX engines run on all its GPUs; it ignores the level",
    "version_compatible": "TensorRT-RTX has no lean runtime",
    "exclude_lean_runtime": "TensorRT-RTX has no lean runtime",
    "dla_core": _NO_DLA,
    "dla_gpu_fallback": _NO_DLA,
    "dla_sram_bytes": _NO_DLA,
    "dla_local_dram_bytes": _NO_DLA,
    "dla_global_dram_bytes": _NO_DLA,
    "strict_types": "types are always strict in TensorRT-RTX",
}
_RTX_NEEDS_GPU = ("strip_weights", "refit")
_TAO_SETTINGS = ("workspace_bytes", "dla_core", "strict_types")

# trtexec's options: first version, first version without it, and what shows the first one. Precision flags left with
# TensorRT 11 (option strings of 10.16 against 11.1). Without a source the option is documented for 8.6 or 10, and
# its first version is an assumption; a trtexec that does not know it says so, which is an error with a code of its own.
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

# tao-converter's documented options; True for those with a value.
TAO_CONVERTER: Dict[str, bool] = {
    "-h": False, "-k": True, "-d": True, "-o": True, "-c": True, "-e": True, "-b": True, "-m": True, "-t": True,
    "-w": True, "-i": True, "-p": True, "-s": False, "-u": True,
}  # fmt: skip


def version_of(text: str) -> Version:
    """Return a version such as 10.3.0 as numbers; words in it count as nothing."""
    return tuple(int(part) for part in text.split(".") if part.isdigit())


def trtexec_has(option: str, version: Version) -> bool:
    """Tell whether trtexec of this TensorRT version has an option."""
    since, until, _ = TRTEXEC[option]
    return version >= since and (until is None or version < until)


def check(builder: BuilderConfig, backend: str, version: str, *, precision: str, has_gpu: bool) -> None:
    """Refuse settings that this backend would ignore.

    Raises:
        ConvertError: names each such setting, the backend and its version.
    """
    found = _ignored(builder, backend, version_of(version), has_gpu=has_gpu)
    if builder.dla_core is not None and precision == "fp32":
        found.append("dla_core: the DLA computes in fp16 and int8 only")
    if found:
        raise _unavailable(found, f"{backend} {version}")


def check_tao(builder: BuilderConfig) -> None:
    """Refuse settings for which tao-converter has no option."""
    found = [f"{name}: tao-converter has no option for it" for name in builder.chosen() if name not in _TAO_SETTINGS]
    if builder.strict_types is False:
        found.append("strict_types: tao-converter has only -s to turn it on")
    if found:
        raise _unavailable(found, "tao-converter")


def _ignored(builder: BuilderConfig, backend: str, version: Version, *, has_gpu: bool) -> List[str]:
    chosen = builder.chosen()
    typed = backend == "tensorrt_rtx" or version >= (11,)
    found: List[str] = []
    if typed and builder.strongly_typed is False:
        found.append("strongly_typed: networks are always strongly typed here")
    if backend == "tensorrt_rtx":
        found += [f"{name}: {why}" for name, why in _RTX.items() if name in chosen]
        if not has_gpu:
            wanted = [name for name in _RTX_NEEDS_GPU if chosen.get(name) not in (None, False, "none")]
            found += [f"{name}: needs a GPU at build time" for name in wanted]
        return found
    if builder.compute_capabilities:
        found.append("compute_capabilities: TensorRT builds for the GPU that it runs on")
    for name in chosen:
        since, until = _SINCE.get(name, _FIRST), _UNTIL.get(name)
        if version < since:
            found.append(f"{name}: exists from TensorRT {'.'.join(map(str, since))} on")
        elif until is not None and version >= until:
            found.append(f"{name}: left with TensorRT {'.'.join(map(str, until))}")
    return found


def manifest_name(setting: str) -> str:
    """Return a setting's name in the manifest: sizes have their units there, and not in their names."""
    return "tactic_shared_memory" if setting == "tactic_shared_bytes" else setting.replace("_bytes", "")


def _unavailable(found: List[str], who: str) -> ConvertError:
    told = "; ".join(f"builder.{manifest_name(name)}:{why}" for name, _, why in (each.partition(":") for each in found))
    return ConvertError(
        "builder-option-unavailable",
        f"{who} would ignore {told}",
        hint="remove these lines from builder:, or build where they count",
    )
