"""Many machines at a glance: the state of each, out of the status that its last provisioning left."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from prepare_models_entrypoint.contract import schema
from prepare_models_entrypoint.contract.codec import ContractError

from . import status_document
from .fleet_sources import Found, find
from .metrics import seconds_of
from .status_document import GOOD, RUNNING, ProvisionedModel, ProvisionStatus

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
        told = [_served(model) for model in self.status["models"]] if self.status else []
        return ", ".join(told[:_NAMED]) + (f" and {len(told) - _NAMED} more" if len(told) > _NAMED else "") or "-"

    def age(self) -> str:
        """Return how old the status is, for people."""
        return "-" if self.age_s is None else age(self.age_s)

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


def age(seconds: float) -> str:
    """Return a span of time in its largest unit."""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def _found(place: str) -> list[Found | Device]:
    try:
        return list(find(place))
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
        return STALE, f"its clock is {age(-old)} ahead, so nobody knows how old this is"
    if old > stale_s:
        return STALE, f"the last provisioning {'began' if status['finished_at'] is None else 'ended'} {age(old)} ago"
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
