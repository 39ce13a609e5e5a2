"""Reports read back from files, of whole runs and of single models."""

from __future__ import annotations

import datetime as dt
import importlib
import json
import sys
from collections.abc import Mapping
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import TypedDict, TypeVar, cast

from prepare_models_entrypoint.contract import schema, sizes
from prepare_models_entrypoint.contract.codec import ContractError
from prepare_models_entrypoint.contract.environment import RuntimeInfo
from prepare_models_entrypoint.contract.files import write_atomic, write_own
from prepare_models_entrypoint.contract.report import FAILED, SCHEMA_VERSION, SKIPPED, ModelReport, read
from prepare_models_entrypoint.contract.values import Value

from ..errors import ModelsFailedError, UsageError
from ..machine.facts import Power
from ..support.os_errors import writing

T = TypeVar("T")


class Host(TypedDict, total=False):
    """The machine on which a run was started."""

    system: str
    machine: str
    python: str
    cpus: int | None
    power: Power | None


class Tool(TypedDict):
    """The tool that wrote a report."""

    name: str
    version: str


class Run(TypedDict):
    """The report of a run."""

    schema_version: int
    tool: Tool
    run_id: str
    manifest: str
    models_dir: str
    started_at: str
    seconds: float
    host: Host
    executor: str
    runtime: RuntimeInfo | None
    summary: dict[str, int]
    models: list[ModelReport]


# For a report extracted from a run's, or of one model.
_FRAME = Run(
    schema_version=SCHEMA_VERSION, tool={"name": "prepare-models", "version": ""}, run_id="", manifest="",
    models_dir="", started_at="", seconds=0.0, host={}, executor="", runtime=None, summary={}, models=[],
)  # fmt: skip
READY, CARE, NO, OPEN = "ready", "ready, with warnings", "failed", "skipped"
VERDICTS = (NO, OPEN, CARE, READY)


def load(place: Path) -> Run:
    """Return the report of a run: its file, the models directory with it, or one model's report as a run of one model.

    Raises:
        UsageError: it doesn't exist, or is not a report.
    """
    file = place / "report.json" if place.is_dir() else place
    hint = "give a report.json that run wrote"
    try:
        return _run(schema.load(file))
    except OSError as error:  # one by a limit of the system gets that limit's hint where commands end
        raise UsageError(f"{file} can't be read: {error.strerror}", hint=hint) from None
    except ContractError as error:
        raise UsageError(f"{file}: {error}", hint=hint) from None


def to_json(run: Run) -> str:
    """Return a report as JSON, each model on its own line: indented, two thousand models take 20 s to write."""
    head = json.dumps({**run, "models": []}, indent=2)
    models = ",\n    ".join(map(json.dumps, run["models"]))
    return f"{head.removesuffix('[]' + chr(10) + '}')}[\n    {models}\n  ]\n}}\n"


def _run(raw: object) -> Run:
    if not isinstance(raw, Mapping):
        raise ContractError("report: not a report")
    if isinstance(raw.get("models"), list):
        schema.check_version(raw, SCHEMA_VERSION, "report")
        run = schema.read(Run, {**_FRAME, **raw, "models": []}, "report")
        return {**run, "models": [read(model) for model in raw["models"]]}
    model = read(raw)
    return {**_FRAME, "models": [model], "summary": {model["status"]: 1}, "runtime": model["runtime"]}


def compact(value: T) -> T:
    """Return a document in which equal texts are one: reports of models that were built alike take half the memory."""
    found: object = value
    if isinstance(value, str):
        found = sys.intern(value)
    elif isinstance(value, list):
        found = [compact(each) for each in value]
    elif isinstance(value, dict):
        found = {sys.intern(name): compact(each) for name, each in value.items()}
    return cast("T", found)


def verdict(model: ModelReport) -> str:
    """Return whether a model may be deployed, in words."""
    if model["status"] == FAILED:
        return NO
    if model["status"] == SKIPPED or model["engine"] is None:
        return OPEN
    return CARE if model["warnings"] else READY


def codes(model: ModelReport) -> list[str]:
    """Return the codes of a model's error and warnings, each once."""
    error = model["error"]
    return list(dict.fromkeys([*([error["code"]] if error else []), *(w["code"] for w in model["warnings"])]))


def verified(model: ModelReport) -> str:
    """Return the result of a model's verification, in one or two words."""
    verification = model["verification"]
    return verification["verdict"].replace("-", " ") if verification else "not asked"


def seconds(model: ModelReport) -> float | None:
    """Return the wall time of a model's stages, None if no stage ran."""
    return sum(stage["seconds"] for stage in model["stages"]) if model["stages"] else None


def size(count: float | None) -> str:
    """Return a number of bytes for people."""
    return "-" if count is None else sizes.readable(count)


JSON = "json"
HTML, _, _ = FORMS = ("html", "markdown", "junit")  # one module each


def check(form: str) -> None:
    """Refuse a format that can't be written here.

    Raises:
        UsageError: it is unknown.
        HostError: the package that draws it is not installed.
    """
    if form not in (JSON, *FORMS):
        raise UsageError(f"a report has no form {form!r}", hint=f"one of {', '.join((JSON, *FORMS))}")
    if form == HTML:
        from . import html

        html.check()


def render(form: str, run: Run) -> str:
    """Return the report of a run in a format.

    Raises:
        HostError: the package that draws it is not installed.
    """
    if form == JSON:
        return to_json(run)
    rendered: str = importlib.import_module(f"{__package__}.{form}").render(run)
    return rendered


def save(file: Path, rendered: str, *, own: bool = False) -> None:
    """Write a rendered report. ``own``: whether it is in a models directory, where no link is followed.

    Raises:
        HostError: the file can't be written.
    """
    with writing(file, "give write access to its directory"):
        (write_own if own else write_atomic)(file, rendered.encode("utf-8"))


class RunReport(Value):
    """The result of each model.

    document: the run's report.json, as docs/report.md describes it.
    """

    document: Run

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

    def render(self, form: str = JSON) -> str:
        """Return the report in a format: json, html, markdown or junit.

        Raises:
            UsageError: the format is unknown.
            HostError: HTML needs the extra ``report``, which is not installed.
        """
        check(form)
        return render(form, self.document)

    def save(self, file: str | PathLike[str], form: str = JSON) -> None:
        """Write the report to a file, atomically.

        Raises:
            UsageError, HostError: as in ``render``, or the file can't be written.
        """
        save(Path(file), self.render(form))


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


def timestamp(seconds: float | None = None) -> str:
    """Return a time in ISO 8601, UTC, with milliseconds. ``seconds``: since the epoch; None means now."""
    now = dt.datetime.now(dt.timezone.utc)
    then = now if seconds is None else dt.datetime.fromtimestamp(seconds, dt.timezone.utc)
    return then.isoformat(timespec="milliseconds")
