"""What rules look at: an engine's bindings and the files beside it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Sequence

from ..contract.report import Binding, ModelReport
from .triton import pbtxt


@dataclass(frozen=True)
class Model:
    """One model directory, or an engine that has none yet.

    report: of the engine; None where no record of this very engine is there.
    parameters: of isaac_ros.yaml, by node. config: of config.pbtxt. Each is None where the file is missing.
    versions: names of the version directories with the files in them.
    nvinfer: whether there is a deepstream.txt.
    """

    directory: Path
    report: Optional[ModelReport]
    parameters: Optional[Mapping[str, Mapping[str, Any]]] = None
    config: Optional[Mapping[str, Any]] = None
    versions: Mapping[str, Sequence[str]] = field(default_factory=dict)
    nvinfer: bool = False

    @property
    def io(self) -> List[Binding]:
        """Return the bindings, none where they are not known."""
        return self.report["io"] if self.report else []

    def of(self, mode: str) -> List[Binding]:
        """Return the inputs or the outputs."""
        return [binding for binding in self.io if binding["mode"] == mode]

    def node(self, name: str) -> Mapping[str, Any]:
        """Return the parameters of a node, none where the file or the node is missing."""
        return (self.parameters or {}).get(name, {})

    def tensors(self) -> Dict[str, Mapping[str, Any]]:
        """Return what config.pbtxt says of each tensor, by name."""
        found = [tensor for key in ("input", "output") for tensor in pbtxt.messages(self.config or {}, key)]
        return {str(pbtxt.first(tensor, "name", "")): tensor for tensor in found}

    def batches(self) -> int:
        """Return the max_batch_size of config.pbtxt."""
        value = pbtxt.first(self.config or {}, "max_batch_size", 0)
        return value if isinstance(value, int) else 0
