"""Findings about a machine: each is ok, a warning or a failure, and names its fix."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from prepare_models_entrypoint.contract.values import Value

OK = "ok"
WARN = "warn"
FAIL = "fail"

CONTAINERS, LOCAL = "docker", "local"  # executors


class Finding(Value):
    """One thing that was checked. of: the executor that needs it; empty if all do."""

    name: str
    status: str
    message: str
    fix: str = ""
    of: str = ""


def judged(findings: Sequence[Finding], executor: str | None) -> list[Finding]:
    """Return findings if one executor works: what others lack is then a warning. None: failures stay failures."""
    if executor is None:
        return list(findings)
    return [
        replace(each, status=WARN) if each.status == FAIL and each.of not in ("", executor) else each
        for each in findings
    ]
