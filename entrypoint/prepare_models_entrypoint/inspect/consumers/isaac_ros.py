"""isaac_ros.yaml: a ROS 2 parameter file for Isaac ROS' TensorRTNode and TritonNode."""

from __future__ import annotations

import json
from pathlib import PurePosixPath
from typing import Any, Dict, Optional, Sequence

from ...contract import RosConfig
from ...contract.report import Binding, TensorNames


def parameters(name: str, deploy_dir: str, bindings: Sequence[Binding], names: Optional[TensorNames] = None) -> str:
    """Return the file's text.

    Binding names are the engine's, in its order; the names of tensors in ROS messages pair with them by position.

    Args:
        name: the model, as Triton knows it.
        deploy_dir: the model's directory as the nodes will see it.
        bindings: inputs and outputs of the engine.
        names: names in ROS messages; None for the defaults.
    """
    names = names or RosConfig().resolve(bindings)
    inputs = [binding["name"] for binding in bindings if binding["mode"] == "input"]
    outputs = [binding["name"] for binding in bindings if binding["mode"] == "output"]
    directory = PurePosixPath(deploy_dir)
    pairs = {
        "input_tensor_names": names["input_tensor_names"],
        "input_binding_names": inputs,
        "output_tensor_names": names["output_tensor_names"],
        "output_binding_names": outputs,
    }
    tensor_rt = {"engine_file_path": str(directory / "1" / "model.plan"), "force_engine_update": False, **pairs}
    triton = {"model_name": name, "model_repository_paths": [str(directory.parent)], "max_batch_size": 0, **pairs}
    return "# Parameters for Isaac ROS, from the bindings of the engine.\n" + "".join(
        _node(node, values) for node, values in (("tensor_rt", tensor_rt), ("triton", triton))
    )


def _node(name: str, values: Dict[str, Any]) -> str:
    # JSON scalars and lists are YAML too, and quote names that hold ':' or '/'.
    lines = [f"    {key}: {json.dumps(value)}" for key, value in values.items()]
    return "\n".join([f"{name}:", "  ros__parameters:", *lines]) + "\n"
