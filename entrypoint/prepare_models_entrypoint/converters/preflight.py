"""What is checked and reported before a build: memory, disk, limits of consumers, the network against the manifest."""

from __future__ import annotations

import contextlib
import shutil
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, List, Optional, Sequence

from ..consumers.isaac_ros.releases import DEFAULT, TENSOR_RT, dynamic_axes, release
from ..contract.codec import ContractError
from ..contract.deployment import RosConfig
from ..contract.job import ModelJob
from ..contract.report import Binding, TensorNames, WarningInfo
from ..errors import ConvertError
from .request import Preflight

if TYPE_CHECKING:
    from .backend import Network

# Measured with TensorRT-RTX on eight networks: resident memory is 110 MB and 3.5 to 5.4 times the weights.
_BASE_BYTES = 110_000_000
_WEIGHTS_FACTOR = 5.4
_MEMORY_FILE = Path("/proc/meminfo")
# The limit of this container, in control groups of version 2 and 1; outside of one it is none, or "max".
_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))


def findings(network: Network, weights: int, model: ModelJob, work_dir: Path) -> Preflight:
    """Return the preflight section of a report.

    ``weights``: bytes of the model file. ``work_dir``: directory on the disk used for the work.
    """
    return Preflight(
        layers=network.layers,
        layer_types=dict(Counter(layer.type.name.lower() for layer in network)),
        memory_bytes=memory_needed(weights),
        memory_available_bytes=memory_available(),
        disk_bytes=2 * weights,
        disk_free_bytes=shutil.disk_usage(str(work_dir)).free,
        plugins=[plugin.file for plugin in model.plugins],
        rehearsed=False,
    )


def memory_needed(weights: int) -> int:
    """Return an estimate of the build's resident memory from the size of the weights, both in bytes."""
    return int(_BASE_BYTES + _WEIGHTS_FACTOR * weights)


def memory_available(file: Path = _MEMORY_FILE, limits: Sequence[Path] = _LIMITS) -> Optional[int]:
    """Return the memory in bytes that programs can still get, swap included, or None where that isn't reported.

    It is never more than the limit of the container.
    """
    try:
        fields = dict(line.split(":", 1) for line in file.read_text(encoding="ascii").splitlines())
        free = sum(int(fields[name].split()[0]) * 1024 for name in ("MemAvailable", "SwapFree"))
    except (OSError, ValueError, LookupError):
        return None
    for limit in limits:
        with contextlib.suppress(OSError, ValueError):
            free = min(free, int(limit.read_text(encoding="ascii")))
    return free


def check_memory(weights: int, *, available: Optional[int]) -> None:
    """Refuse a model that can't be built in the available memory, before trying for minutes."""
    needed = memory_needed(weights)
    if available is not None and needed > available:
        raise ConvertError(
            "memory-insufficient",
            f"the build needs about {needed / 1e9:.1f} GB of memory, {available / 1e9:.1f} GB are left",
        )


def isaac_ros(bindings: Sequence[Binding]) -> List[WarningInfo]:
    """Return what keeps an engine from running in Isaac ROS' TensorRTNode."""
    found: List[WarningInfo] = []
    types = release(DEFAULT).nodes[TENSOR_RT].output_types
    for binding in bindings:
        what = f"{binding['mode']} {binding['name']!r}"
        if binding["mode"] == "output" and binding["dtype"] not in types:
            message = f"{what} is {binding['dtype']}; Isaac ROS' TensorRTNode takes {', '.join(types)}"
            hint = "export the model with fp32 outputs"
            found.append(WarningInfo(code="isaac-ros-output-type", message=message, hint=hint))
        axes = dynamic_axes(binding)
        if axes:
            message = f"{what} is dynamic on axis {', '.join(map(str, axes))}; TensorRTNode allows axis 0 only"
            hint = "fix the size with onnx: {static_shapes: ...}"
            found.append(WarningInfo(code="isaac-ros-dynamic-axis", message=message, hint=hint))
    return found


def check_network(bindings: Sequence[Binding], layers: int) -> None:
    """Refuse a network without layers or outputs: parsers accept an empty file as a model. Inputs are optional."""
    outputs = sum(binding["mode"] == "output" for binding in bindings)
    if not layers or not outputs:
        raise ConvertError(
            "network-empty",
            f"the model parses to {layers} layers, {len(bindings) - outputs} inputs and {outputs} outputs",
        )


def check_outputs(bindings: Sequence[Binding], expected: Sequence[str]) -> None:
    """Compare the network's outputs with the manifest's ``outputs`` (empty: any outputs)."""
    found = [binding["name"] for binding in bindings if binding["mode"] == "output"]
    if expected and sorted(expected) != sorted(found):
        names = ", ".join(f'"{name}"' for name in found)
        raise ConvertError(
            "outputs-mismatch",
            f"expected outputs {', '.join(expected)}; the model has {', '.join(found)}",
            hint=f"write outputs: [{names}] in the manifest, or remove outputs",
        )


def check_tensor_names(bindings: Sequence[Binding], ros: RosConfig) -> TensorNames:
    """Return the names of tensors in ROS 2 messages; refuse names that don't fit the bindings."""
    try:
        return ros.resolve(bindings)
    except ContractError as error:
        raise ConvertError("tensor-names-mismatch", f"the names for ROS don't fit the model: {error}") from None
