"""deepstream.txt: the lines of an nvinfer configuration that follow from an engine's bindings."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Dict, List, Mapping, Optional, Sequence, Tuple

from ...contract.companions import LABELS
from ...contract.deployment import DeepStreamConfig
from ...contract.report import Binding, ModelReport

NCHW, NHWC = 0, 1
_MODES = {"fp32": 0, "int8": 1, "fp16": 2}
OUTPUT_TYPES = ("float32", "float16", "int8", "int32")


def image_input(bindings: Sequence[Binding]) -> Optional[Tuple[Binding, int, int]]:
    """Return the input that nvinfer can fill, its order (0 NCHW, 1 NHWC) and its channels; None if there is none.

    nvinfer fills one image of type float32 with 1 or 3 channels.
    """
    inputs = [binding for binding in bindings if binding["mode"] == "input"]
    if len(inputs) != 1 or len(inputs[0]["shape"]) != 4 or inputs[0]["dtype"] != "float32":
        return None
    _, first, _, last = inputs[0]["shape"]
    if first in (1, 3):
        return inputs[0], NCHW, first
    return (inputs[0], NHWC, last) if last in (1, 3) else None


def config(report: ModelReport, deploy_dir: str) -> Optional[str]:
    """Return the configuration, or None for an engine that nvinfer can't feed."""
    found = image_input(report["io"])
    outputs = [binding["name"] for binding in report["io"] if binding["mode"] == "output"]
    if found is None or not deploy_dir.isprintable() or not all(map(_is_expressible, outputs)):
        return None
    binding, order, channels = found
    asked = DeepStreamConfig.from_dict(report["deployment"].get("deepstream", {}))
    keys = {
        "gpu-id": "0",
        "gie-unique-id": "1",
        "model-engine-file": str(PurePosixPath(deploy_dir) / "1" / "model.plan"),
        "batch-size": str(largest_batch(binding)),
        "network-mode": str(_MODES.get(report["precision_proof"]["delivered"] or "fp32", 0)),
        **({} if "network-type" in asked.properties else {"network-type": "100", "output-tensor-meta": "1"}),
        "network-input-order": str(order),
        "model-color-format": "2" if channels == 1 else "0",
        **_infer_dims(binding, order),
        "output-blob-names": ";".join(outputs),
        **({"labelfile-path": LABELS} if asked.labels else {}),
        **asked.properties,
    }
    return _HEAD + _group("property", keys) + (_group("class-attrs-all", asked.classes) if asked.classes else "")


_HEAD = """\
# nvinfer configuration, from the bindings of the engine and the manifest's deepstream:.
# An engine does not describe its preprocessing: factor, offsets and parser come from the model's publisher.
"""


def _group(name: str, keys: Mapping[str, str]) -> str:
    return f"[{name}]\n" + "".join(f"{key}={value}\n" for key, value in keys.items())


def labels(report: ModelReport) -> Optional[str]:
    """Return the label file, or None if no classes are named. nvinfer reads a classifier's labels from one line."""
    asked = DeepStreamConfig.from_dict(report["deployment"].get("deepstream", {}))
    if not asked.labels:
        return None
    return (";" if asked.properties.get("network-type") == "1" else "\n").join(asked.labels) + "\n"


def _is_expressible(name: str) -> bool:
    """Return whether a name may appear in a list of the file: no separator, escape or line break."""
    return name.isprintable() and name == name.strip() and not set(name) & {";", "\\"}


def _infer_dims(binding: Binding, order: int) -> Dict[str, str]:
    """Return channels, height and width for an engine with dynamic ones: those that it is fastest for."""
    if -1 not in binding["shape"][1:] or not binding["profiles"]:
        return {}
    _, first, second, third = binding["profiles"][0]["opt"]
    dims = (first, second, third) if order == NCHW else (third, first, second)
    return {"infer-dims": ";".join(map(str, dims))}


def largest_batch(binding: Binding) -> int:
    """Return the largest batch that an input accepts."""
    largest: List[int] = [profile["max"][0] for profile in binding["profiles"]]
    return max(largest, default=1) if binding["shape"][0] == -1 else binding["shape"][0]
