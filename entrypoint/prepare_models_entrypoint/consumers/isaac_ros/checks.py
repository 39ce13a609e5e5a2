"""What TensorRTNode and TritonNode of Isaac ROS 4.5 need."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Any, Iterator, Mapping

from ..model_files import Model
from .files import TENSOR_RT, TRITON, workspace_bytes

OUTPUT_TYPES = ("float32", "int8", "int32", "int64", "uint8")
_DEFAULT_WORKSPACE = TENSOR_RT["max_workspace_size"].default
_NODES = {"tensor_rt": TENSOR_RT, "triton": TRITON}


def dynamic_dimension(model: Model) -> Iterator[str]:
    """Find dynamic dimensions behind the first."""
    for binding in model.io:
        axes = [axis for axis, size in enumerate(binding["shape"]) if axis and size == -1]
        if axes:
            yield f"{binding['mode']} {binding['name']!r} {binding['shape']} is dynamic in dimension {axes[0]}"


def output_type(model: Model) -> Iterator[str]:
    """Find outputs that TensorRTNode can't publish."""
    for binding in model.of("output"):
        if binding["dtype"] not in OUTPUT_TYPES:
            yield f"output {binding['name']!r} is {binding['dtype']}"


def no_ends(model: Model) -> Iterator[str]:
    """Find engines without inputs or outputs, where the engine itself told them: a manifest may know but some."""
    if any(binding["source"] == "engine" for binding in model.io) and not (model.of("input") and model.of("output")):
        yield f"the engine has {len(model.of('input'))} inputs and {len(model.of('output'))} outputs"


def names(model: Model) -> Iterator[str]:
    """Compare names with the engine's bindings: complete, the same, and paired by position."""
    if model.report is None or model.parameters is None:
        return
    for node in _NODES:
        for mode in ("input", "output"):
            told = model.node(node)
            bindings, tensors = (told.get(f"{mode}_{kind}_names") for kind in ("binding", "tensor"))
            own = [binding["name"] for binding in model.of(mode)]
            if not isinstance(bindings, list) or sorted(map(str, bindings)) != sorted(own):
                yield f"{node}: {mode}_binding_names is {bindings}, the engine's {mode}s are {own}"
            elif not isinstance(tensors, list) or len(tensors) != len(bindings):
                yield f"{node}: {mode}_tensor_names is {tensors}, which does not pair with {bindings}"
            elif len(set(map(str, tensors))) < len(tensors):
                yield f"{node}: a name in {mode}_tensor_names is used twice: {tensors}"


def engine_update(model: Model) -> Iterator[str]:
    """Find a node that would build its own engine."""
    value = model.node("tensor_rt").get("force_engine_update", TENSOR_RT["force_engine_update"].default)
    if model.parameters is not None and value is not False:
        yield f"tensor_rt: force_engine_update is {value}"


def workspace(model: Model) -> Iterator[str]:
    """Find a workspace as small as the default where the engine had more."""
    value = model.node("tensor_rt").get("max_workspace_size", _DEFAULT_WORKSPACE)
    if model.parameters is None or model.report is None or not isinstance(value, int):
        return
    wanted = workspace_bytes(model.report)
    if value <= _DEFAULT_WORKSPACE < wanted:
        yield f"tensor_rt: max_workspace_size is {value} bytes, the engine's builder had {wanted}"


def engine_path(model: Model) -> Iterator[str]:
    """Find a path that is not this engine's. Where the node sees another root, the last three parts must agree."""
    value = str(model.node("tensor_rt").get("engine_file_path", TENSOR_RT["engine_file_path"].default))
    expected = f"{model.directory.name}/1/model.plan"
    if model.parameters is not None and not value.endswith(f"/{expected}"):
        yield f"tensor_rt: engine_file_path is {value}, which does not end in {expected}"


def plugin(model: Model) -> Iterator[str]:
    """Find an engine whose plugins the node would not load. Where the node sees another root, the name must agree."""
    if model.parameters is None or model.report is None or not model.report["plugins"]:
        return
    value = str(model.node("tensor_rt").get("custom_plugin_lib", TENSOR_RT["custom_plugin_lib"].default))
    wanted = [PurePosixPath(file).name for file in model.report["plugins"]]
    if len(wanted) > 1 and not value:
        yield f"tensor_rt: custom_plugin_lib is not set, the engine was built with {', '.join(wanted)}"
    elif len(wanted) == 1 and PurePosixPath(value).name != wanted[0]:
        yield f"tensor_rt: custom_plugin_lib is {value or 'not set'}, the engine was built with {wanted[0]}"


def fp16(model: Model) -> Iterator[str]:
    """Find the switch that changed its meaning."""
    if model.node("tensor_rt").get("enable_fp16") is True:
        yield "tensor_rt: enable_fp16 is true"


def parameter(model: Model) -> Iterator[str]:
    """Find parameters that a node does not declare, or not of this type."""
    for node, declared in _NODES.items():
        for name, value in model.node(node).items():
            if name not in declared:
                yield f"{node}: {name} is no parameter of the node"
            elif not _fits(value, declared[name].default):
                kind = type(declared[name].default).__name__
                yield f"{node}: {name} is {value!r}, the node declares it as {kind}"


def _fits(value: Any, default: Any) -> bool:
    return type(value) is type(default)


def batch(model: Model) -> Iterator[str]:
    """Compare TritonNode's batch with Triton's."""
    if model.parameters is None or model.config is None:
        return
    told: Mapping[str, Any] = model.node("triton")
    value = told.get("max_batch_size", TRITON["max_batch_size"].default)
    if value != model.batches():
        yield f"triton: max_batch_size is {value}, config.pbtxt says {model.batches()}"
