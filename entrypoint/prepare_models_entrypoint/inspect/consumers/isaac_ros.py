"""isaac_ros.yaml: a ROS 2 parameter file for Isaac ROS' TensorRTNode and TritonNode."""

from __future__ import annotations

import json
from pathlib import PurePosixPath
from typing import Any, Dict, List, Sequence

from ...contract.report import Binding


def parameters(name: str, deploy_dir: str, bindings: Sequence[Binding]) -> str:
    """Return the file's text.

    Binding names are the engine's, in its order. Tensor names are those of the ROS TensorList: the ones that Isaac ROS'
    encoders and decoders use by default where there is one input or output, the binding's name where there are several.

    Args:
        name: the model, as Triton knows it.
        deploy_dir: the model's directory as the nodes will see it.
        bindings: inputs and outputs of the engine.
    """
    inputs = [binding["name"] for binding in bindings if binding["mode"] == "input"]
    outputs = [binding["name"] for binding in bindings if binding["mode"] == "output"]
    directory = PurePosixPath(deploy_dir)
    names = {
        "input_tensor_names": _tensor_names(inputs, "input_tensor"),
        "input_binding_names": inputs,
        "output_tensor_names": _tensor_names(outputs, "output_tensor"),
        "output_binding_names": outputs,
    }
    tensor_rt = {"engine_file_path": str(directory / "1" / "model.plan"), "force_engine_update": False, **names}
    triton = {"model_name": name, "model_repository_paths": [str(directory.parent)], "max_batch_size": 0, **names}
    return "# Parameters for Isaac ROS, from the bindings of the engine.\n" + "".join(
        _node(node, values) for node, values in (("tensor_rt", tensor_rt), ("triton", triton))
    )


def _tensor_names(bindings: List[str], single: str) -> List[str]:
    return [single] if len(bindings) == 1 else bindings


def _node(name: str, values: Dict[str, Any]) -> str:
    # JSON scalars and lists are YAML too, and quote names that hold ':' or '/'.
    lines = [f"    {key}: {json.dumps(value)}" for key, value in values.items()]
    return "\n".join([f"{name}:", "  ros__parameters:", *lines]) + "\n"
