"""Events: JSON lines that the entrypoint streams on its standard output. Tolerant: unknown kinds and keys are kept."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, Dict, Mapping, Optional

from . import _codec
from ._codec import ContractError
from .job import CONTRACT_VERSION

OPENED = "opened"  # first event; data: the RuntimeInfo of this process
STAGE_STARTED = "stage-started"
PROGRESS = "progress"  # data: phase, and done/total in steps, bytes or (elapsed) seconds where they are known
STAGE_FINISHED = "stage-finished"  # data: seconds
MODEL_FINISHED = "model-finished"  # data: status
SOURCE_FINISHED = "source-finished"  # data: the FetchResult of one source
CLOSED = "closed"  # last event


@dataclass(frozen=True)
class Event:
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
            ContractError: the line is no event of this contract version.
        """
        try:
            raw = json.loads(line)
        except ValueError as error:
            raise ContractError(f"event: not JSON: {line[:80]!r}") from error
        if not isinstance(raw, dict):
            raise ContractError(f"event: expected an object, found {line[:80]!r}")
        _codec.check_version(raw, CONTRACT_VERSION, "event")
        return cls(
            seq=_codec.require(raw, "seq", int, "event"),
            time=_codec.require(raw, "time", float, "event"),
            kind=_codec.require(raw, "kind", str, "event"),
            model=_codec.optional(raw, "model", str, "event"),
            stage=_codec.optional(raw, "stage", str, "event"),
            data=_codec.optional(raw, "data", dict, "event") or {},
        )

    def to_line(self) -> str:
        """Return the event as one line of JSON, with its newline."""
        raw: Dict[str, Any] = {
            "contract": CONTRACT_VERSION,
            "seq": self.seq,
            "time": self.time,
            "kind": self.kind,
            "model": self.model,
            "stage": self.stage,
            "data": dict(self.data),
        }
        return json.dumps(raw, separators=(",", ":")) + "\n"
