"""The results of a provisioning and a rollback, as values."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

from prepare_models_entrypoint.contract.values import Value

from .status_document import GOOD, ProvisionedModel, ProvisionStatus


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
