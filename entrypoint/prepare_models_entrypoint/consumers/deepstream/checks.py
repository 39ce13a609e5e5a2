"""What DeepStream's nvinfer needs."""

from __future__ import annotations

from typing import Iterator

from ..model_files import Model
from .files import OUTPUT_TYPES, image_input


def output_type(model: Model) -> Iterator[str]:
    """Find outputs of types that nvinfer's layers don't have."""
    for binding in model.of("output"):
        if binding["dtype"] not in OUTPUT_TYPES:
            yield f"output {binding['name']!r} is {binding['dtype']}"


def image(model: Model) -> Iterator[str]:
    """Find engines that nvinfer can't feed."""
    if model.report is not None and image_input(model.io) is None:
        told = ", ".join(f"{binding['name']} {binding['dtype']} {binding['shape']}" for binding in model.of("input"))
        yield f"the inputs are {told or 'none'}"
