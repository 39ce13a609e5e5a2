"""What the nodes of each Isaac ROS release declare, from the files in releases/, with the source of each fact."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any, List, Mapping, Tuple

from ...contract import schema
from ...contract.consumers import releases
from ...contract.report import Binding
from ...contract.values import Value

TENSOR_RT, TRITON = "tensor_rt", "triton"
DEFAULT = "4.6"
_FOLDER = Path(__file__).with_name("releases")
RELEASES = releases(Path(__file__).parent)
_TYPES = {"bool": bool, "integer": int, "double": float, "string": str}


class Parameter(Value):
    """A parameter as a node declares it. type: its ROS 2 type. unit: empty for names, switches and lists."""

    type: str
    default: Any
    unit: str = ""

    def takes(self, value: Any) -> bool:
        """Return whether a node accepts a value; ROS 2 doesn't convert types."""
        if self.type.endswith("[]"):
            return isinstance(value, list) and all(type(each) is _TYPES[self.type[:-2]] for each in value)
        return type(value) is _TYPES[self.type]


class Node(Value):
    """One of the two nodes. names: those that its launch files and the node itself use.

    output_types: those that TensorRTNode publishes. loads: what TritonNode loads; every model of the ``repository``, or
    only its own.
    """

    package: str
    plugin: str
    names: Tuple[str, ...]
    parameters: Mapping[str, Parameter]
    output_types: Tuple[str, ...] = ()
    loads: str = ""


class Release(Value):
    """One release, for a release of ROS 2.

    every_node: parameters of any node. removed: parameters that no longer exist, with what they belonged to.
    ignored: parameters that its documentation lists but no node declares. fp16_is_tf32: what enable_fp16 means.
    """

    name: str
    ros: str
    sources: Tuple[Mapping[str, str], ...]
    nodes: Mapping[str, Node]
    every_node: Mapping[str, Parameter]
    removed: Mapping[str, str]
    ignored: Tuple[str, ...]
    fp16_is_tf32: bool


def dynamic_axes(binding: Binding) -> List[int]:
    """Return the axes whose sizes TensorRTNode needs fixed: it takes dynamic ones only on axis 0."""
    return [axis for axis, size in enumerate(binding["shape"]) if axis and size == -1]


@lru_cache(maxsize=None)
def release(name: str) -> Release:
    """Return the release with this name, such as 4.6."""
    return schema.read(Release, schema.load(_FOLDER / f"{name}.json"), name)
