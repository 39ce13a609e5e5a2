"""The schema's descriptions, limits and examples of the fields of reports, beyond their types."""

from __future__ import annotations

from collections.abc import Mapping

from prepare_models_entrypoint.contract.backends import PRODUCTS
from prepare_models_entrypoint.contract.comparison import OutputComparison
from prepare_models_entrypoint.contract.converters import CONVERTERS
from prepare_models_entrypoint.contract.environment import BackendInfo, GpuInfo, RuntimeInfo
from prepare_models_entrypoint.contract.kinds import Schema
from prepare_models_entrypoint.contract.precision import AUTO, PRECISIONS, Means
from prepare_models_entrypoint.contract.report import (
    SCHEMA_VERSION,
    STATUSES,
    Binding,
    Calibration,
    Confinement,
    DeploymentInfo,
    Engine,
    EngineDetails,
    ErrorInfo,
    HarmfulLayer,
    KeptLayer,
    Layer,
    MadeBy,
    Material,
    ModelReport,
    Origin,
    PrecisionChoice,
    PrecisionProof,
    PrecisionSearch,
    ProfileShapes,
    StageResult,
    TensorNames,
    WarningInfo,
)

from .comparison_fields import COMPARED
from .status_fields import PROVISIONED
from .told import HEX64, told, whole

STAGES = ("fetch", "check", "convert", "inspect", "verify")
_MEANS = tuple(means.value for means in Means)

_COUNT: Schema = {"type": "integer", "minimum": 0}
_SHARE: Schema = {"type": "number", "minimum": 0, "maximum": 1}


# Types with other names in the schema, and descriptions of types ("") and of their fields.
NAMES: Mapping[object, str] = {
    ErrorInfo: "error",
    WarningInfo: "warning",
    StageResult: "stage",
    OutputComparison: "comparison",
    BackendInfo: "backend",
    GpuInfo: "gpu",
    RuntimeInfo: "runtime",
    EngineDetails: "details",
    ModelReport: "model",
}
OPTIONAL: Mapping[object, tuple[str, ...]] = {ProfileShapes: ("values",), DeploymentInfo: ("deepstream", "version")}
TOLD: Mapping[object, Mapping[str, Schema]] = {
    **COMPARED,
    **PROVISIONED,
    ErrorInfo: {
        "": told("Why a model failed."),
        "code": told("Stable code of the failure.", pattern="^[a-z0-9]+(-[a-z0-9]+)*$", examples=["outputs-mismatch"]),
        "stage": told("Stage that failed; null where the model did not get as far as a stage.", enum=(*STAGES, None)),
        "message": told("What happened and why."),
        "hint": told("What to do next."),
        "retryable": told("Whether the same run may succeed later."),
    },
    WarningInfo: {
        "code": told("Stable code.", examples=["rtx-engine"]),
        "message": told("What to know about the engine."),
        "hint": told("What to do about it."),
    },
    Material: {
        "": told("A file that the engine is made from."),
        "role": told(enum=("model", "external_data", "calibration_cache")),
        "source": told("Source as the manifest names it, without secrets, local paths made absolute."),
        "source_id": told("Distinguishes two sources that differ only in their secrets."),
        "bytes": told("Size of the file.", minimum=0),
        "sha256": told("Digest of the file, before any decryption.", pattern=HEX64),
    },
    ProfileShapes: {
        "": told("Shapes of one binding in one optimization profile; values only for a shape tensor."),
        "min": told(ref="shape"),
        "opt": told(ref="shape"),
        "max": told(ref="shape"),
    },
    Binding: {
        "": told("An input or output."),
        "name": told("Name of the binding.", examples=["input_2:0"]),
        "mode": told(enum=("input", "output")),
        "dtype": told("Element type.", examples=["float32", "int32"]),
        "shape": told(ref="shape"),
        "profiles": told("Shapes in each optimization profile; empty for outputs."),
        "source": told(
            "Where this was read: the engine itself, or the network that it was built from.", enum=("engine", "network")
        ),
    },
    Engine: {
        "": told("The plan file."),
        "path": told("The plan file as its consumers see it."),
        "bytes": told("Size of the plan file.", minimum=0),
        "sha256": told("Digest of the plan file.", pattern=HEX64),
        "header": told(
            "What the first bytes of the plan say.",
            additionalProperties=False,
            required=["format", "version"],
            properties={
                "format": {"enum": ["tensorrt", "tensorrt_rtx"]},
                "version": {
                    "description": "Version of the runtime that wrote it.",
                    "type": "string",
                    "examples": ["1.7.1.116"],
                },
                "compute_capabilities": {
                    "description": "GPUs that the plan is for.",
                    "type": "array",
                    "items": {"type": "string"},
                    "examples": [["8.6", "8.9"]],
                },
                "and_later": {"description": "Whether it also runs on later GPUs.", "type": "boolean"},
                "weights_bytes": {"description": "Weights in the plan.", "type": "integer", "minimum": 0},
            },
        ),
    },
    StageResult: {
        "name": told(enum=STAGES),
        "status": told(enum=("done", "failed")),
        "started_at": told("Seconds since 1970.", minimum=0),
        "seconds": told("Wall time.", minimum=0),
        "peak_rss_bytes": told("Peak resident memory of the process that did the work.", minimum=0),
    },
    Calibration: {
        "": told("What a calibration cache gave."),
        "wanted": told(minimum=0),
        "covered": told(minimum=0),
        "missing_count": told(minimum=0),
        "stale_count": told(minimum=0),
    },
    PrecisionProof: {
        "": told("What precision was requested, what the engine got and how, and what shows it."),
        "requested": told(enum=(*PRECISIONS, AUTO)),
        "delivered": told("Null where nothing shows it.", enum=(*PRECISIONS, None)),
        "how": told("How the precision came about.", examples=["graph rewritten, fp32 bindings"]),
        "source": told(
            "What shows it: the network that was built, the engine's layer information, or its size.",
            enum=("graph", "engine", "engine size", None),
        ),
        "layers": told("Compute layers by precision.", additionalProperties=_COUNT),
        "layers_share": told("Their share, 0 to 1.", additionalProperties=_SHARE),
        "weights_share": told(
            "Share of the weights, 0 to 1; empty where that isn't known.", additionalProperties=_SHARE
        ),
        "means": told("What brought it about, as a value; null in older records.", enum=(*_MEANS, None)),
        "flags": told("Builder flags that were set."),
        "kept": told("Layers that stay in fp32 because of their values, or because the manifest asks for it."),
        "kept_harmless": told(
            "How many more layers stay in fp32: there is no such type for them, or nothing to gain.", minimum=0
        ),
        "measured": told("The samples on which ranges were measured."),
        "measured_runs": told("How many times the source model ran to measure its tensors.", minimum=0),
        "kept_share": told(
            "Share of the multiply-accumulates that stays in fp32 because of that, 0 to 1; null where the source "
            "model did not run.",
            minimum=0,
            maximum=1,
        ),
        "search": told("How the search for the fewest layers in fp32 ended; null where none was needed."),
        "choices": told("What precision: auto weighed."),
    },
    KeptLayer: {"": told("A layer that stays in fp32, and why.")},
    PrecisionSearch: {
        "": told("A search for the fewest layers that have to stay in fp32 for the thresholds to be met."),
        "right": told("Whether it found any."),
        "error": told(
            "The largest error of any output, over the output's range, with these layers in fp32; null where it is "
            "not finite."
        ),
        "layers": told("Layers that could be narrow.", minimum=0),
        "kept": told("How many of these are in fp32: where it found none, the most that it tries.", minimum=0),
        "harmful": told("The layers that do most harm, worst first."),
    },
    HarmfulLayer: {
        "": told("A layer that rounding harms."),
        "moves": told("How far it moves an output on its own, over the output's range; null where that is not finite."),
    },
    PrecisionChoice: {
        "": told("A precision that precision: auto weighed."),
        "precision": told(enum=(*PRECISIONS, AUTO)),
        "verdict": told(enum=("chosen", "missed", "impossible", "not-tried")),
        "kept": told("Layers that it leaves in fp32.", minimum=0),
        "error": told("The largest error of any output, over the output's range."),
    },
    BackendInfo: {
        "": told("A TensorRT module: what builds engines, or loads them."),
        "name": told(enum=tuple(PRODUCTS)),
        "version": told("Exact version.", examples=["10.13.3.9"]),
    },
    GpuInfo: {
        "name": told("Name of the device.", examples=["Orin"]),
        "compute_capability": told("Compute capability.", examples=["8.7"]),
        "driver": told("Version of the driver.", examples=["580.65.06"]),
        "cuda_version": told("Newest CUDA that the driver serves.", examples=["13.0"]),
    },
    RuntimeInfo: {
        "": told("The process that converts."),
        "python": told("Python that converts.", examples=["3.10.12"]),
        "machine": told("Architecture.", examples=["aarch64"]),
        "backend": told("What builds engines; null where nothing is installed."),
        "gpu": told("The GPU; null without one."),
        "gpu_reason": told("Why there is no GPU."),
        "system": told("Operating system.", examples=["linux"]),
        "board": told("Module of a Jetson; null elsewhere.", examples=["p3767-0000"]),
        "programs": told(
            "Programs of NVIDIA that convert, each with the first 16 digits of its sha256.",
            examples=[{"trtexec": "0123456789abcdef"}],
        ),
        "library": told(
            "Version of the TensorRT library that programs load; null where none was found.", examples=["10.3.0"]
        ),
        "etlt_codec": told("Whether NVIDIA's codec for .etlt is installed."),
        "packages": told(
            "Versions of the installed Python packages that change networks before the builder sees them.",
            examples=[{"onnx": "1.18.0", "onnxruntime": "1.20.1"}],
        ),
        "others": told("Further TensorRT modules, which load engines and build none here."),
    },
    DeploymentInfo: {
        "": told("What the files that consumers read were written for."),
        "deploy_dir": told("The models directory as the consumers see it; null: where it is."),
        "consumers": told("Those that were checked for, such as isaac-ros@5.0; empty: all."),
        "deepstream": told("Labels and keys of nvinfer; missing where the manifest does not set them."),
        "version": told(
            "Version that Triton is to serve, of an engine that was provisioned; missing elsewhere.", minimum=1
        ),
        "warmup": told("Whether Triton runs the engine once before it serves requests."),
    },
    MadeBy: {
        "": told("What built the engine."),
        "tool": told("Version of prepare-models."),
        "image": told("Digest of the container image; null outside of one."),
    },
    Layer: {
        "": told("One layer."),
        "name": told("Its name; builders join the names of what they fuse."),
        "type": told("Its kind, in TensorRT's words.", examples=["CONVOLUTION"]),
        "precision": told(
            "fp32, fp16, bf16, int8, fp8, or another type that it works in, such as int64; null if unknown.",
            examples=["fp16"],
        ),
        "outputs": told("Tensors that it writes."),
    },
    EngineDetails: {
        "": told("What is inside."),
        "source": told(
            "engine: loaded on a GPU. network: before the builder fused its layers.", enum=("engine", "network")
        ),
        "name": told("Name of the network."),
        "device_memory_bytes": told(
            "Activations of one execution context, of the largest profile; null where no GPU reported it.", minimum=0
        ),
        "streamable_weights_bytes": told(
            "Weights that may stay outside of device memory; null where no GPU reported it.", minimum=0
        ),
        "layers": told("The layers in their order."),
    },
    TensorNames: {
        "": told("Names in ROS 2 TensorLists."),
        "input_tensor_names": told("One for each input, in the engine's order."),
        "output_tensor_names": told("One for each output, in the engine's order."),
    },
    Confinement: {
        "": told("What the process that built the engine had given up before it read the model; see docs/security.md."),
        "held": told("Defences that held.", examples=[["files", "no-network"]]),
        "missing": told("Defences that this machine's kernel or architecture lacks."),
    },
    Origin: {
        "bundle": told("sha256 of the bundle's index; null for an engine of a shared store."),
        "signed_by": told(
            "Id of the trusted key that signed the bundle, or the engine in the store; null if none did."
        ),
        "store": told("URL of the shared store; null for an engine of a bundle."),
    },
    ModelReport: {
        "": told("What became of one model."),
        "schema_version": told(const=SCHEMA_VERSION),
        "name": told("Name in the manifest."),
        "status": told("What became of the model.", enum=STATUSES),
        "reason": told(
            "Why it was built, restored or skipped, and what changed; or that nothing did.",
            examples=[
                "build because: no engine yet",
                "rebuild because: TensorRT 10.3.0 -> 10.7.0; precision fp16 -> int8",
            ],
        ),
        "source": told("Source as the manifest names it, local paths made absolute."),
        "converter": told("Converter that was used, or asked for where none ran.", enum=(AUTO, *CONVERTERS)),
        "materials": told("Files that the engine is made from."),
        "licences": told("Pages with the terms of what was fetched."),
        "engine": told("The engine; null without one."),
        "build_key": told("Digest of identity. Equal keys stand for equal engines.", pattern=HEX64),
        "identity": told("What decides the bytes of the engine.", ref="identity"),
        "builder": told(ref="builder"),
        "profiles": told("Optimization profiles: binding name to shapes."),
        "io": told("Inputs and outputs."),
        "stages": told("Stages that ran; empty for an engine that was up to date."),
        "runtime": told("The process that converted this model."),
        "warnings": told("What to know about an engine that was built all the same."),
        "error": told("Why it failed; null otherwise."),
        "trtexec_command": told("The equivalent trtexec command line."),
        "log": told("The builder's output of a failed build."),
        "converter_reason": told("Why this converter."),
        "attempts": told("Builds that ran out of memory, and what the next one changed."),
        "preflight": told("What a check found."),
        "details": told("Memory and layers; null where they could not be read."),
        "tensor_names": told(
            "Names in ROS 2 TensorLists, paired by position with the bindings; null without an engine."
        ),
        "verification": told("Comparison with the source model; null without verify:."),
        "plugins": told("Files of the plugin libraries that the engine was built with and needs to load."),
        "deployment": told("What the files that consumers read were written for."),
        "origin": told("Where an engine that wasn't built here comes from; null for one that was."),
        "confinement": told("Which defences held in the process that built the engine; null where nothing was built."),
    },
}
IDENTITY: Mapping[str, Schema] = {
    "model_sha256": told("Digest of the model file.", type="string"),
    "weights_sha256": told("Digest of the external data of an ONNX model; null without any.", type=["string", "null"]),
    "calibration_sha256": told(
        "Digest of the calibration cache, or of the samples that one is made from.", type=["string", "null"]
    ),
    "plugins_sha256": told("Digests of the plugin libraries, sorted.", type="array", items={"type": "string"}),
    "precision": told(enum=(*PRECISIONS, AUTO)),
    "converter": told("Converter that is used; null where there is none.", enum=(*CONVERTERS, None)),
    "converter_version": told(
        "Version of this tool's own conversion (api), or the first digits of the program's sha256.", type="string"
    ),
    "packages": told(
        "Versions of the Python packages that change this network before the builder sees it; null if missing.",
        type="object",
        additionalProperties={"type": ["string", "null"]},
    ),
    "inputs": told(
        "Shapes that the manifest asks for.", type="object", additionalProperties={"$ref": "#/$defs/profile_shapes"}
    ),
    "builder": told("Builder settings of the manifest.", type="object"),
    "conversion": told("Conversion options.", type="object"),
    "backend": told("What builds; null where nothing can.", type=["string", "null"]),
    "backend_version": told("Its exact version.", type=["string", "null"]),
    "target": told("GPU with compute capability and Jetson module, or portable.", type=["string", "null"]),
    "machine": told("Architecture.", type="string", examples=["aarch64"]),
    "system": told("Operating system.", type="string", examples=["linux"]),
}
BUILDER: Mapping[str, Schema] = {
    "workspace_bytes": told(
        "Limit of the workspace memory; null is the device's whole memory.", type=["integer", "null"], minimum=0
    ),
    "optimization_level": told("0 to 5.", type="integer", minimum=0, maximum=5),
    "flags": told(
        "Builder flags that were set, by TensorRT's names.", type="array", items={"type": "string"}, examples=[["TF32"]]
    ),
    "max_tactics": told(type=["integer", "null"]),
    "avg_timing_iterations": told(type=["integer", "null"]),
    "max_aux_streams": told(type=["integer", "null"]),
}
HOST: Mapping[str, Schema] = {
    "system": told("Kernel.", type="string", examples=["Linux 5.15.148-tegra"]),
    "machine": told("Architecture.", type="string", examples=["aarch64"]),
    "python": told("Python of the orchestrator.", type="string", examples=["3.10.12"]),
    "cpus": told("Number of CPUs; null if unknown.", type=["integer", "null"], minimum=1),
    "power": {
        "anyOf": [
            whole(
                {
                    "mode": told("Mode of nvpmodel.", type="string", examples=["MAXN_SUPER", "15W"]),
                    "clocks_fixed": told(
                        "Whether the CPUs' clocks are held, as jetson_clocks does it; null if unknown.",
                        type=["boolean", "null"],
                    ),
                    "celsius": told(
                        "Temperatures when the run ended, by zone.",
                        type="object",
                        additionalProperties={"type": "number"},
                        examples=[{"cpu-thermal": 47.187}],
                    ),
                },
                "What slows a Jetson down.",
            ),
            {"type": "null"},
        ]
    },
}
TOOL: Mapping[str, Schema] = {
    "name": told(const="prepare-models"),
    "version": told("Version of the tool.", type="string", examples=["0.1.0"]),
}
RUN: Mapping[str, Schema] = {
    "schema_version": told("Version of this format; a change that breaks readers raises it.", const=SCHEMA_VERSION),
    "tool": whole(TOOL),
    "run_id": told("Identifies the run in logs.", type="string", minLength=1),
    "manifest": told("The manifest as it was named.", type="string"),
    "models_dir": told("Triton model repository.", type="string"),
    "started_at": told(
        "Start of the run, UTC.", type="string", format="date-time", examples=["2026-05-04T12:30:00.000+00:00"]
    ),
    "seconds": told("Wall time of the run.", type="number", minimum=0),
    "host": whole(HOST, "The machine that ran the orchestrator."),
    "executor": told("Where engines were built.", enum=("local", "docker")),
    "runtime": told("Backend and GPU of the run.", ref="runtime"),
    "summary": whole(
        {status: {**told(f"Models with status {status}."), **_COUNT} for status in STATUSES},
        "Number of models for each status.",
    ),
    "models": told("What became of each model, in the manifest's order.", type="array", items=told(ref="model")),
}
