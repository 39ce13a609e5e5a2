"""The rules, as a table. docs/lint.md carries the same list."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Callable, Dict, Iterator, Tuple

from .deepstream import checks as deepstream_checks
from .isaac_ros import checks as isaac_ros_checks
from .model_files import Model
from .triton import checks as triton_checks

Check = Callable[[Model], Iterator[str]]

ISAAC_ROS, TRITON, DEEPSTREAM = "isaac-ros", "triton", "deepstream"
CONSUMERS = (ISAAC_ROS, TRITON, DEEPSTREAM)
ENGINE, FILES = "engine", "files"


@dataclass(frozen=True)
class Rule:
    """One rule.

    looks_at: ``engine`` (its bindings: the rule holds from the build on) or ``files`` (what lies beside it).
    meaning: what is wrong. hint: what to do. check: yields a message for each finding.
    """

    consumer: str
    looks_at: str
    meaning: str
    hint: str
    check: Check


RULES: Dict[str, Rule] = {
    "rtx-engine": Rule(
        ISAAC_ROS, ENGINE, "the engine is TensorRT-RTX's, which loads in that very runtime alone",
        "for Isaac ROS and Triton, run in an environment with the full tensorrt package and a GPU",
        triton_checks.rtx,
    ),
    "isaac-ros-dynamic-dimension": Rule(
        ISAAC_ROS, ENGINE, "TensorRTNode takes dynamic sizes in dimension 0 alone",
        "build the engine with fixed sizes (onnx: {static_shapes: ...}), or serve it with TritonNode",
        isaac_ros_checks.dynamic_dimension,
    ),
    "isaac-ros-output-type": Rule(
        ISAAC_ROS, ENGINE, "TensorRTNode throws for outputs that are not float32, int8, int32, int64 or uint8",
        "export the model with a cast to such a type at this output, or serve it with TritonNode",
        isaac_ros_checks.output_type,
    ),
    "isaac-ros-no-inputs": Rule(
        ISAAC_ROS, ENGINE, "both nodes need at least one input and one output",
        "export the model with inputs and outputs",
        isaac_ros_checks.no_ends,
    ),
    "isaac-ros-names": Rule(
        ISAAC_ROS, FILES, "binding names are not the engine's, not all of them, or not paired with tensor names",
        "run again: it writes isaac_ros.yaml from the engine",
        isaac_ros_checks.names,
    ),
    "isaac-ros-engine-update": Rule(
        ISAAC_ROS, FILES, "with force_engine_update, which is the node's default, this engine is never used",
        "write force_engine_update: false",
        isaac_ros_checks.engine_update,
    ),
    "isaac-ros-workspace": Rule(
        ISAAC_ROS, FILES, "should the node ever build, 64 MiB of workspace (its default) is less than this engine had",
        "write max_workspace_size in bytes, such as 1073741824",
        isaac_ros_checks.workspace,
    ),
    "isaac-ros-engine-path": Rule(
        ISAAC_ROS, FILES, "the node's default engine file is /tmp/trt_engine.plan; another path is not this engine",
        "write the path of 1/model.plan as the node sees it",
        isaac_ros_checks.engine_path,
    ),
    "isaac-ros-plugin": Rule(
        ISAAC_ROS, FILES, "TensorRTNode loads one library of plugins, custom_plugin_lib, and the engine needs its own",
        "write custom_plugin_lib with the library as the node sees it; link several into one",
        isaac_ros_checks.plugin,
    ),
    "isaac-ros-fp16": Rule(
        ISAAC_ROS, FILES, "enable_fp16 has meant TF32 since Isaac ROS 4.3",
        "remove it; precision: in the manifest decides the engine's",
        isaac_ros_checks.fp16,
    ),
    "isaac-ros-parameter": Rule(
        ISAAC_ROS, FILES, "the node declares no such parameter (ROS ignores it) or another type (the node fails)",
        "correct the name or the type, see docs/lint.md",
        isaac_ros_checks.parameter,
    ),
    "isaac-ros-batch": Rule(
        ISAAC_ROS, FILES, "TritonNode's max_batch_size (8 by default) is not that of config.pbtxt",
        "write the same max_batch_size in both files",
        isaac_ros_checks.batch,
    ),
    "triton-foreign-directory": Rule(
        TRITON, FILES, "Triton loads every directory of the repository, and this one is no model of this tool",
        "move it out of the models directory",
        triton_checks.foreign,
    ),
    "engine-record": Rule(
        TRITON, FILES, "no record tells the inputs and outputs of the engine, so that nothing could be compared",
        "let this tool build the engine, or keep the report.json that was written with it",
        triton_checks.record,
    ),
    "triton-plan": Rule(
        TRITON, FILES, "no version directory holds the file that config.pbtxt names",
        "run again, or correct default_model_filename",
        triton_checks.plan,
    ),
    "triton-config": Rule(
        TRITON, FILES, "config.pbtxt is missing, can't be read, or names another model or platform",
        "run again: it writes config.pbtxt from the engine",
        triton_checks.config,
    ),
    "triton-tensors": Rule(
        TRITON, FILES, "config.pbtxt lists other inputs and outputs than the engine has",
        "run again: it writes config.pbtxt from the engine",
        triton_checks.tensors,
    ),
    "triton-type": Rule(
        TRITON, FILES, "a type in config.pbtxt is not the engine's: argmax became int64 with TensorRT 10, int32 before",
        "write the engine's type, and tell it to what reads this output",
        triton_checks.types,
    ),
    "triton-dims": Rule(
        TRITON, FILES, "dims in config.pbtxt, with the batch before them, are not the engine's shape",
        "run again: it writes config.pbtxt from the engine",
        triton_checks.dims,
    ),
    "triton-batching": Rule(
        TRITON, FILES, "max_batch_size is not what the engine's profiles allow",
        "write a max_batch_size within the profiles, or 0 with whole shapes",
        triton_checks.batching,
    ),
    "deepstream-output-type": Rule(
        DEEPSTREAM, ENGINE, "nvinfer's layers are float32, float16, int8 or int32",
        "export the model with a cast to such a type at this output",
        deepstream_checks.output_type,
    ),
    "deepstream-input": Rule(
        DEEPSTREAM, ENGINE, "nvinfer fills one float32 image of 1 or 3 channels",
        "use nvdspreprocess or a custom library that fills the inputs",
        deepstream_checks.image,
    ),
}  # fmt: skip


def check(model: Model, *, looks_at: Tuple[str, ...], consumers: Tuple[str, ...]) -> Iterator[Tuple[str, str]]:
    """Yield code and message of every finding."""
    for code, rule in RULES.items():
        if rule.looks_at not in looks_at or rule.consumer not in consumers:
            continue
        yield from ((code, message) for message in rule.check(model))
