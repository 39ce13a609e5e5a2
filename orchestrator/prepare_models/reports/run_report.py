"""The report of a run as a value, with shortcuts for the most common questions."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from os import PathLike
from pathlib import Path

from prepare_models_entrypoint.contract.report import FAILED, ModelReport
from prepare_models_entrypoint.contract.values import Value

from ..errors import ModelsFailedError
from . import documents


class RunReport(Value):
    """The result of each model.

    document: the run's report.json, as docs/report.md describes it.
    """

    document: documents.Run

    @cached_property
    def models(self) -> Mapping[str, ModelReport]:
        """Return the reports of all models by name, in the manifest's order."""
        return {model["name"]: model for model in self.document["models"]}

    @property
    def failed(self) -> list[ModelReport]:
        """Return the reports of models that failed; their ``error`` has code, stage, message and hint."""
        return [model for model in self.document["models"] if model["status"] == FAILED]

    @property
    def ok(self) -> bool:
        """Return whether no model failed."""
        return not self.failed

    @property
    def engines(self) -> dict[str, Path]:
        """Return the path of each model's engine, if it has one, by the model's name."""
        return {name: Path(model["engine"]["path"]) for name, model in self.models.items() if model["engine"]}

    def raise_for_failure(self) -> None:
        """Raise ModelsFailedError if a model failed, with the first one's message and hint."""
        if self.failed:
            raise ModelsFailedError(self.failed)

    def render(self, form: str = documents.JSON) -> str:
        """Return the report in a format: json, html, markdown or junit.

        Raises:
            UsageError: the format is unknown.
            HostError: HTML needs the extra ``report``, which is not installed.
        """
        documents.check(form)
        return documents.render(form, self.document)

    def save(self, file: str | PathLike[str], form: str = documents.JSON) -> None:
        """Write the report to a file, atomically.

        Raises:
            UsageError, HostError: as in ``render``, or the file can't be written.
        """
        documents.save(Path(file), self.render(form))


class Conversion(RunReport):
    """The result of a model that was converted without a manifest.

    manifest: text of a manifest that repeats the conversion.
    """

    manifest: str

    @property
    def model(self) -> ModelReport:
        """Return the report of the model."""
        (model,) = self.document["models"]
        return model

    @property
    def engine(self) -> Path | None:
        """Return the engine's path, or None if the model failed."""
        return next(iter(self.engines.values()), None)
