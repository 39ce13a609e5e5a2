"""What the nodes of each Isaac ROS release declare, from the files in releases/, with the source of each fact."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Dict, Mapping, Tuple

from ...contract.consumers import releases

TENSOR_RT, TRITON = "tensor_rt", "triton"
DEFAULT = "4.6"
_FOLDER = Path(__file__).with_name("releases")
RELEASES = releases(Path(__file__).parent)
_TYPES = {"bool": bool, "integer": int, "double": float, "string": str}


@dataclass(frozen=True)
class Parameter:
    """A parameter as a node declares it. type: its ROS 2 type. unit: empty for names, switches and lists."""

    type: str
    default: Any
    unit: str = ""

    def takes(self, value: Any) -> bool:
        """Return whether a node accepts a value; ROS 2 doesn't convert types."""
        if self.type.endswith("[]"):
            return isinstance(value, list) and all(type(each) is _TYPES[self.type[:-2]] for each in value)
        return type(value) is _TYPES[self.type]


@dataclass(frozen=True)
class Node:
    """One of the two nodes. names: those that its launch files and the node itself use."""

    package: str
    plugin: str
    names: Tuple[str, ...]
    parameters: Mapping[str, Parameter]


@dataclass(frozen=True)
class Release:
    """One release.

    every_node: parameters of any node. removed: parameters that no longer exist, with what they belonged to.
    ignored: parameters that its documentation lists but no node declares. output_types: those that TensorRTNode
    publishes.
    loads_repository: whether TritonNode loads every model of the repository. fp16_is_tf32: what enable_fp16 means.
    """

    name: str
    nodes: Mapping[str, Node]
    every_node: Mapping[str, Parameter]
    removed: Mapping[str, str]
    ignored: Tuple[str, ...]
    output_types: Tuple[str, ...]
    loads_repository: bool
    fp16_is_tf32: bool


@lru_cache(maxsize=None)
def release(name: str) -> Release:
    """Return the release with this name, such as 4.6."""
    raw = json.loads((_FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    nodes = {
        key: Node(node["package"], node["plugin"], tuple(node["names"]), _parameters(node["parameters"]))
        for key, node in raw["nodes"].items()
    }
    return Release(
        name=raw["release"],
        nodes=nodes,
        every_node=_parameters(raw["every_node"]),
        removed=raw["removed"],
        ignored=tuple(raw["ignored"]),
        output_types=tuple(raw["nodes"][TENSOR_RT]["output_types"]),
        loads_repository=raw["nodes"][TRITON]["loads"] == "repository",
        fp16_is_tf32=raw["fp16_is_tf32"],
    )


def _parameters(raw: Mapping[str, Dict[str, Any]]) -> Dict[str, Parameter]:
    return {name: Parameter(**entry) for name, entry in raw.items()}
