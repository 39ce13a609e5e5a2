"""Events: JSON lines that the entrypoint streams on its standard output. Tolerant: unknown kinds and keys are kept."""

from __future__ import annotations

import json
from dataclasses import field
from typing import Any, Mapping, Optional, TypedDict

from . import codec, schema
from .codec import CONTRACT_VERSION, ContractError
from .values import Value

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


class Event(Value):
    """One thing that happened. ``seq`` counts from 0, ``time`` is seconds since the epoch."""

    seq: int
    time: float
    kind: str
    model: Optional[str] = None
    stage: Optional[str] = None
    data: Mapping[str, Any] = field(default_factory=dict)

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
        codec.check_version(raw, "event")
        return schema.read(cls, {key: raw[key] for key in cls.__dataclass_fields__ if key in raw}, "event")

    def to_line(self) -> str:
        """Return the event as one line of JSON, newline included."""
        raw = {"contract": CONTRACT_VERSION, **vars(self), "data": dict(self.data)}
        return json.dumps(raw, separators=(",", ":")) + "\n"
