"""prepare-models: from a manifest of pretrained networks to TensorRT engines for this machine.

``__all__`` lists the Python API, described in docs/python.md. It is loaded on first use.
"""

import os
import sys

# Nothing else is imported here, not even typing: a module in the current directory might be found first.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from prepare_models_entrypoint.contract.event import Event
    from prepare_models_entrypoint.contract.report import ErrorInfo, ModelReport, WarningInfo

    from .api import convert, inspect, lint, load, plan, provision, rollback, run
    from .errors import (
        BundleError,
        ContainerError,
        FarmError,
        HostError,
        InspectionError,
        InterruptedRunError,
        LockError,
        ManifestError,
        ModelsFailedError,
        PrepareModelsError,
        SharedStoreError,
        SignatureError,
        UsageError,
    )
    from .manifest.model import Manifest, ModelSpec
    from .options import ContainerOptions, FarmOptions, Sharing, Signatures
    from .planning.disk_budget import Disk
    from .planning.plan import ModelPlan, Plan
    from .provisioning.health import Health
    from .provisioning.status_document import Provisioned, Rollback
    from .reports.documents import Conversion, RunReport
    from .running.inspecting import Inspection, LintedModel, LintReport, Tensor
    from .running.progress import Observer
    from .running.selection import Bundle, Delivery

__version__ = "0.1.0"

__all__ = [
    "run", "convert", "plan", "provision", "rollback", "inspect", "lint", "load",
    "Manifest", "ModelSpec", "Bundle", "ContainerOptions", "Delivery", "FarmOptions", "Sharing", "Signatures",
    "RunReport", "Conversion", "ModelReport", "ErrorInfo", "WarningInfo", "Plan", "ModelPlan", "Disk",
    "Provisioned", "Rollback", "Health",
    "Inspection", "Tensor", "LintReport", "LintedModel",
    "Event", "Observer",
    "PrepareModelsError", "UsageError", "ManifestError", "HostError", "ContainerError", "FarmError",
    "InspectionError",
    "ModelsFailedError", "LockError", "BundleError", "SharedStoreError",
    "SignatureError", "InterruptedRunError",
]  # fmt: skip


# Modules searched for names, in this order; the API's own imports provide most of them.
_HOMES = (
    "prepare_models.errors", "prepare_models.api", "prepare_models.manifest.model", "prepare_models.planning.plan",
    "prepare_models.running.inspecting", "prepare_models_entrypoint.contract.report",
    "prepare_models.options", "prepare_models.planning.disk_budget", "prepare_models.provisioning.health",
    "prepare_models.provisioning.status_document",
)  # fmt: skip


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    found = (vars(module) for module in map(importlib.import_module, _HOMES))
    value: object = next(names[name] for names in found if name in names)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def _forget_current_directory() -> None:
    """Remove the current directory, which ``-m prepare_models`` put first, while Python looks for our ``__main__``."""
    named = (word for word in sys.orig_argv if word == __name__ or word.endswith(f"m{__name__}"))
    if sys.argv[:1] == ["-m"] and any(named):
        try:
            here = os.getcwd()
        except OSError:
            return
        if sys.path[:1] == [here]:
            del sys.path[0]


_forget_current_directory()
