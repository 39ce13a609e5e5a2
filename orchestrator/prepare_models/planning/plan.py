"""What a run would do, as a document: the actions, the converters, and known faults of the TensorRT here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from prepare_models_entrypoint.contract.environment import RuntimeInfo
from prepare_models_entrypoint.contract.error_codes import ERRORS
from prepare_models_entrypoint.contract.identity import Change, converter_of
from prepare_models_entrypoint.contract.report import WarningInfo
from prepare_models_entrypoint.contract.values import Value

from ..executors.executor import Executor
from ..manifest.model import ModelSpec
from ..store.local import open_store
from ..support import paths
from ..support.file_digests import open_digests
from ..support.page import Message
from . import disk_budget, foresight
from .disk_budget import Disk
from .planned import ELSEWHERE, PlannedModel, decision, why_elsewhere
from .planner import Planner


class Foreseen(WarningInfo):
    """Something that a run would refuse or warn about. ``kind``: error or warning."""

    kind: str


class ModelPlan(Value):
    """What would be done for one model.

    action: ``build``, ``rebuild``, ``restore`` or ``up-to-date``. reason: why, in words; changes: the same as data.
    converter: None if none is suitable; ``converter_reason`` says why.
    problems: what a run would refuse or warn about, as far as known now.
    """

    name: str
    action: str
    reason: str
    changes: Sequence[Change]
    converter: str | None
    converter_reason: str
    problems: Sequence[Foreseen] = ()

    def told(self) -> str:
        """Return the decision as a sentence: ``up-to-date``, or ``rebuild because: ...``."""
        return decision(self.action, self.reason)


class Plan(Value):
    """What a run would do. ``runtime``: backend and GPU that it would build with. ``disks``: the room that it takes."""

    executor: str
    runtime: RuntimeInfo
    models: Sequence[ModelPlan]
    warnings: Sequence[WarningInfo]
    disks: Sequence[Disk] = ()

    def to_dict(self) -> dict[str, object]:
        """Return the JSON form."""
        models = [
            {**vars(model), "changes": list(model.changes), "problems": list(model.problems)} for model in self.models
        ]
        disks = [vars(disk) for disk in self.disks]
        return {**vars(self), "models": models, "warnings": list(self.warnings), "disks": disks}


def make(
    specs: Sequence[ModelSpec],
    executor: Executor,
    models_dir: Path,
    *,
    force: bool,
    elsewhere: Sequence[ModelSpec] = (),
) -> Plan:
    """Return what a run of these models would do. Changes nothing except remembered digests of files.

    ``elsewhere``: models for targets that are not built here.
    """
    found, runtimes = planned(specs, executor, models_dir, force=force)
    of_models = foresight.of_models(found)
    messages = [
        each
        for device, runtime in runtimes.items()
        for each in foresight.of_run([model for model in found if model.spec.device == device], runtime)
    ]
    warnings = [each.info() for each in dict.fromkeys(messages)]
    warnings += [
        WarningInfo(code=ELSEWHERE, message=f"{spec.label}: {why_elsewhere(spec)}", hint=ERRORS[ELSEWHERE].advice)
        for spec in elsewhere
    ]
    models = tuple(_model(model, runtimes[model.spec.device], of_models) for model in found)
    disks = disk_budget.of_run(found, open_digests()) if executor.builds_here else ()
    return Plan(executor.name, next(iter(runtimes.values())), models, tuple(warnings), disks)


def planned(
    specs: Sequence[ModelSpec], executor: Executor, models_dir: Path, *, force: bool = False
) -> tuple[list[PlannedModel], Mapping[str, RuntimeInfo]]:
    """Return what would be done for each model, and the runtimes that would do it, by device class."""
    directory = paths.refuse_file(models_dir, paths.MODELS)
    digests = open_digests()
    store, runtimes = open_store(digests), {name: each.describe() for name, each in executor.by_device(specs).items()}
    plans = {device: Planner(directory, runtime, store, digests, force) for device, runtime in runtimes.items()}
    found = [plans[spec.device].plan(spec) for spec in specs]
    digests.save()
    return found, runtimes


def _model(model: PlannedModel, runtime: RuntimeInfo, foreseen: Sequence[Message]) -> ModelPlan:
    choice, name = converter_of(model.spec.job(Path()), runtime), model.spec.label
    problems = tuple(Foreseen(kind=each.kind, **each.info()) for each in foreseen if each.about == name)
    return ModelPlan(name, model.action, model.reason, tuple(model.changes), choice.converter, choice.reason, problems)
