"""Builder settings onto a builder configuration, by name: what a version lacks is an error, not a silence."""

from __future__ import annotations

from typing import Any, Callable, Dict, List, Optional, Sequence

from ..contract.builder import BuilderConfig
from ..errors import ConvertError
from .options import manifest_name

_POOLS = {
    "workspace_bytes": "WORKSPACE",
    "tactic_dram_bytes": "TACTIC_DRAM",
    "tactic_shared_bytes": "TACTIC_SHARED_MEMORY",
    "dla_sram_bytes": "DLA_MANAGED_SRAM",
    "dla_local_dram_bytes": "DLA_LOCAL_DRAM",
    "dla_global_dram_bytes": "DLA_GLOBAL_DRAM",
}
_ATTRIBUTES = {
    "optimization_level": "builder_optimization_level",
    "max_tactics": "max_num_tactics",
    "avg_timing_iterations": "avg_timing_iterations",
    "max_aux_streams": "max_aux_streams",
}
_FLAGS = {
    "tf32": "TF32",
    "version_compatible": "VERSION_COMPATIBLE",
    "exclude_lean_runtime": "EXCLUDE_LEAN_RUNTIME",
    "strip_weights": "STRIP_PLAN",
    "weight_streaming": "WEIGHT_STREAMING",
    "sparsity": "SPARSE_WEIGHTS",
    "dla_gpu_fallback": "GPU_FALLBACK",
    "strict_types": "OBEY_PRECISION_CONSTRAINTS",
}
_REFIT = {"all": "REFIT", "identical": "REFIT_IDENTICAL"}
_LEVELS = {
    "none": "NONE",
    "ampere+": "AMPERE_PLUS",
    "same-compute-capability": "SAME_COMPUTE_CAPABILITY",
}
_TYPES = {"fp32": "FLOAT", "fp16": "HALF", "int8": "INT8", "int32": "INT32", "int64": "INT64", "bf16": "BF16"}
_LAYOUTS = {
    "chw": "LINEAR",
    "hwc": "HWC",
    "chw2": "CHW2",
    "chw4": "CHW4",
    "hwc8": "HWC8",
    "chw16": "CHW16",
    "chw32": "CHW32",
}


def apply(trt: Any, config: Any, network: Any, builder: BuilderConfig, flags: Sequence[str]) -> Dict[str, Any]:
    """Set everything that the manifest names, and the flags of the precision.

    Returns:
        The configuration as the backend reports it afterwards.
    """
    for name, value in builder.chosen().items():
        if name in _POOLS:
            config.set_memory_pool_limit(_member(trt.MemoryPoolType, _POOLS[name], name), value)
        elif name in _ATTRIBUTES:
            if not hasattr(config, _ATTRIBUTES[name]):
                raise _missing(name)
            setattr(config, _ATTRIBUTES[name], value)
        elif name in _FLAGS:
            flag = _member(trt.BuilderFlag, _FLAGS[name], name)
            (config.set_flag if value else config.clear_flag)(flag)
    _enumerations(trt, config, builder)
    _device(trt, config, builder)
    _io_formats(trt, network, builder)
    for flag in flags:
        config.set_flag(trt.BuilderFlag.__members__[flag])
    return _effective(trt, config)


def _enumerations(trt: Any, config: Any, builder: BuilderConfig) -> None:
    if builder.refit in _REFIT:
        config.set_flag(_member(trt.BuilderFlag, _REFIT[builder.refit], "refit"))
    if builder.hardware_compatibility is not None:
        level = _LEVELS[builder.hardware_compatibility]
        config.hardware_compatibility_level = _member(trt.HardwareCompatibilityLevel, level, "hardware_compatibility")
    if builder.profiling_verbosity is not None:
        name = builder.profiling_verbosity.upper().replace("-", "_")
        config.profiling_verbosity = _member(trt.ProfilingVerbosity, name, "profiling_verbosity")
    if builder.compute_capabilities:
        config.num_compute_capabilities = len(builder.compute_capabilities)
        for index, capability in enumerate(builder.compute_capabilities):
            name = "SM" + capability.replace(".", "")
            config.set_compute_capability(_member(trt.ComputeCapability, name, "compute_capabilities"), index)


def _device(trt: Any, config: Any, builder: BuilderConfig) -> None:
    if builder.dla_core is not None:
        config.default_device_type = trt.DeviceType.DLA
        config.DLA_core = builder.dla_core


def _io_formats(trt: Any, network: Any, builder: BuilderConfig) -> None:
    tensors = [network.get_input(index) for index in range(network.num_inputs)]
    tensors += [network.get_output(index) for index in range(network.num_outputs)]
    by_name = {tensor.name: tensor for tensor in tensors}
    for name, text in builder.io_formats.items():
        kind, _, layout = text.partition(":")
        if name not in by_name or kind not in _TYPES or layout not in _LAYOUTS:
            raise ConvertError(
                "builder-option-unavailable",
                f"builder.io_formats: {name}: {text} is no binding of this model with a type and layout",
                hint=f"bindings: {', '.join(by_name)}; types: {', '.join(_TYPES)}; layouts: {', '.join(_LAYOUTS)}",
            )
        by_name[name].dtype = _member(trt.DataType, _TYPES[kind], "io_formats")
        by_name[name].allowed_formats = 1 << int(_member(trt.TensorFormat, _LAYOUTS[layout], "io_formats"))


def _member(enumeration: Any, member: str, setting: str) -> Any:
    found = getattr(enumeration, member, None)
    if found is None:
        raise _missing(setting)
    return found


def _missing(setting: str) -> ConvertError:
    return ConvertError(
        "builder-option-unavailable",
        f"this backend does not know builder.{manifest_name(setting)}",
        hint="remove the line from builder:, or build with a newer TensorRT",
    )


def _effective(trt: Any, config: Any) -> Dict[str, Any]:
    found = {name: getattr(config, attribute, None) for name, attribute in _ATTRIBUTES.items()}
    return {"workspace_bytes": _workspace(trt, config), **found, "flags": _set_flags(trt, config)}


def _set_flags(trt: Any, config: Any) -> List[str]:
    is_set: Callable[[Any], object] = config.get_flag
    return [name for name, flag in trt.BuilderFlag.__members__.items() if is_set(flag)]


def _workspace(trt: Any, config: Any) -> Optional[int]:
    limit: int = config.get_memory_pool_limit(trt.MemoryPoolType.WORKSPACE)
    return limit if 0 < limit < 2**63 else None
