"""Builder options: one row each, in TensorRT's own units."""

from __future__ import annotations

from typing import Mapping, Optional, Tuple

from .kinds import ByName, Flag, Integer, ListOf, OneOf, Size, Text
from .settings import Record, setting

_NO_DLA = "TensorRT-RTX has no DLA"
_NO_TIMING = "TensorRT-RTX chooses without running anything, so there are no tactics to time"
_NO_LEAN_RUNTIME = "TensorRT-RTX has no lean runtime"


class BuilderConfig(Record):
    """Builder configuration. ``None`` leaves an option at TensorRT's own default."""

    SPARSE = True

    workspace_bytes: Optional[int] = setting(
        Size(), "limit of the workspace memory pool", key="workspace", pool=("WORKSPACE", "workspace"), tao="-w",
    )  # fmt: skip
    tactic_dram_bytes: Optional[int] = setting(
        Size(), "limit of the memory that tactics may use", key="tactic_dram", pool=("TACTIC_DRAM", ""), since=(8, 6),
        rtx=_NO_TIMING,
    )  # fmt: skip
    tactic_shared_bytes: Optional[int] = setting(
        Size(), "limit of the shared memory of tactics", key="tactic_shared_memory",
        pool=("TACTIC_SHARED_MEMORY", "tacticSharedMem"), since=(10, 0),
    )  # fmt: skip
    dla_sram_bytes: Optional[int] = setting(
        Size(), "limit of the DLA's managed SRAM", key="dla_sram", pool=("DLA_MANAGED_SRAM", "dlaSRAM"), rtx=_NO_DLA,
    )  # fmt: skip
    dla_local_dram_bytes: Optional[int] = setting(
        Size(), "limit of the DLA's local DRAM", key="dla_local_dram", pool=("DLA_LOCAL_DRAM", "dlaLocalDRAM"),
        rtx=_NO_DLA,
    )  # fmt: skip
    dla_global_dram_bytes: Optional[int] = setting(
        Size(), "limit of the DLA's global DRAM", key="dla_global_dram", pool=("DLA_GLOBAL_DRAM", "dlaGlobalDRAM"),
        rtx=_NO_DLA,
    )  # fmt: skip
    optimization_level: Optional[int] = setting(
        Integer("a level from 0 (quick) to 5 (thorough)", 0, 5),
        "how long the builder searches; TensorRT's default is 3", 3,
        attribute="builder_optimization_level", trtexec="builderOptimizationLevel={}", since=(8, 6),
    )  # fmt: skip
    max_tactics: Optional[int] = setting(
        Integer("a number of at least 1", 1, 10**6), "most tactics to time", attribute="max_num_tactics",
        trtexec="maxTactics={}", since=(10, 4), rtx=_NO_TIMING,
    )  # fmt: skip
    avg_timing_iterations: Optional[int] = setting(
        Integer("a number from 1 to 1000", 1, 1000), "how often to time each tactic", attribute="avg_timing_iterations",
        trtexec="avgTiming={}", rtx=_NO_TIMING,
    )  # fmt: skip
    max_aux_streams: Optional[int] = setting(
        Integer("a number from 0 to 64", 0, 64), "largest number of auxiliary streams", attribute="max_aux_streams",
        trtexec="maxAuxStreams={}", since=(8, 6),
    )  # fmt: skip
    tf32: Optional[bool] = setting(
        Flag(), "`false` keeps fp32 layers off TF32 tensor cores", flags={True: "TF32"}, trtexec={False: "noTF32"},
    )  # fmt: skip
    timing_cache: Optional[bool] = setting(
        Flag(), "`false` keeps no timings; they are shared between builds for one TensorRT version, GPU and driver",
        rtx="TensorRT-RTX builds without timing, so a timing cache has no effect",
    )  # fmt: skip
    hardware_compatibility: Optional[str] = setting(
        OneOf("none", "ampere+", "same-compute-capability"),
        "GPUs that the engine runs on besides the one it is built on",
        attribute="hardware_compatibility_level", enumeration="HardwareCompatibilityLevel",
        members={"none": "NONE", "ampere+": "AMPERE_PLUS", "same-compute-capability": "SAME_COMPUTE_CAPABILITY"},
        trtexec={
            "ampere+": "hardwareCompatibilityLevel=ampere+",
            "same-compute-capability": "hardwareCompatibilityLevel=sameComputeCapability",
        },
        since=(8, 6), values_since={"same-compute-capability": (10, 9)},
        rtx="TensorRT-RTX engines run on all its GPUs; it ignores the level",
    )  # fmt: skip
    version_compatible: Optional[bool] = setting(
        Flag(), "an engine that newer runtimes load", flags={True: "VERSION_COMPATIBLE"},
        trtexec={True: "versionCompatible"}, since=(8, 6), rtx=_NO_LEAN_RUNTIME,
    )  # fmt: skip
    exclude_lean_runtime: Optional[bool] = setting(
        Flag(), "`true` leaves the lean runtime out of a version compatible engine",
        flags={True: "EXCLUDE_LEAN_RUNTIME"}, trtexec={True: "excludeLeanRuntime"}, since=(8, 6), rtx=_NO_LEAN_RUNTIME,
    )  # fmt: skip
    strip_weights: Optional[bool] = setting(
        Flag(), "an engine without weights, for a refit", flags={True: "STRIP_PLAN"}, trtexec={True: "stripWeights"},
        since=(10, 0), rtx_gpu=True,
    )  # fmt: skip
    refit: Optional[str] = setting(
        OneOf("none", "all", "identical"), "which weights can be replaced later",
        flags={"all": "REFIT", "identical": "REFIT_IDENTICAL"}, trtexec={"all": "refit"},
        values_since={"identical": (10, 0)}, rtx_gpu=True,
    )  # fmt: skip
    weight_streaming: Optional[bool] = setting(
        Flag(), "weights may stay in host memory", flags={True: "WEIGHT_STREAMING"},
        trtexec={True: "allowWeightStreaming"}, since=(10, 0),
    )  # fmt: skip
    sparsity: Optional[bool] = setting(
        Flag(), "use structured sparsity of the weights", flags={True: "SPARSE_WEIGHTS"},
        trtexec={True: "sparsity=enable"},
    )  # fmt: skip
    dla_core: Optional[int] = setting(
        Integer("the number of a DLA core, 0 or 1", 0, 1), "the DLA core that the engine runs on",
        trtexec="useDLACore={}", tao="-u", rtx=_NO_DLA,
    )  # fmt: skip
    dla_gpu_fallback: Optional[bool] = setting(
        Flag(), "layers that the DLA lacks run on the GPU", flags={True: "GPU_FALLBACK"},
        trtexec={True: "allowGPUFallback"}, rtx=_NO_DLA,
    )  # fmt: skip
    strongly_typed: Optional[bool] = setting(
        Flag(), "types come only from the model", trtexec={True: "stronglyTyped"}, since=(10, 0),
    )  # fmt: skip
    strict_types: Optional[bool] = setting(
        Flag(), "obey precision constraints", flags={True: "OBEY_PRECISION_CONSTRAINTS"},
        trtexec={True: "precisionConstraints=obey"}, tao="-s", until=(11, 0),
        rtx="types are always strict in TensorRT-RTX",
    )  # fmt: skip
    int8_remainder: Optional[str] = setting(
        OneOf("fp16", "fp32"), "precision of the layers that int8 does not reach; `fp16` unless set",
    )  # fmt: skip
    profiling_verbosity: Optional[str] = setting(
        OneOf("none", "layer-names-only", "detailed"), "what the engine reports about its layers",
        attribute="profiling_verbosity", enumeration="ProfilingVerbosity",
        members={"none": "NONE", "layer-names-only": "LAYER_NAMES_ONLY", "detailed": "DETAILED"},
        trtexec={
            "none": "profilingVerbosity=none",
            "layer-names-only": "profilingVerbosity=layer_names_only",
            "detailed": "profilingVerbosity=detailed",
        },
    )  # fmt: skip
    compute_capabilities: Tuple[str, ...] = setting(
        ListOf(Text("compute capabilities such as 8.6"), "a list of compute capabilities such as 8.6"),
        "the GPUs that TensorRT-RTX builds for", ["8.6", "8.9"], default=(),
        rtx_only="TensorRT builds for the GPU that it runs on",
    )  # fmt: skip
    io_formats: Mapping[str, str] = setting(
        ByName(
            Text("a type and layout such as fp16:chw", "[a-z0-9]+:[a-z0-9]+"),
            "names with a type and layout such as fp16:chw",
        ),
        "type and layout of bindings", {"input": "fp16:chw"}, default=dict,
    )  # fmt: skip
