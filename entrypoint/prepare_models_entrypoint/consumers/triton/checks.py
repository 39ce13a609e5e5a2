"""What Triton's tensorrt_plan backend needs of a model repository."""

from __future__ import annotations

from typing import Iterator, List

from ..model_files import Model
from .files import DTYPES, max_batch_size
from .pbtxt import first, messages

_PLAN = "model.plan"


def rtx(model: Model) -> Iterator[str]:
    """Find engines that no TensorRT loads."""
    engine = model.report["engine"] if model.report else None
    if engine and engine["header"].get("format") == "tensorrt_rtx":
        yield (
            f"a TensorRT-RTX {engine['header']['version']} plan loads in exactly that runtime, "
            "not in TensorRT, Triton's tensorrt backend or Isaac ROS' TensorRTNode"
        )


def foreign(model: Model) -> Iterator[str]:
    """Find directories that are no models."""
    if model.report is None and not model.versions:
        yield f"{model.directory} has no version directory and no report.json"


def record(model: Model) -> Iterator[str]:
    """Find engines of which nothing tells the bindings."""
    if model.report is None and any(_PLAN in files for files in model.versions.values()):
        yield f"{model.directory} has no report.json that was written with its engine"


def plan(model: Model) -> Iterator[str]:
    """Find models whose engine is missing."""
    told = first(model.config or {}, "default_model_filename", _PLAN)
    if _is_ours(model) and not any(told in files for files in model.versions.values()):
        yield f"no version directory of {model.directory} holds {told}"


def config(model: Model) -> Iterator[str]:
    """Find configurations that are not of this model."""
    if model.config is None:
        if model.versions:
            yield f"{model.directory} has no config.pbtxt that can be read"
        return
    name = first(model.config, "name", "")
    if name and name != model.directory.name:
        yield f"config.pbtxt is of {name!r}, its directory is {model.directory.name!r}"
    if model.report is not None and not _is_ours(model):
        yield f"config.pbtxt is for {_platform(model)}, and a plan needs tensorrt_plan"


def _platform(model: Model) -> str:
    told = model.config or {}
    return str(first(told, "platform", first(told, "backend", "tensorrt_plan")))


def _is_ours(model: Model) -> bool:
    """Tell whether Triton would load the model with TensorRT."""
    return bool(model.versions) and _platform(model) in ("tensorrt_plan", "tensorrt")


def tensors(model: Model) -> Iterator[str]:
    """Compare the lists of inputs and outputs."""
    if model.report is None or model.config is None:
        return
    for mode in ("input", "output"):
        told = [str(first(tensor, "name", "")) for tensor in messages(model.config, mode)]
        own = [binding["name"] for binding in model.of(mode)]
        if sorted(told) != sorted(own):
            yield f"config.pbtxt has the {mode}s {told}, the engine {own}"


def types(model: Model) -> Iterator[str]:
    """Compare types."""
    told = model.tensors()
    for binding in model.io:
        kind = first(told.get(binding["name"], {}), "data_type", None)
        if kind is not None and kind != DTYPES.get(binding["dtype"]):
            yield f"{binding['mode']} {binding['name']!r} is {binding['dtype']}, config.pbtxt says {kind}"


def dims(model: Model) -> Iterator[str]:
    """Compare shapes."""
    told, batch = model.tensors(), model.batches()
    for binding in model.io:
        tensor = told.get(binding["name"])
        if tensor is None:
            continue
        reshape = messages(tensor, "reshape")
        shape: List[int] = list(reshape[0].get("shape", ()) if reshape else tensor.get("dims", ()))
        whole = [-1, *shape] if batch else shape
        if whole != binding["shape"]:
            yield f"{binding['mode']} {binding['name']!r} is {binding['shape']}, config.pbtxt says {whole}"


def batching(model: Model) -> Iterator[str]:
    """Compare the batch with the profiles."""
    batch, possible = model.batches(), max_batch_size(model.io)
    if model.report is not None and batch > possible:
        yield f"max_batch_size is {batch}, the engine takes {possible or 'no batches'}"
