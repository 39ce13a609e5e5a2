"""Events: JSON lines that the entrypoint streams on its standard output. Tolerant: unknown kinds and keys are kept."""

from __future__ import annotations

import json
from typing import Any, Mapping, NamedTuple, Optional, TypedDict

from . import codec, schema
from .codec import CONTRACT_VERSION, ContractError

OPENED = "opened"  # first event; data: the RuntimeInfo of this process
STAGE_STARTED = "stage-started"
PROGRESS = "progress"  # data: phase, and done/total in steps, bytes or seconds, if known
STAGE_FINISHED = "stage-finished"  # data: seconds
MODEL_FINISHED = "model-finished"  # data: status
SOURCE_FINISHED = "source-finished"  # data: the FetchResult of one source
CLOSED = "closed"  # last event

# Phases that are not steps of the work.
ELAPSED = "elapsed"  # done: seconds since the build began; total: seconds that the last similar build took
SILENT = "silent"  # done: seconds without progress; total: seconds without progress that stop the build


class Phase(TypedDict):
    """How far a build is. ``done`` and ``total`` are steps, bytes or seconds; a total of 0 is unknown."""

    phase: str
    done: int
    total: int


class Event(NamedTuple):
    """One thing that happened. ``seq`` counts from 0, ``time`` is seconds since the epoch."""

    seq: int
    time: float
    kind: str
    model: Optional[str] = None
    stage: Optional[str] = None
    data: Mapping[str, Any] = {}

    @classmethod
    def from_line(cls, line: str) -> Event:
        """Read one line.

        Raises:
            ContractError: the line is not an event of this contract version.
        """
        try:
            raw = schema.loads(line)
        except ContractError as error:
            raise ContractError(f"event: not JSON: {line[:80]!r}") from error
        if not isinstance(raw, dict):
            raise ContractError(f"event: expected an object, found {line[:80]!r}")
        codec.check_version(raw, "event")
        return cls(
            seq=codec.require(raw, "seq", int, "event"),
            time=codec.require(raw, "time", float, "event"),
            kind=codec.require(raw, "kind", str, "event"),
            model=codec.optional(raw, "model", str, "event"),
            stage=codec.optional(raw, "stage", str, "event"),
            data=codec.optional(raw, "data", dict, "event") or {},
        )

    def to_line(self) -> str:
        """Return the event as one line of JSON, newline included."""
        raw = {"contract": CONTRACT_VERSION, **self._asdict(), "data": dict(self.data)}
        return json.dumps(raw, separators=(",", ":")) + "\n"
