"""The status of a provisioning as metrics, in a file for the textfile collector of Prometheus' node_exporter."""

from __future__ import annotations

import contextlib
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from pathlib import Path

from prepare_models_entrypoint.contract.files import read_small, write_atomic

from ..support.os_errors import writing
from .status_document import GOOD, OUTCOMES, STATES, ProvisionedModel, ProvisionStatus

_PREFIX = "prepare_models_"
_LAST_GOOD = "last_success_timestamp_seconds"
_Gauge = tuple[str, str, Iterable[tuple[Mapping[str, str], float]]]  # its name, what it is, values with their labels


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
    text = ""
    for name, meaning, values in _gauges(status, last_good):
        text += f"# HELP {_PREFIX}{name} {meaning}\n# TYPE {_PREFIX}{name} gauge\n"
        for labels, value in values:
            quoted = {
                key: word.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"') for key, word in labels.items()
            }
            about = ",".join(f'{key}="{word}"' for key, word in quoted.items())
            text += f"{_PREFIX}{name}{f'{{{about}}}' if about else ''} {value!r}\n"
    return text


def seconds_of(time: str) -> float:
    """Return the seconds since the epoch of a time in a status.

    Raises:
        ValueError: it is not a time of ISO 8601 with its zone.
    """
    moment = datetime.fromisoformat(time.replace("Z", "+00:00"))  # which Python 3.10 doesn't know
    if moment.tzinfo is None:
        raise ValueError(f"{time!r} has no time zone")
    return moment.timestamp()


def _gauges(status: ProvisionStatus, last_good: float | None) -> Iterator[_Gauge]:
    began, ended = seconds_of(status["started_at"]), status["finished_at"]
    outcomes = [({"outcome": outcome}, float(outcome == status["outcome"])) for outcome in OUTCOMES]
    yield "provision_outcome", "1 for what became of the last provisioning.", outcomes
    yield "provision_start_timestamp_seconds", "Start of the last provisioning.", [({}, began)]
    if ended is not None:
        took = seconds_of(ended) - began
        yield "provision_duration_seconds", "Wall time of the last provisioning.", [({}, took)]
        last_good = seconds_of(ended) if status["outcome"] == GOOD else last_good
    if last_good is not None:
        yield _LAST_GOOD, "End of the last provisioning that left all models good.", [({}, last_good)]
    models, folder = status["models"], Path(status["models_dir"])
    states = [
        ({"model": each["name"], "state": state}, float(each["state"] == state)) for each in models for state in STATES
    ]
    yield "model_state", "1 for the state of a model.", states
    versions = [({"model": model["name"]}, float(model["version"] or 0)) for model in models]
    yield "model_version", "Version that is served; 0 without any.", versions
    built = [({"model": model["name"]}, at) for model in models if (at := _built_at(folder, model)) is not None]
    yield "model_built_timestamp_seconds", "When the engine that is served was written.", built
    with contextlib.suppress(OSError):
        free = float(shutil.disk_usage(folder).free)
        yield "disk_free_bytes", "Free space on the disk of the models directory.", [({}, free)]


def _built_at(folder: Path, model: ProvisionedModel) -> float | None:
    with contextlib.suppress(OSError):
        return (folder / model["name"] / str(model["version"]) / "model.plan").stat().st_mtime
    return None


def _last_good(file: Path) -> float | None:
    with contextlib.suppress(OSError, ValueError):
        found = re.search(rf"^{_PREFIX}{_LAST_GOOD} (\S+)$", read_small(file).decode("utf-8"), re.MULTILINE)
        return float(found[1]) if found else None
    return None
