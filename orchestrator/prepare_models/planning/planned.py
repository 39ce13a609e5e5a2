"""What will be done for a model, and why one is left out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import field
from pathlib import Path

from prepare_models_entrypoint.contract.identity import Change
from prepare_models_entrypoint.contract.report import ModelReport
from prepare_models_entrypoint.contract.values import Value

from ..manifest.model import ModelSpec

BUILD = "build"
REBUILD = "rebuild"
RESTORE = "restore"
UP_TO_DATE = "up-to-date"


class PlannedModel(Value):
    """One model: what will be done with it, and why.

    action: ``build`` (there is no engine yet), ``rebuild``, ``restore`` (from the store, or only the files next to the
    engine) or ``up-to-date``. record: report of an existing engine that stays. changes: why it needs another engine.
    turn: name under which one process at a time builds it: its build key, or a placeholder until that is known
    (``turn_is_key``).
    """

    spec: ModelSpec
    output_dir: Path
    action: str
    reason: str
    record: ModelReport | None = None
    changes: Sequence[Change] = field(default_factory=tuple)
    turn: str = ""
    turn_is_key: bool = True

    def told(self) -> str:
        """Return the decision as a sentence: ``up-to-date``, or ``rebuild because: ...``."""
        return decision(self.action, self.reason)


def decision(action: str, reason: str) -> str:
    """Return what will be done, and why, as a sentence."""
    return action if action == UP_TO_DATE else f"{action} because: {reason}"


ELSEWHERE = "target-elsewhere"


def why_elsewhere(spec: ModelSpec) -> str:
    """Return why a model is left out."""
    return f"{spec.device} is not the device class that engines are built for here"
