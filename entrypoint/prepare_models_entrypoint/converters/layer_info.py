"""Precision of an engine's layers, from the layer information of trtexec or of the engine inspector."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Dict, Iterable, List, Mapping, Optional

from ..contract.report import Layer
from .precision import ORDER, Evidence

# Words in TensorRT's format descriptions, cheapest type first.
_WORDS = (("FP8", "fp8"), ("Int8", "int8"), ("INT8", "int8"), ("BF16", "bf16"), ("BFloat16", "bf16"), ("Half", "fp16"),
          ("FP16", "fp16"), ("Float", "fp32"), ("FP32", "fp32"))  # fmt: skip
_COMPUTE = ("conv", "gemm", "matmul", "matrix", "deconv", "caskconvolution", "fullyconnected", "kgen", "myelin")


class UnreadableError(ValueError):
    """Layer information that isn't JSON in any form that TensorRT is known to write."""


def parse(text: str) -> object:
    """Return layer information as JSON. TensorRT 8.6 writes control characters into strings, such as 0x1e in Metadata.

    Raises:
        UnreadableError: it can't be read, which is not the same as no layers.
    """
    try:
        return json.loads(text, strict=False)
    except ValueError as error:
        raise UnreadableError(f"the layer information can't be read: {error}") from None


def read(path: Path) -> Optional[Evidence]:
    """Return the evidence in a layer information file, or None if there is no file or it has no types.

    Raises:
        UnreadableError: the file is not layer information.
    """
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    return of_layers(parse(text))


def of_layers(document: object) -> Optional[Evidence]:
    """Return the number of compute layers by precision, or of all layers if kinds are not distinguished.

    A layer counts as what its first input is: an int8 convolution may write its output in fp16.
    """
    layers = document.get("Layers") if isinstance(document, dict) else None
    if not isinstance(layers, list):
        return None
    detailed = [layer for layer in layers if isinstance(layer, dict)]
    kinds = [f"{layer.get('LayerType', '')} {layer.get('ParameterType', '')}".lower() for layer in detailed]
    compute = [layer for layer, kind in zip(detailed, kinds) if any(word in kind for word in _COMPUTE)]
    counted: Dict[str, int] = {}
    for layer in compute or detailed:
        name = _precision(layer)
        if name is not None:
            counted[name] = counted.get(name, 0) + 1
    return Evidence("engine", {name: counted[name] for name in ORDER if name in counted}) if counted else None


def layers(document: object) -> List[Layer]:
    """Return the layers in an inspector's answer; only their names if the engine kept no more."""
    found = document.get("Layers") if isinstance(document, dict) else None
    return [_layer(layer) for layer in _listed(found)]


def _listed(value: object) -> Iterable[object]:
    return value if isinstance(value, list) else ()


def _layer(layer: object) -> Layer:
    if not isinstance(layer, dict):
        return Layer(name=str(layer), type="unknown", precision=None, outputs=[])
    outputs = [str(tensor.get("Name")) for tensor in _listed(layer.get("Outputs")) if isinstance(tensor, dict)]
    return Layer(
        name=str(layer.get("Name", "")),
        type=str(layer.get("LayerType", "unknown")),
        precision=_precision(layer),
        outputs=outputs,
    )


def _precision(layer: Mapping[str, object]) -> Optional[str]:
    for side in ("Inputs", "Outputs"):
        for tensor in _listed(layer.get(side)):
            if not isinstance(tensor, dict):
                continue
            text = f"{tensor.get('Format/Datatype', '')} {tensor.get('Datatype', '')} {tensor.get('Format', '')}"
            for word, name in _WORDS:
                if word in text:
                    return name
    return None
