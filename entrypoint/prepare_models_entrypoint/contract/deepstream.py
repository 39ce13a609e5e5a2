"""What DeepStream's nvinfer needs beyond a model's engine: classes, preprocessing, the parser of its outputs."""

from __future__ import annotations

import re
from typing import Any, Dict, Mapping, Tuple

from .codec import ContractError
from .kinds import ByName, ListOf, Text
from .names import is_printable
from .settings import Record, setting

# Keys that follow from the engine, so no setting may give them.
FROM_ENGINE = ("model-engine-file", "batch-size", "network-mode", "output-blob-names", "labelfile-path")
_KEY = r"[a-z0-9-]+"


class _Value(Text):
    """A value in a key file: one line of text, a number or a Boolean."""

    def decode(self, raw: object, what: str) -> str:
        text = str(raw).lower() if isinstance(raw, bool) else str(raw)
        if not isinstance(raw, (str, int, float)) or not is_printable(text):
            raise ContractError(f"{what}: expected {self.expected}")
        return text

    def schema(self) -> Dict[str, Any]:
        return {"type": ["string", "number", "boolean"]}


class _Keys(ByName):
    """Keys of a group in nvinfer's file."""

    def decode(self, raw: object, what: str) -> Dict[str, object]:
        found = super().decode(raw, what)
        for name in found:
            if name in FROM_ENGINE:
                raise ContractError(f"{what}.{name}: it is written from the engine, or from labels")
            if not re.fullmatch(_KEY, name):
                raise ContractError(f"{what}.{name}: expected a key of nvinfer, such as net-scale-factor")
        return found


_VALUE = _Value("a number or one line of text")


class DeepStreamConfig(Record):
    """Lines of ``deepstream.txt`` and its label file; nothing here changes an engine."""

    labels: Tuple[str, ...] = setting(
        ListOf(Text("names of classes"), "a list of names"),
        "class names, which go into a file next to the engine",
        ["Person", "Bag", "Face"],
        default=(),
    )
    properties: Mapping[str, str] = setting(
        _Keys(_VALUE, "keys of nvinfer with values"),
        "keys of `[property]`: preprocessing, network-type, the function that parses outputs and its library",
        {"net-scale-factor": 0.00392156, "network-type": 0, "num-detected-classes": 3},
        default=dict,
    )
    classes: Mapping[str, str] = setting(
        _Keys(_VALUE, "keys of nvinfer with values"),
        "keys of `[class-attrs-all]`: thresholds",
        {"pre-cluster-threshold": 0.4},
        default=dict,
    )

    def info(self) -> Dict[str, Any]:
        """Return the form that reports have; empty if nothing is set."""
        given = {"labels": list(self.labels), "properties": dict(self.properties), "classes": dict(self.classes)}
        return {key: value for key, value in given.items() if value}
