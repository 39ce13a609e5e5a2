"""What a consumer is: its name, releases, the files that it reads, and rules with stable codes, as data."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Callable, Dict, Generic, Iterator, Mapping, Optional, Sequence, Tuple, TypeVar

from ..contract.report import ModelReport, WarningInfo
from ..contract.values import Value
from .model_files import Model

ENGINE, FILES = "engine", "files"

S = TypeVar("S")
Check = Callable[[S], Iterator[str]]


class Rule(Value, Generic[S]):
    """One rule.

    looks_at: ``engine`` (its bindings: the rule applies from the build on) or ``files`` (those next to it).
    meaning: what is wrong. hint: what to do. check: yields a message for each finding. note: a finding is only
    information, and the model is still good.
    """

    looks_at: str
    meaning: str
    hint: str
    check: Check[S]
    note: bool = False


def rules(texts: Path, check_of: Callable[[str], Check[S]]) -> Dict[str, Rule[S]]:
    """Return rules by code. ``texts``: JSON with everything but what checks them, which ``check_of`` returns."""
    rows: Dict[str, Dict[str, Any]] = json.loads(texts.read_text(encoding="utf-8"))
    return {code: Rule(check=check_of(code), **row) for code, row in rows.items()}


class Consumer(Value, Generic[S]):
    """One program that runs engines.

    releases: the known ones, oldest first; empty if they don't differ. default: the one used if none is chosen.
    read: returns what the rules look at. files: returns texts by file name, None for a file that an engine should not
    have. concerns: whether a model is meant for the consumer if none is named. place: its order in
    findings and documentation, lowest first.
    """

    name: str
    rules: Mapping[str, Rule[S]]
    read: Callable[[Model, str], S]
    files: Callable[[ModelReport, str, str], Dict[str, Optional[str]]]
    concerns: Callable[[Model], bool]
    releases: Tuple[str, ...] = ()
    default: str = ""
    place: int = 100

    def label(self, release: str) -> str:
        """Return the name with the release, such as isaac-ros@4.6."""
        return f"{self.name}@{release}" if release else self.name

    def findings(self, model: Model, release: str, looks_at: Sequence[str]) -> Iterator[Tuple[WarningInfo, bool]]:
        """Yield what the rules find, and whether it is only a note."""
        found = self.read(model, release)
        for code, rule in self.rules.items():
            if rule.looks_at in looks_at:
                for message in rule.check(found):
                    yield WarningInfo(code=code, message=message, hint=rule.hint), rule.note


AnyConsumer = Consumer[Any]
