"""One way from a model to its engine, and the ways to try next, for any converter."""

from __future__ import annotations

import abc
import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Dict, Optional

from ..onnx_graph.calibration_cache import CalibrationCache
from .converter import Progress
from .ranges import Settled
from .request import BuildRequest, BuildResult

if TYPE_CHECKING:
    from typing_extensions import Self  # missing in Python 3.8

    from ..onnx_graph.rescue import Rescue


@dataclass
class Attempt(abc.ABC):
    """One way from the model to the engine.

    Args:
        settled: the request, with the settled precision.
        cache: scales for int8.
        progress: called at each step.
        needs: rewrites that the model needs to be buildable.
    """

    settled: Settled
    cache: Optional[CalibrationCache]
    progress: Progress
    needs: "Optional[Rescue]"

    @property
    @abc.abstractmethod
    def precision(self) -> str:
        """Return the precision to which the graph is rewritten; fp32 if the builder or the model decides."""

    @abc.abstractmethod
    def made(self, result: BuildResult) -> BuildResult:
        """Return the result with what was found and built.

        Raises:
            ConvertError: the backend refuses it. The error has the names of the nodes, if the backend reports them.
        """

    @abc.abstractmethod
    def tried_in_fp32(self) -> Self:
        """Return the attempt that shows whether the backend accepts the model without any change of precision."""

    @property
    def request(self) -> BuildRequest:
        """Return the request, with the settled precision."""
        return self.settled.request

    @property
    def requested(self) -> str:
        """Return the precision that the manifest names."""
        return self.settled.requested

    @property
    def sized(self) -> bool:
        """Return whether the manifest gives sizes."""
        model = self.request.model
        return bool(model.inputs or model.profiles or model.onnx.static_shapes)

    def rescued(self) -> Optional[Self]:
        """Return the attempt with rewrites that may make the model buildable, or None if there are none."""
        try:
            from ..onnx_graph import rescue
        except ImportError:
            return None
        needs = rescue.survey(Path(self.request.source), self.request.model)
        return dataclasses.replace(self, needs=needs) if needs else None

    def keeping(self, nodes: Dict[str, str]) -> Self:
        """Return the attempt with more nodes in fp32; ``nodes``: reasons by name."""
        return dataclasses.replace(self, settled=self.settled.keeping(nodes))

    def in_fp32(self) -> Self:
        """Return the attempt without any change of precision."""
        return dataclasses.replace(self, settled=self.settled.in_fp32())

    def unrunnable(self) -> Optional[str]:
        """Return why ONNX Runtime can't run the source model either; None if it can, or isn't installed."""
        try:
            from ..onnx_graph import equivalence
        except ImportError:
            return None
        return equivalence.runs(Path(self.request.source), self.request.model, Path(self.request.work_dir))
