"""Where a model is built. Each module is one executor; the table is the only list of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from prepare_models_entrypoint.contract.event import Event
from prepare_models_entrypoint.contract.report import ModelReport, RuntimeInfo

from ..errors import HostError, UsageError
from ..locks import Held
from ..plan import PlannedModel

OnEvent = Callable[[Event], None]

NAMES = ("auto", "local", "docker")


@dataclass(frozen=True)
class Task:
    """One model to build.

    lock: held for the model's directory; its descriptor is to be kept open for as long as anything works on the model.
    timeout_s: seconds that the conversion may take.
    """

    planned: PlannedModel
    run_id: str
    lock: Held
    timeout_s: float | None
    on_event: OnEvent


class Executor(Protocol):
    """Runs the entrypoint on one model at a time; several threads may call ``run`` at once."""

    name: str

    def unavailable(self) -> str | None:
        """Say why this machine can't use the executor, or return None."""

    def fix(self) -> str:
        """Return the command that makes the executor available."""

    def describe(self) -> RuntimeInfo:
        """Return the backend and GPU that engines would be built with."""

    def run(self, task: Task) -> ModelReport:
        """Build one model."""

    def inspect(self, file: Path, key_file: Path | None) -> dict[str, object]:
        """Describe a model file."""

    def stop(self) -> None:
        """End whatever runs, from another thread."""


def pick(name: str) -> Executor:
    """Return the executor that the user wants, or the first one that works here.

    Raises:
        HostError: none works.
    """
    from .local import LocalExecutor

    if name not in NAMES:
        raise UsageError(f"unknown executor {name}", hint=f"one of {', '.join(NAMES)}")
    if name == "docker":
        raise HostError("the docker executor is not part of this version", hint="use --executor local")
    local = LocalExecutor()
    why_not = local.unavailable()
    if why_not is not None:
        raise HostError(f"no TensorRT to build engines with: {why_not}", hint=f"run: {local.fix()}")
    return local
