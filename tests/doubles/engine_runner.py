"""A double of Polygraphy's TrtRunner, for machines without a GPU: what a model says, changed by a factor."""

from __future__ import annotations

import time
from collections import OrderedDict
from pathlib import Path
from typing import Any

import onnxruntime
from polygraphy.backend.base import BaseRunner
from polygraphy.common import TensorMetadata
from polygraphy.datatype import DataType


class EngineRunner(BaseRunner):  # type: ignore[misc]  # the library has no types
    """Runs an ONNX model where the real one runs an engine; Polygraphy's base class refuses calls out of order."""

    def __init__(self, model: Path, *, factor: float = 1.0) -> None:
        super().__init__(name="candidate", prefix="engine-double")
        self._model, self._factor = model, factor

    def activate_impl(self) -> None:
        self._session = onnxruntime.InferenceSession(str(self._model), providers=["CPUExecutionProvider"])

    def deactivate_impl(self) -> None:
        del self._session

    def get_input_metadata_impl(self) -> TensorMetadata:
        metadata = TensorMetadata()
        for value in self._session.get_inputs():
            metadata.add(value.name, dtype=DataType.from_dtype(value.type, "onnxruntime"), shape=value.shape)
        return metadata

    def infer_impl(self, feed_dict: dict[str, Any]) -> OrderedDict[str, Any]:
        started = time.perf_counter()
        results = self._session.run(None, feed_dict)
        self.inference_time = time.perf_counter() - started
        names = (value.name for value in self._session.get_outputs())
        return OrderedDict((name, result * self._factor) for name, result in zip(names, results, strict=True))
