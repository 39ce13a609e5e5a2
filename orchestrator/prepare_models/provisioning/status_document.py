"""The status file: what a provisioning did, for programs that manage many machines.

``reports/fields.json`` says what each field means.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TypedDict

from prepare_models_entrypoint.contract import schema
from prepare_models_entrypoint.contract.codec import ContractError
from prepare_models_entrypoint.contract.report import ErrorInfo, WarningInfo
from prepare_models_entrypoint.contract.values import Value

from ..errors import UsageError
from ..manifest.model import NAME

STATUS_FILE = "provision.json"  # in the models directory
SCHEMA_VERSION = 1

RUNNING, GOOD, SOME_FAILED, STOPPED = OUTCOMES = ("running", "good", "failed", "stopped")
WAITING, UP_TO_DATE, SWITCHED, FAILED, ROLLED_BACK, STALE = STATES = (
    "waiting", "up-to-date", "switched", "failed", "rolled-back", "stale",
)  # fmt: skip
PLAN, RUN, VERIFY, LINT, SWITCH, HEALTH = PHASES = ("plan", "run", "verify", "lint", "switch", "health")
NOTHING, TRY_AGAIN, HOLD = NEXT = ("nothing", "try-again", "hold")


class ProvisionedModel(TypedDict):
    """What a model serves, and its result."""

    name: str
    state: str
    phase: str | None
    reason: str
    version: int | None
    engine_sha256: str | None
    build_key: str | None
    previous_version: int | None
    error: ErrorInfo | None
    warnings: list[WarningInfo]
    log: str | None
    next: str
    next_told: str


class ProvisionStatus(TypedDict):
    """One provisioning of one machine: ``provision.json`` in the models directory, and what ``--json`` prints."""

    schema_version: int
    tool: dict[str, str]
    device: str
    manifest: str
    manifest_sha256: str | None
    models_dir: str
    started_at: str
    finished_at: str | None
    seconds: float | None
    outcome: str
    error: ErrorInfo | None
    models: list[ProvisionedModel]


def read(raw: object, what: str = "status") -> ProvisionStatus:
    """Return parsed JSON as a status.

    Raises:
        ContractError: it is not a status, or one of another schema version.
    """
    if not isinstance(raw, dict) or "outcome" not in raw:
        raise ContractError(f"{what}: not a provisioning status")
    schema.check_version(raw, SCHEMA_VERSION, what)
    status = schema.read(ProvisionStatus, raw, what)
    unknown = {status["outcome"]}.difference(OUTCOMES) | {model["state"] for model in status["models"]}.difference(
        STATES
    )
    if unknown:
        raise ContractError(f"{what}: {min(unknown)!r} is not an outcome or a state")
    odd = [model["name"] for model in status["models"] if not re.fullmatch(NAME.pattern, model["name"])]
    if odd:  # they become paths
        raise ContractError(f"{what}: {odd[0][:80]!r} is not the name of a model")
    return status


def load(models_dir: Path) -> ProvisionStatus:
    """Return the status that the last provisioning left in a models directory.

    Raises:
        UsageError: it doesn't exist, or can't be read.
    """
    file, hint = models_dir / STATUS_FILE, "give a models directory of prepare-models provision"
    try:
        return read(schema.load(file))
    except OSError as error:
        raise UsageError(f"{file} can't be read: {error.strerror}", hint=hint) from None
    except ContractError as error:
        raise UsageError(f"{file}: {error}", hint=hint) from None


class Provisioned(Value):
    """The result of each model.

    document: the status, as ``prepare-models schema status`` describes it.
    """

    document: ProvisionStatus

    @cached_property
    def models(self) -> Mapping[str, ProvisionedModel]:
        """Return the result of each model by name, in the manifest's order."""
        return {model["name"]: model for model in self.document["models"]}

    @property
    def ok(self) -> bool:
        """Return whether every model is as the manifest asks."""
        return self.document["outcome"] == GOOD


class Rollback(Value):
    """A model that was taken back. ``version``: the current one; ``before``: the one that was current until now."""

    name: str
    version: int
    before: int
