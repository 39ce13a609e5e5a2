"""The status of a provisioning as metrics, in a file for the textfile collector of Prometheus' node_exporter."""

from __future__ import annotations

import contextlib
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from prepare_models_entrypoint.contract.files import read_small, write_atomic

from ..support.os_errors import writing
from .status_document import GOOD, OUTCOMES, STATES, ProvisionedModel, ProvisionStatus

_LAST_GOOD = "prepare_models_last_success_timestamp_seconds"


class _Metric(NamedTuple):
    """A gauge. values: each with its labels."""

    name: str
    told: str
    values: Iterable[tuple[Mapping[str, str], float]]


def save(file: Path, status: ProvisionStatus) -> None:
    """Write a status as metrics.

    The time of the last success survives failures: it is taken from the file that this one replaces.

    Raises:
        HostError: the file can't be written.
    """
    with writing(file, "give --metrics a file in a directory that exists and may be written"):
        write_atomic(file, render(status, _last_good(file)).encode("utf-8"))


def render(status: ProvisionStatus, last_good: float | None = None) -> str:
    """Return a status in Prometheus' text format. ``last_good``: seconds since the epoch of an earlier success."""
    return "".join(_lines(_metrics(status, last_good)))


def seconds_of(time: str) -> float:
    """Return the seconds since the epoch of a time in a status.

    Raises:
        ValueError: it is not a time of ISO 8601 with its zone.
    """
    moment = datetime.fromisoformat(time.replace("Z", "+00:00"))  # which Python 3.10 doesn't know
    if moment.tzinfo is None:
        raise ValueError(f"{time!r} has no time zone")
    return moment.timestamp()


def _metrics(status: ProvisionStatus, last_good: float | None) -> Iterator[_Metric]:
    ended = status["finished_at"]
    yield _Metric(
        "prepare_models_provision_outcome", "1 for what became of the last provisioning.",
        [({"outcome": outcome}, float(outcome == status["outcome"])) for outcome in OUTCOMES],
    )  # fmt: skip
    yield _Metric(
        "prepare_models_provision_start_timestamp_seconds", "Start of the last provisioning.",
        [({}, seconds_of(status["started_at"]))],
    )  # fmt: skip
    if ended is not None:
        took = seconds_of(ended) - seconds_of(status["started_at"])
        yield _Metric("prepare_models_provision_duration_seconds", "Wall time of the last provisioning.", [({}, took)])
        last_good = seconds_of(ended) if status["outcome"] == GOOD else last_good
    if last_good is not None:
        yield _Metric(_LAST_GOOD, "End of the last provisioning that left all models good.", [({}, last_good)])
    yield from _of_models(status)
    with contextlib.suppress(OSError):
        free = shutil.disk_usage(status["models_dir"]).free
        yield _Metric(
            "prepare_models_disk_free_bytes", "Free space on the disk of the models directory.", [({}, float(free))]
        )


def _of_models(status: ProvisionStatus) -> Iterator[_Metric]:
    models, folder = status["models"], Path(status["models_dir"])
    yield _Metric(
        "prepare_models_model_state", "1 for the state of a model.",
        [
            ({"model": model["name"], "state": state}, float(model["state"] == state))
            for model in models for state in STATES
        ],
    )  # fmt: skip
    yield _Metric(
        "prepare_models_model_version", "Version that is served; 0 without any.",
        [({"model": model["name"]}, float(model["version"] or 0)) for model in models],
    )  # fmt: skip
    built = [({"model": model["name"]}, _built_at(folder, model)) for model in models]
    yield _Metric(
        "prepare_models_model_built_timestamp_seconds", "When the engine that is served was written.",
        [(labels, at) for labels, at in built if at is not None],
    )  # fmt: skip


def _built_at(folder: Path, model: ProvisionedModel) -> float | None:
    with contextlib.suppress(OSError):
        return (folder / model["name"] / str(model["version"]) / "model.plan").stat().st_mtime
    return None


def _lines(metrics: Iterable[_Metric]) -> Iterator[str]:
    for metric in metrics:
        yield f"# HELP {metric.name} {metric.told}\n# TYPE {metric.name} gauge\n"
        for labels, value in metric.values:
            quoted = {
                name: text.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')
                for name, text in labels.items()
            }
            told = ",".join(f'{name}="{text}"' for name, text in quoted.items())
            yield f"{metric.name}{{{told}}} {value!r}\n" if told else f"{metric.name} {value!r}\n"


def _last_good(file: Path) -> float | None:
    with contextlib.suppress(OSError, ValueError):
        found = re.search(rf"^{_LAST_GOOD} (\S+)$", read_small(file).decode("utf-8"), re.MULTILINE)
        return float(found[1]) if found else None
    return None
