"""What will be done for a model, and which models are built for which targets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from prepare_models_entrypoint.contract.error_codes import ERRORS
from prepare_models_entrypoint.contract.report import WarningInfo
from prepare_models_entrypoint.contract.values import Value

from ..errors import UsageError

if TYPE_CHECKING:
    from prepare_models_entrypoint.contract.identity import Change
    from prepare_models_entrypoint.contract.report import ModelReport

    from ..executors.executor import Executor
    from ..manifest.model import Manifest, ModelSpec

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


def split_targets(
    manifest: Manifest, specs: Sequence[ModelSpec], executor: Executor
) -> tuple[Sequence[ModelSpec], Sequence[ModelSpec]]:
    """Return the models, each once for each of its targets: those that are built here, and those for other devices.

    Raises:
        UsageError: none is built here. HostError: the executor should build for a target and can't.
    """
    if not manifest.targets:
        return specs, ()
    pairs = [
        replace(spec, target=name, device=manifest.targets[name])
        for spec in specs
        for name in spec.targets or manifest.targets
    ]
    served = executor.serves({spec.device for spec in pairs})
    here = [spec for spec in pairs if spec.device in served]
    if not here:
        wanted = ", ".join(f"{name} ({device})" for name, device in manifest.targets.items())
        raise UsageError(
            f"engines are built here for {', '.join(served)}, and the manifest's targets are {wanted}",
            hint="build on a machine of one of them, on a farm with --executor dask, or add this one under targets:",
        )
    return here, [spec for spec in pairs if spec.device not in served]


def why_elsewhere(spec: ModelSpec) -> str:
    """Return why a model is left out."""
    return f"{spec.device} is not the device class that engines are built for here"


def left_out(spec: ModelSpec) -> WarningInfo:
    """Return what a plan says of a model that is left out."""
    return WarningInfo(code=ELSEWHERE, message=f"{spec.label}: {why_elsewhere(spec)}", hint=ERRORS[ELSEWHERE].advice)
