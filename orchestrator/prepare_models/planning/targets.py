"""Which models are built for which targets, and which of these are not built here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from prepare_models_entrypoint.contract.error_codes import ERRORS
from prepare_models_entrypoint.contract.report import WarningInfo

from ..errors import UsageError
from ..executors.executor import Executor
from ..manifest.model import Manifest, ModelSpec

ELSEWHERE = "target-elsewhere"


def split(
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


def elsewhere(spec: ModelSpec) -> str:
    """Return why a model is left out."""
    return f"{spec.device} is not the device class that engines are built for here"


def left_out(spec: ModelSpec) -> WarningInfo:
    """Return what a plan says of a model that is left out."""
    return WarningInfo(code=ELSEWHERE, message=f"{spec.label}: {elsewhere(spec)}", hint=ERRORS[ELSEWHERE].advice)
