"""isaac_ros.yaml and isaac_ros.launch.py: Isaac ROS's TensorRTNode and TritonNode for one engine."""

from __future__ import annotations

import json
import pprint
from pathlib import Path, PurePosixPath
from typing import Any, Dict, List

from ...contract.deployment import RosConfig
from ...contract.report import ModelReport
from ..triton import files as triton
from .releases import TENSOR_RT, TRITON, Release

_GIB = 1 << 30
_LAUNCH = Path(__file__).with_name("launch.template")


def nodes(report: ModelReport, deploy_dir: str, release: Release) -> "Dict[str, Dict[str, Any]]":
    """Return the parameters of both nodes that the release declares, by node name.

    Binding names are the engine's, in its order; the names of tensors in ROS messages pair with them by position.

    ``deploy_dir``: the model's directory as the nodes will see it.
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
        "dla_core": _asked(report).get("dla_core"),
        "custom_plugin_lib": report["plugins"][0] if len(report["plugins"]) == 1 else None,
        **pairs,
    }
    served = {
        "model_name": report["name"],
        "model_repository_paths": [str(directory.parent)],
        "max_batch_size": triton.max_batch_size(bindings),
        **pairs,
    }
    values = {TENSOR_RT: tensor_rt, TRITON: served}
    return {
        node: {
            key: value for key, value in given.items() if value is not None and key in release.nodes[node].parameters
        }
        for node, given in values.items()
    }


def workspace_bytes(report: ModelReport) -> int:
    """Return the builder memory in bytes for TensorRTNode: what the manifest allowed, 1 GiB by default.

    The effective limit in ``builder`` would be the backend's default, which may exceed the machine's memory.
    """
    return int(_asked(report).get("workspace_bytes") or _GIB)


def _asked(report: ModelReport) -> Dict[str, Any]:
    """Return the builder settings of the manifest."""
    asked: Dict[str, Any] = (report["identity"] or {}).get("builder") or {}
    return asked


def parameters(report: ModelReport, deploy_dir: str, release: Release) -> str:
    """Return the text of the ROS 2 parameter file."""
    text = f"# Parameters for Isaac ROS {release.name}, from the bindings of the engine.\n"
    for node, values in nodes(report, deploy_dir, release).items():
        # JSON scalars and lists are YAML too, and quote names that hold ':' or '/'.
        lines = [f"    {key}: {json.dumps(value)}" for key, value in values.items()]
        text += "\n".join([f"{node}:", "  ros__parameters:", *lines]) + "\n"
    return text


def launch(report: ModelReport, deploy_dir: str, release: Release) -> str:
    """Return the text of the launch file, which contains the same parameters."""
    values = nodes(report, deploy_dir, release)
    literals = {node: pprint.pformat(given, width=110, sort_dicts=False) for node, given in values.items()}
    plugins = {f"{node}_node": f"{of.package!r}, {of.plugin!r}" for node, of in release.nodes.items()}
    return _LAUNCH.read_text(encoding="utf-8").format(release=release.name, **literals, **plugins)
