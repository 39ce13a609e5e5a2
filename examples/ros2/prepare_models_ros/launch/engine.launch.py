"""Build a model's engine for this machine, unless it is up to date, then launch its Isaac ROS node.

ros2 launch prepare_models_ros engine.launch.py manifest:=models.yaml model:=NAME
"""

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription, OpaqueFunction
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration
from prepare_models_ros.prepare import launch_file


def _node(context):
    manifest, model, models_dir, node = (
        LaunchConfiguration(name).perform(context) for name in ("manifest", "model", "models_dir", "node")
    )
    source = PythonLaunchDescriptionSource(str(launch_file(manifest, model, models_dir)))
    return [IncludeLaunchDescription(source, launch_arguments={"node": node}.items())]


def generate_launch_description():
    """Describe what to prepare, and the node to launch afterwards."""
    return LaunchDescription(
        [
            DeclareLaunchArgument("manifest", description="path of models.yaml"),
            DeclareLaunchArgument("model", description="name of a model in it"),
            DeclareLaunchArgument("models_dir", default_value="models", description="Triton model repository"),
            DeclareLaunchArgument("node", default_value="tensor_rt", choices=["tensor_rt", "triton"]),
            OpaqueFunction(function=_node),
        ]
    )
