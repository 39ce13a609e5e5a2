"""deepstream.txt: the lines of a DeepStream nvinfer configuration that follow from an engine's bindings."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import List, Optional, Sequence, Tuple

from ...contract.report import Binding, ModelReport

NCHW, NHWC = 0, 1
_MODES = {"fp32": 0, "int8": 1, "fp16": 2}
OUTPUT_TYPES = ("float32", "float16", "int8", "int32")


def image_input(bindings: Sequence[Binding]) -> Optional[Tuple[Binding, int, int]]:
    """Return the input that nvinfer can fill, its order (0 NCHW, 1 NHWC) and its channels; None where there is none.

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
    if found is None or any(";" in name for name in outputs):
        return None
    binding, order, channels = found
    lines = [
        f"# nvinfer configuration of {report['name']}, from the bindings of the engine.",
        "# No engine tells its preprocessing: add net-scale-factor, offsets and the parser of your model.",
        "[property]",
        "gpu-id=0",
        "gie-unique-id=1",
        f"model-engine-file={PurePosixPath(deploy_dir) / '1' / 'model.plan'}",
        f"batch-size={_batch(binding)}",
        f"network-mode={_MODES.get(report['precision_proof']['delivered'] or 'fp32', 0)}",
        "network-type=100",
        "output-tensor-meta=1",
        f"network-input-order={order}",
        f"model-color-format={2 if channels == 1 else 0}",
        f"output-blob-names={';'.join(outputs)}",
    ]
    return "\n".join(lines) + "\n"


def _batch(binding: Binding) -> int:
    largest: List[int] = [profile["max"][0] for profile in binding["profiles"]]
    return max(largest, default=1) if binding["shape"][0] == -1 else binding["shape"][0]
