"""Many machines at a glance: the state of each, out of the status that its last provisioning left.

Statuses are in directories, globs, lists on web servers, object stores.
"""

from __future__ import annotations

import glob
import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import BinaryIO, NamedTuple
from urllib.parse import urljoin

from prepare_models_entrypoint.contract import extras, schema
from prepare_models_entrypoint.contract.codec import ContractError
from prepare_models_entrypoint.contract.files import read_small
from prepare_models_entrypoint.contract.source import Source

from ..errors import ExtraMissingError, UsageError
from . import status_document
from .metrics import seconds_of
from .status_document import GOOD, RUNNING, STATUS_FILE, ProvisionedModel, ProvisionStatus

UNREADABLE, FAILED, STALE, ROLLED_BACK = BAD = ("unreadable", "failed", "stale", "rolled-back")
STATES = (*BAD, RUNNING, GOOD)  # what to look at first
_AT_ONCE = 16
_AHEAD_S = 3600
_NAMED = 4  # models that a row names


class Device(NamedTuple):
    """A machine. source: where its status is. age_s: how old that is, in seconds; None, as ``status``, if unknown."""

    source: str
    state: str
    why: str
    age_s: float | None = None
    status: ProvisionStatus | None = None

    @property
    def name(self) -> str:
        """Return the machine's name, or where its status should be."""
        return self.status["device"] if self.status else self.source

    def models(self) -> str:
        """Return its models with their versions, and their states where those are not good."""
        served = [_served(model) for model in self.status["models"]] if self.status else []
        return ", ".join(served[:_NAMED]) + (f" and {len(served) - _NAMED} more" if len(served) > _NAMED else "") or "-"

    def age(self) -> str:
        """Return how old the status is, for people."""
        return "-" if self.age_s is None else _span(self.age_s)

    def to_dict(self) -> dict[str, object]:
        """Return the machine as JSON."""
        return {"device": self.name, **self._asdict()}


def look(places: Iterable[str], *, stale_s: float, now: float) -> list[Device]:
    """Return the machines whose statuses are at some places (directories, globs, files, URLs), what needs care first.

    ``stale_s``: seconds after which a status says too little about its machine. ``now``: seconds since the epoch.

    Raises:
        UsageError: nothing is at a place.
        HostError: the extra for a kind of URL is not installed.
    """
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        found = [each for place in places for each in _found(place)]
        devices = pool.map(lambda each: each if isinstance(each, Device) else _judged(each, stale_s, now), found)
        return sorted(devices, key=lambda device: (STATES.index(device.state), device.name, device.source))


def counts(devices: Sequence[Device]) -> dict[str, int]:
    """Return how many machines are in each state, good ones first."""
    states = [device.state for device in devices]
    return {state: states.count(state) for state in reversed(STATES)}


def _span(seconds: float) -> str:
    """Return a span of time in its largest unit."""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def _found(place: str) -> list[Found | Device]:
    """Return the documents of a directory, a glob, a file or a URL; where a server or a disk does not answer, that.

    Raises:
        UsageError: nothing is there.
        ExtraMissingError: the extra for this kind of URL is not installed.
    """
    kind = _in_a_filesystem if "://" in place else _here
    try:
        return list(_on_the_web(place) if re.match(r"https?://", place) else kind(place))
    except OSError as error:
        return [Device(place, UNREADABLE, str(error))]


def _judged(found: Found, stale_s: float, now: float) -> Device:
    try:
        status = status_document.read(schema.loads(found.read()))
        old = now - seconds_of(status["finished_at"] or status["started_at"])
    except (OSError, ValueError, OverflowError, ContractError) as error:
        return Device(found.name, UNREADABLE, str(error))
    return Device(found.name, *_state(status, old, stale_s), old, status)


def _state(status: ProvisionStatus, old: float, stale_s: float) -> tuple[str, str]:
    failed = [model for model in status["models"] if model["state"] == status_document.FAILED]
    back = [model for model in status["models"] if model["state"] == status_document.ROLLED_BACK]
    if status["error"] is not None:
        return FAILED, f"[{status['error']['code']}] {status['error']['message']}"
    if failed or (status["outcome"] in (status_document.SOME_FAILED, status_document.STOPPED) and not back):
        return FAILED, "; ".join(map(_why, failed)) or status["outcome"]
    if old < -_AHEAD_S:
        return STALE, f"its clock is {_span(-old)} ahead, so nobody knows how old this is"
    if old > stale_s:
        return STALE, f"the last provisioning {'began' if status['finished_at'] is None else 'ended'} {_span(old)} ago"
    if back:
        return ROLLED_BACK, "; ".join(map(_why, back))
    return (RUNNING if status["outcome"] == RUNNING else GOOD), ""


def _why(model: ProvisionedModel) -> str:
    error = model["error"]
    return f"{model['name']}: " + (f"[{error['code']}] {error['message']}" if error else model["reason"])


def _served(model: ProvisionedModel) -> str:
    version = "-" if model["version"] is None else str(model["version"])
    calm = model["state"] in (status_document.UP_TO_DATE, status_document.SWITCHED)
    return f"{model['name']} {version}" + ("" if calm else f" ({model['state']})")


LARGEST = 1 << 20  # bytes of a status, and of a list of them
_LISTED = 100_000  # statuses that one list may name
_TIMEOUT_S = (10, 30)  # to connect, and without a byte


class Found(NamedTuple):
    """A document that should be a status. name: its path or URL. read: returns its bytes, or raises OSError."""

    name: str
    read: Callable[[], bytes]


def _here(place: str) -> Iterator[Found]:
    path = Path(place)
    if not path.is_dir():
        files = sorted(glob.glob(place, recursive=True))
    elif (path / STATUS_FILE).is_file():
        files = [str(path / STATUS_FILE)]
    else:
        files = sorted({*map(str, path.glob("*.json")), *map(str, path.rglob(STATUS_FILE))})
    if not files:
        there = path.exists() or glob.has_magic(place)
        raise UsageError(
            f"{place} " + ("has no status" if there else "does not exist"),
            hint=f"name a directory of *.json files, or one with {STATUS_FILE}",
        )
    for file in files:
        yield Found(file, partial(read_small, Path(file), largest=LARGEST))


def _on_the_web(url: str) -> Iterator[Found]:
    """Yield what is at a URL: a status, or those that a list names, as JSON or one on each line."""
    content = _get(url)
    if content.lstrip().startswith(b"{"):
        yield Found(url, lambda: content)
        return
    text = content.decode("utf-8", "replace")
    try:
        listed = json.loads(text) if text.lstrip().startswith("[") else text.split("\n")
    except (ValueError, RecursionError):
        raise UsageError(f"{url} is neither a status nor a list", hint="name a URL of a status, or of a list") from None
    lines = [line.strip() for line in listed[:_LISTED] if isinstance(line, str)]
    for line in lines:
        if line and not line.startswith("#"):
            each = _joined(url, line)
            yield Found(each, partial(_get, each))


def _joined(url: str, line: str) -> str:
    try:
        return urljoin(url, line)
    except ValueError:  # which _get says, too
        return line


def _get(url: str) -> bytes:
    import requests  # whose errors are OSErrors

    if not re.match(r"https?://", url):
        raise OSError(f"{url} is not a web address")
    with requests.get(url, stream=True, timeout=_TIMEOUT_S) as answer:
        answer.raise_for_status()
        content = b""
        for chunk in answer.iter_content(1 << 16):
            content += chunk
            if len(content) > LARGEST:
                raise OSError(f"more than {LARGEST} bytes")
    return content


def _in_a_filesystem(url: str) -> Iterator[Found]:
    """Yield the ``*.json`` files below a URL of an object store, or the one that it names."""
    try:
        import fsspec

        system, path = fsspec.core.url_to_fs(url)
    except ImportError as error:
        raise ExtraMissingError(extras.missing_filesystem(url, Source.of(url).scheme, error)) from None
    except ValueError as error:  # a kind of URL that nobody knows
        raise UsageError(f"{url}: {error}", hint="name a directory, or an https:// or s3:// URL") from None
    files = [each for each in (system.glob(path) if "*" in path else system.find(path)) if each.endswith(".json")]
    if not files:
        raise UsageError(f"{url} has no status", hint="name a folder of *.json files")
    for file in sorted(files):
        yield Found(system.unstrip_protocol(file), partial(_read, partial(system.open, file, "rb")))


def _read(opened: Callable[[], BinaryIO]) -> bytes:
    with opened() as stream:
        content = stream.read(LARGEST + 1)
    if len(content) > LARGEST:
        raise OSError(f"more than {LARGEST} bytes")
    return content
