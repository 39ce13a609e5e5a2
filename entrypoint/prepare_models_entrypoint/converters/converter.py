"""What a converter is: a module ``by_NAME`` of this package, with these functions."""

from __future__ import annotations

import importlib
from typing import Callable, Optional, Protocol, cast

from ..contract.builder import BuilderConfig
from ..contract.job import ModelJob
from .request import BuildRequest, BuildResult

Progress = Callable[[str, int, int], None]


class Converter(Protocol):
    """One way from a model file to an engine."""

    def convert(self, request: BuildRequest, result: BuildResult, progress: Progress) -> None:
        """Write ``request.plan``, and record in ``result`` what was found and done; for a check, build nothing.

        Args:
            request: what to build, from which file.
            result: receives bindings, profiles, warnings, proof of the precision, size in bytes and sha256 of the plan.
            progress: called with phase, steps done and number of steps (0 of 0: unknown).

        Raises:
            ConvertError: the engine can't be built as asked.
        """

    def takes(self, builder: BuilderConfig) -> bool:
        """Return whether this converter has an option for each setting."""

    def line(self, model: ModelJob, result: BuildResult) -> Optional[str]:
        """Return the command line that builds the same engine without this tool, or None if there is none."""


def load(name: str) -> Converter:
    """Return the converter with this name, such as tao-converter."""
    return cast("Converter", importlib.import_module(f"{__package__}.by_{name.replace('-', '_')}"))
