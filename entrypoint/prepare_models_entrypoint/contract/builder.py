"""Builder configuration: one field for each setting that a manifest may name, in TensorRT's own units."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any, Dict, Mapping, Optional, Tuple

from . import codec

HARDWARE_LEVELS = ("none", "ampere+", "same-compute-capability")
REFIT_MODES = ("none", "all", "identical")
VERBOSITIES = ("none", "layer-names-only", "detailed")
REMAINDERS = ("fp16", "fp32")

_KINDS: Dict[str, type] = {
    "workspace_bytes": int,
    "tactic_dram_bytes": int,
    "tactic_shared_bytes": int,
    "dla_sram_bytes": int,
    "dla_local_dram_bytes": int,
    "dla_global_dram_bytes": int,
    "optimization_level": int,
    "max_tactics": int,
    "avg_timing_iterations": int,
    "max_aux_streams": int,
    "tf32": bool,
    "timing_cache": bool,
    "hardware_compatibility": str,
    "version_compatible": bool,
    "exclude_lean_runtime": bool,
    "strip_weights": bool,
    "refit": str,
    "weight_streaming": bool,
    "sparsity": bool,
    "dla_core": int,
    "dla_gpu_fallback": bool,
    "strongly_typed": bool,
    "strict_types": bool,
    "int8_remainder": str,
    "profiling_verbosity": str,
}


@dataclass(frozen=True)
class BuilderConfig:
    """Builder configuration. ``None`` leaves a setting at TensorRT's own default.

    *_bytes: limits of the builder's memory pools. optimization_level: 0 (quick) to 5 (thorough).
    tf32: whether fp32 layers may use TF32 tensor cores. int8_remainder: precision of what int8 does not reach.
    compute_capabilities: such as ``8.6``, for backends that build for several at once.
    io_formats: ``dtype:layout`` of a binding, such as ``fp16:chw``, by its name.
    """

    workspace_bytes: Optional[int] = None
    tactic_dram_bytes: Optional[int] = None
    tactic_shared_bytes: Optional[int] = None
    dla_sram_bytes: Optional[int] = None
    dla_local_dram_bytes: Optional[int] = None
    dla_global_dram_bytes: Optional[int] = None
    optimization_level: Optional[int] = None
    max_tactics: Optional[int] = None
    avg_timing_iterations: Optional[int] = None
    max_aux_streams: Optional[int] = None
    tf32: Optional[bool] = None
    timing_cache: Optional[bool] = None
    hardware_compatibility: Optional[str] = None
    version_compatible: Optional[bool] = None
    exclude_lean_runtime: Optional[bool] = None
    strip_weights: Optional[bool] = None
    refit: Optional[str] = None
    weight_streaming: Optional[bool] = None
    sparsity: Optional[bool] = None
    dla_core: Optional[int] = None
    dla_gpu_fallback: Optional[bool] = None
    strongly_typed: Optional[bool] = None
    strict_types: Optional[bool] = None
    int8_remainder: Optional[str] = None
    profiling_verbosity: Optional[str] = None
    compute_capabilities: Tuple[str, ...] = ()
    io_formats: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> BuilderConfig:
        """Read a configuration."""
        codec.check_keys(raw, (*_KINDS, "compute_capabilities", "io_formats"), "builder")
        values = {key: codec.optional(raw, key, kind, "builder") for key, kind in _KINDS.items()}
        formats: Dict[str, str] = codec.optional(raw, "io_formats", dict, "builder") or {}
        return cls(
            **values, compute_capabilities=codec.strings(raw, "compute_capabilities", "builder"), io_formats=formats
        )

    def to_dict(self) -> Dict[str, Any]:
        """Return the JSON form: what is set, and nothing else."""
        chosen = self.chosen()
        lists = {key: list(value) for key, value in chosen.items() if isinstance(value, tuple)}
        return {**chosen, **lists}

    def chosen(self) -> Dict[str, Any]:
        """Return the settings that differ from the backend's defaults."""
        values = {item.name: getattr(self, item.name) for item in fields(self)}
        return {key: value for key, value in values.items() if value not in (None, (), {})}
