"""What Triton's core checks in any configuration before a backend sees it.

Follows triton-inference-server/core at 73aad7c: src/model_config_utils.cc, AutoCompleteBackendFields,
ValidateModelConfig, ValidateIOShape, ValidateInstanceGroup and ValidateBatchIO; and VersionsToLoad.
"""

from __future__ import annotations

import math
import re
from typing import Iterator, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from .tensors import UNSET, Shape, Tensor, configured
from .text_format import Message, first, mapping, messages

Finding = Tuple[str, str]

ENSEMBLE, TENSORRT = "ensemble", "tensorrt"
_NUMBER = r"\s*([+-]?[0-9]{1,18})(?![0-9])"
_OTHERS = ("warmup", "initial_state", "configs")


class Backend(NamedTuple):
    """A backend that the core knows: its name, platforms (the first is the default) and file name."""

    name: str
    platforms: Tuple[str, ...]
    file: str


# In the order in which the core tries them; a backend without platforms accepts any.
BACKENDS = (
    Backend("tensorflow", ("tensorflow_savedmodel",), "model.savedmodel"),
    Backend("tensorflow", ("tensorflow_graphdef",), "model.graphdef"),
    Backend(TENSORRT, ("tensorrt_plan",), "model.plan"),
    Backend("onnxruntime", ("onnxruntime_onnx",), "model.onnx"),
    Backend("openvino", (), "model.xml"),
    Backend("pytorch", ("pytorch_libtorch", "libtorch"), "model.pt"),
    Backend("pytorch", ("torch_aoti",), "model.pt2"),
    Backend("python", (), "model.py"),
)
_CONTROL_KINDS = ("CONTROL_SEQUENCE_START", "CONTROL_SEQUENCE_END", "CONTROL_SEQUENCE_READY")
CORRELATION = "CONTROL_SEQUENCE_CORRID"
_CORRELATION_TYPES = ("TYPE_UINT64", "TYPE_INT64", "TYPE_UINT32", "TYPE_INT32", "TYPE_STRING")
CONTROL_VALUES = {"int32_false_true": "TYPE_INT32", "fp32_false_true": "TYPE_FP32", "bool_false_true": "TYPE_BOOL"}
_STRATEGY = "TRITON_BATCH_STRATEGY_PATH"


def backend_of(config: Message, name: str, files: Sequence[str]) -> str:
    """Return the backend of a model, ``ensemble``, or an empty text if the core finds none.

    ``name``: name of the model's directory. ``files``: names in its first version directory.
    """
    platform, backend, file = (str(first(config, key, "")) for key in ("platform", "backend", "default_model_filename"))
    if platform == ENSEMBLE or backend:
        return backend or ENSEMBLE
    for known in BACKENDS:
        if platform in known.platforms or file == known.file or (not (platform or file) and known.file in files):
            return known.name
    bare = not platform and not file and "." in name
    return name.partition(".")[2] if bare else ""


def default_file(config: Message, backend: str) -> str:
    """Return the name of the file that a backend loads by default; empty for an unknown backend."""
    platform = str(first(config, "platform", ""))
    known = [each for each in BACKENDS if each.name == backend]
    matching = [each for each in known if platform in each.platforms] or known
    return str(first(config, "default_model_filename", matching[0].file if matching else ""))


def judge(config: Message, name: str, backend: str) -> Iterator[Finding]:
    """Yield what the core refuses, whatever the backend. ``name``: name of the model's directory."""
    given = first(config, "name", "")
    if given and given != name:
        yield "triton-config", f"config.pbtxt names the model {given!r}, its directory is {name!r}"
    yield from _platform(config, backend)
    if first(config, "max_batch_size", 0) < 0:
        yield "triton-batching", f"max_batch_size is {first(config, 'max_batch_size', 0)}"
    yield from _instances(config, backend)
    yield from _dynamic(config)
    yield from _sequence(config)
    yield from _batch_io(config)
    yield from _others(config, backend)


def _platform(config: Message, backend: str) -> Iterator[Finding]:
    platform = str(first(config, "platform", ""))
    if backend == ENSEMBLE:
        if first(config, "backend", ""):
            yield "triton-config", "an ensemble has no backend, and config.pbtxt names one"
        return
    known = [each for each in BACKENDS if each.name == backend and each.platforms]
    if not backend:
        yield "triton-config", f"no backend serves the platform {platform!r}"
    elif platform and known and not any(platform in each.platforms for each in known):
        yield "triton-config", f"config.pbtxt has the platform {platform!r} and the backend {backend!r}"


def _instances(config: Message, backend: str) -> Iterator[Finding]:
    for group in messages(config, "instance_group"):
        kind = str(first(group, "kind", "KIND_AUTO"))
        if kind in ("KIND_CPU", "KIND_MODEL") and group.get("gpus"):
            yield "triton-instance", f"an instance_group of {kind} names GPUs"
        elif any(number < 0 for number in group.get("gpus", ())):
            yield "triton-instance", f"an instance_group names the GPUs {group['gpus']}; they count from 0"
        spread = kind == "KIND_MODEL" and devices(config) is not None
        if backend == TENSORRT and kind not in ("KIND_AUTO", "KIND_GPU") and not spread:
            yield "triton-instance", f"an instance_group is {kind}, and the TensorRT backend runs only on GPUs"
        if backend != TENSORRT and group.get("profile"):
            yield "triton-instance", f"an instance_group names profiles, which {backend} does not have"


def devices(config: Message) -> Optional[List[Optional[int]]]:
    """Return the GPUs over which one instance is spread, None for what is no number; None if it has one GPU."""
    parameters = mapping(config, "parameters")
    enabled, gpus = (
        first(parameters.get(key) or {}, "string_value", "") for key in ("enable_multi_device", "multi_device_gpus")
    )
    if enabled.lower() not in ("true", "1"):
        return None
    return [leading_number(number) for number in gpus.split(",") if number.strip()]


def _others(config: Message, backend: str) -> Iterator[Finding]:
    if backend != ENSEMBLE and config.get("ensemble_scheduling"):
        yield "triton-config", f"ensemble_scheduling needs platform: {ENSEMBLE!r}, and the backend is {backend!r}"
    if decoupled(config) and _cached(config):
        yield "triton-config", "a decoupled model allows no response_cache"
    for control in messages(config, "model_metrics", "metric_control"):
        named = any(first(each, "family", "") for each in messages(control, "metric_identifier"))
        if not named or not any(each.get("buckets") for each in messages(control, "histogram_options")):
            yield "triton-config", "a metric_control needs the family of its metric_identifier, and buckets"


def decoupled(config: Message) -> bool:
    """Return whether a model may answer a request several times."""
    return any(first(each, "decoupled", default=False) for each in messages(config, "model_transaction_policy"))


def _cached(config: Message) -> bool:
    return any(first(cache, "enable", default=False) for cache in messages(config, "response_cache"))


def _dynamic(config: Message) -> Iterator[Finding]:
    largest = first(config, "max_batch_size", 0)
    for batcher in messages(config, "dynamic_batching"):
        yield from _preferred(batcher, largest)
        yield from _priorities(batcher)
    for oldest in messages(config, "sequence_batching", "oldest"):
        yield from _preferred(oldest, largest)


def _preferred(batcher: Message, largest: int) -> Iterator[Finding]:
    sizes = batcher.get("preferred_batch_size", [])
    if any(not 0 < size <= largest for size in sizes):
        yield "triton-batching", f"preferred_batch_size is {sizes}, max_batch_size {largest}"


def _priorities(batcher: Message) -> Iterator[Finding]:
    levels, default = first(batcher, "priority_levels", 0), first(batcher, "default_priority_level", 0)
    policies = mapping(batcher, "priority_queue_policy")
    if levels and not 0 < default <= levels:
        yield "triton-batching", f"default_priority_level is {default}, priority_levels {levels}"
    if levels and any(not 0 < level <= levels for level in policies):
        yield "triton-batching", f"priority_queue_policy has the levels {sorted(policies)}, priority_levels is {levels}"
    if not first(batcher, "preserve_ordering", default=False):
        return
    if levels > 1:
        yield "triton-batching", "preserve_ordering allows one priority level"
    waiting = [*messages(batcher, "default_queue_policy"), *policies.values()]
    delayed = [each for each in waiting if each and first(each, "default_timeout_microseconds", 0)]
    if any(first(policy, "timeout_action", "") == "DELAY" for policy in delayed):
        yield "triton-batching", "preserve_ordering allows no queue policy that delays"


def _sequence(config: Message) -> Iterator[Finding]:
    for batcher in messages(config, "sequence_batching"):
        if _cached(config):
            yield "triton-sequence", "sequence batching allows no response_cache"
        if _STRATEGY in mapping(config, "parameters"):
            yield "triton-sequence", f"sequence batching allows no {_STRATEGY}"
        tensors = messages(batcher, "control_input")
        names = [first(tensor, "name", "") for tensor in tensors]
        if "" in names or len(set(names)) < len(names):
            yield "triton-sequence", f"control inputs need different names, config.pbtxt has {names}"
        for kind in (*_CONTROL_KINDS, CORRELATION):
            yield from _control(kind, [c for tensor in tensors for c in messages(tensor, "control")])
        for direct in messages(batcher, "direct"):
            if not 0 <= first(direct, "minimum_slot_utilization", 0.0) <= 1:
                yield "triton-sequence", "minimum_slot_utilization is not from 0 to 1"


def _control(kind: str, controls: Sequence[Message]) -> Iterator[Finding]:
    own = [control for control in controls if first(control, "kind", _CONTROL_KINDS[0]) == kind]
    if len(own) > 1:
        yield "triton-sequence", f"several tensors are {kind}"
    for control in own:
        values = {key: control[key] for key in CONTROL_VALUES if control.get(key)}
        if kind != CORRELATION and [len(each) for each in values.values()] != [2]:
            yield "triton-sequence", f"{kind} needs two values of one of {', '.join(CONTROL_VALUES)}"
        if kind == CORRELATION and (values or first(control, "data_type", "") not in _CORRELATION_TYPES):
            yield "triton-sequence", f"{kind} needs a data_type of {', '.join(_CORRELATION_TYPES)}"


def _batch_io(config: Message) -> Iterator[Finding]:
    known = {mode: {tensor.name for tensor in configured(config, mode)} for mode in ("input", "output")}
    for key in ("batch_input", "batch_output"):
        for batch in messages(config, key):
            sources, targets = batch.get("source_input", []), batch.get("target_name", [])
            unknown = [name for name in sources if name not in known["input"]]
            if key == "batch_output":
                unknown += [name for name in targets if name not in known["output"]]
            if len(sources) != 1 or unknown or (key == "batch_output" and len(set(targets)) < len(targets)):
                yield (
                    "triton-tensors",
                    f"{key} of {targets} has the sources {sources}; it takes one input that is listed",
                )
            if isinstance(first(batch, "kind", ""), int):  # a number without a name
                yield "triton-config", f"{key} of {targets} has a kind that Triton does not know"
            if key == "batch_input" and first(batch, "data_type", UNSET) not in ("TYPE_INT32", "TYPE_FP32"):
                yield "triton-type", f"{key} of {targets} is neither TYPE_INT32 nor TYPE_FP32"


def of_shape(tensor: Tensor, *, batching: bool, tensorrt: bool = False) -> Iterator[Finding]:
    """Yield what is wrong with one input or output after auto-complete. ``tensorrt``: whether TensorRT runs it."""
    where = f"{tensor.mode} {tensor.name!r}"
    if not tensor.name:
        yield "triton-tensors", f"an {tensor.mode} has no name"
    if tensor.data_type == UNSET:
        yield "triton-type", f"{where} has no data_type"
    problem = _shape_problem(tensor)
    if tensor.reshape == () and not batching:
        yield "triton-scalar", f"{where} is a scalar"
    elif problem is not None:
        yield "triton-dims", f"{where} {problem}"
    if tensor.layout != "FORMAT_NONE" and len(tensor.dims) != 3:
        yield "triton-dims", f"{where} is {tensor.layout}, which takes three dims, and has {list(tensor.dims)}"
    if not tensorrt and (tensor.is_shape or tensor.nonlinear):
        yield "triton-dims", f"{where} is a shape tensor or of a non-linear format, which only TensorRT engines have"
    elif tensor.nonlinear and len(tensor.dims) != 3:
        yield "triton-dims", f"{where} is of a non-linear format, which takes three dims, and has {list(tensor.dims)}"


def _shape_problem(tensor: Tensor) -> Optional[str]:
    dims, reshape = tensor.dims, tensor.reshape
    if not dims:
        return "has no dims"
    if any(size < 1 and size != -1 for size in (*dims, *(reshape or ()))):
        return f"has the dims {list(dims)}; they are 1 or more, or -1"
    if reshape is None:
        return None
    if not reshape:
        one = -1 not in dims and math.prod(dims) == 1
        return None if one else f"has the dims {list(dims)}, and its reshape has one element"
    return None if _trunks(dims) == _trunks(reshape) else f"has the dims {list(dims)} and the reshape {list(reshape)}"


def _trunks(dims: Shape) -> List[int]:
    """Return the numbers of elements between dynamic dimensions."""
    trunks = [1]
    for size in dims:
        if size == -1:
            trunks.append(1)
        else:
            trunks[-1] *= size
    return trunks


def label_files(config: Message) -> Mapping[str, str]:
    """Return the file with labels of each output that has one."""
    labels = {first(each, "name", ""): first(each, "label_filename", "") for each in messages(config, "output")}
    return {name: file for name, file in labels.items() if file}


def served(config: Message, folders: Sequence[str]) -> "Tuple[List[int], List[Finding]]":
    """Return the versions that the policy serves, and findings about it. A directory ``2.bak`` is version 2."""
    there = sorted({number for number in map(_number, folders) if number is not None}, reverse=True)
    wrong: List[Finding] = []
    given = _specific(config) or []
    absent = [version for version in given if version not in there]
    if absent:
        text = f"version_policy serves {given}, and there is no version {', '.join(map(str, absent))}"
        wrong.append(("triton-version", text))
    versions = _chosen(config, there)
    if not versions and not wrong:
        text = ", ".join(map(str, there)) or "none"
        wrong.append(("triton-version", f"the version policy serves no version; the directory has {text}"))
    return versions, wrong


def leading_number(text: str) -> Optional[int]:
    """Return the number at the beginning of a text, as C++'s stoll reads it; None if there is none in its range."""
    match = re.match(_NUMBER, text)
    return int(match[1]) if match else None


def _number(folder: str) -> Optional[int]:
    ignored = folder in _OTHERS or (len(folder) > 1 and folder[0] == "0")
    return None if ignored else leading_number(folder)


def _specific(config: Message) -> Optional[List[int]]:
    specific = messages(config, "version_policy", "specific")
    return list(specific[0].get("versions", ())) if specific else None


def _chosen(config: Message, there: Sequence[int]) -> List[int]:
    specific = _specific(config)
    if specific is not None:
        return [version for version in there if version in specific]
    for policy in messages(config, "version_policy"):
        if "all" in policy:
            return list(there)
        for latest in messages(policy, "latest"):
            return list(there[: first(latest, "num_versions", 0)])
        return list(there)
    return list(there[:1])
