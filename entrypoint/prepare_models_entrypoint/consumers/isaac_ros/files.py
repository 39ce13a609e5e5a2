"""isaac_ros.yaml and isaac_ros.launch.py: Isaac ROS' TensorRTNode and TritonNode for one engine."""

from __future__ import annotations

import json
import pprint
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Dict, List

from ...contract.report import ModelReport
from ...contract.ros import RosConfig
from ..triton import files as triton

_GIB = 1 << 30


@dataclass(frozen=True)
class Parameter:
    """A parameter as the node declares it. ``unit`` is empty for names, switches and lists."""

    default: Any
    unit: str = ""


# Of TensorRTNode and TritonNode in Isaac ROS 4.5.
_NAMES: Dict[str, Parameter] = {
    f"{mode}_{kind}": Parameter([])
    for mode in ("input", "output")
    for kind in ("tensor_names", "binding_names", "tensor_formats")
}
TENSOR_RT: Dict[str, Parameter] = {
    "model_file_path": Parameter("model.onnx"),
    "engine_file_path": Parameter("/tmp/trt_engine.plan"),  # noqa: S108  # the node's own default
    "force_engine_update": Parameter(default=True),
    "custom_plugin_lib": Parameter(""),
    **_NAMES,
    "verbose": Parameter(default=True),
    "max_workspace_size": Parameter(64 << 20, "bytes"),
    "dla_core": Parameter(-1, "number of a core"),
    "max_batch_size": Parameter(1, "samples"),
    "enable_fp16": Parameter(default=True),
    "relaxed_dimension_check": Parameter(default=True),
    "memory_pool_block_size": Parameter(1920 * 1200 * 4, "bytes"),
    "memory_pool_num_blocks": Parameter(40, "blocks"),
    "num_blocks": Parameter(40, "blocks"),  # its name up to Isaac ROS 4.4
    "input_queue_size": Parameter(1, "messages"),
    "output_queue_size": Parameter(1, "messages"),
}
TRITON: Dict[str, Parameter] = {
    "model_name": Parameter(""),
    "max_batch_size": Parameter(8, "samples"),
    "num_concurrent_requests": Parameter(10, "requests"),
    "model_repository_paths": Parameter([]),
    "enable_triton_logging": Parameter(default=True),
    "enable_strict_model": Parameter(default=False),
    **_NAMES,
    "log_level": Parameter(0),
    "backend_directory": Parameter(""),
    "input_queue_size": Parameter(10, "messages"),
    "output_queue_size": Parameter(10, "messages"),
}


def nodes(report: ModelReport, deploy_dir: str) -> "Dict[str, Dict[str, Any]]":
    """Return the parameters of both nodes by node name.

    Binding names are the engine's, in its order; the names of tensors in ROS messages pair with them by position.

    Args:
        report: of the model, with its bindings.
        deploy_dir: the model's directory as the nodes will see it.
    """
    directory, bindings = PurePosixPath(deploy_dir), report["io"]
    names = report["tensor_names"] or RosConfig().resolve(bindings)
    pairs: Dict[str, List[str]] = {
        "input_tensor_names": names["input_tensor_names"],
        "input_binding_names": [binding["name"] for binding in bindings if binding["mode"] == "input"],
        "output_tensor_names": names["output_tensor_names"],
        "output_binding_names": [binding["name"] for binding in bindings if binding["mode"] == "output"],
    }
    tensor_rt: Dict[str, Any] = {
        "engine_file_path": str(directory / "1" / "model.plan"),
        "force_engine_update": False,
        "max_workspace_size": workspace_bytes(report),
        "max_batch_size": max(triton.max_batch_size(bindings), 1),
        **_only("dla_core", _asked(report).get("dla_core")),
        **_only("custom_plugin_lib", report["plugins"][0] if len(report["plugins"]) == 1 else None),
        **pairs,
    }
    served = {
        "model_name": report["name"],
        "model_repository_paths": [str(directory.parent)],
        "max_batch_size": triton.max_batch_size(bindings),
        **pairs,
    }
    return {"tensor_rt": tensor_rt, "triton": served}


def workspace_bytes(report: ModelReport) -> int:
    """Return what TensorRTNode shall allow a builder: what the manifest allowed this engine's, 1 GiB without a word.

    The effective limit in ``builder`` is a backend's default then, which may be more than the machine has.
    """
    return int(_asked(report).get("workspace_bytes") or _GIB)


def _asked(report: ModelReport) -> Dict[str, Any]:
    """Return the builder settings of the manifest."""
    asked: Dict[str, Any] = (report["identity"] or {}).get("builder") or {}
    return asked


def _only(name: str, value: Any) -> Dict[str, Any]:
    return {} if value is None else {name: value}


def parameters(report: ModelReport, deploy_dir: str) -> str:
    """Return the text of the ROS 2 parameter file."""
    text = "# Parameters for Isaac ROS, from the bindings of the engine.\n"
    for node, values in nodes(report, deploy_dir).items():
        # JSON scalars and lists are YAML too, and quote names that hold ':' or '/'.
        lines = [f"    {key}: {json.dumps(value)}" for key, value in values.items()]
        text += "\n".join([f"{node}:", "  ros__parameters:", *lines]) + "\n"
    return text


_LAUNCH = '''"""Isaac ROS launch file of {name}, from the bindings of the engine.

ros2 launch isaac_ros.launch.py                TensorRTNode
ros2 launch isaac_ros.launch.py node:=triton   TritonNode
"""

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument
from launch.conditions import IfCondition
from launch.substitutions import LaunchConfiguration, PythonExpression
from launch_ros.actions import ComposableNodeContainer
from launch_ros.descriptions import ComposableNode

TENSOR_RT = {tensor_rt}

TRITON = {triton}


def _container(name, package, plugin, parameters):
    """Return a container with one node, started where the argument node has its name."""
    node = ComposableNode(
        name=name, package=package, plugin='nvidia::isaac_ros::dnn_inference::' + plugin, parameters=[parameters]
    )
    return ComposableNodeContainer(
        name=name + '_container',
        namespace='',
        package='rclcpp_components',
        executable='component_container_mt',
        composable_node_descriptions=[node],
        condition=IfCondition(PythonExpression(["'", LaunchConfiguration('node'), "' == '" + name + "'"])),
        output='screen',
    )


def generate_launch_description():
    """Describe the node that is to be launched."""
    return LaunchDescription([
        DeclareLaunchArgument('node', default_value='tensor_rt', choices=['tensor_rt', 'triton']),
        _container('tensor_rt', 'isaac_ros_tensor_rt', 'TensorRTNode', TENSOR_RT),
        _container('triton', 'isaac_ros_triton', 'TritonNode', TRITON),
    ])
'''


def launch(report: ModelReport, deploy_dir: str) -> str:
    """Return the text of the launch file, which holds the same parameters."""
    values = nodes(report, deploy_dir)
    literals = {node: pprint.pformat(told, width=110, sort_dicts=False) for node, told in values.items()}
    return _LAUNCH.format(name=report["name"], **literals)
