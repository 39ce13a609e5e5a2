"""What a look at a machine finds: each thing is ok, a warning or a failure, and names its fix."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

OK = "ok"
WARN = "warn"
FAIL = "fail"

CONTAINERS, LOCAL = "docker", "local"  # executors


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at. of: the executor that needs it, empty where every one does."""

    name: str
    status: str
    message: str
    fix: str = ""
    of: str = ""


def judged(findings: Sequence[Finding], executor: str | None) -> list[Finding]:
    """Return findings where one executor works: what others lack is a warning. None: every failure stays one."""
    if executor is None:
        return list(findings)
    return [
        replace(each, status=WARN) if each.status == FAIL and each.of not in ("", executor) else each
        for each in findings
    ]
