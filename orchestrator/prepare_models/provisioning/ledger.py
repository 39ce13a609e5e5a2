"""Who switched which model to what, when and why: JSON lines next to the status file, newest last."""

from __future__ import annotations

import contextlib
import getpass
import json
from pathlib import Path
from typing import TypedDict

from prepare_models_entrypoint.contract import schema
from prepare_models_entrypoint.contract.codec import ContractError
from prepare_models_entrypoint.contract.files import read_small, write_own

from ..reports.documents import timestamp
from .releases import Releases

LEDGER_FILE = "switches.jsonl"  # in the models directory
ADOPTED, SWITCHED, ROLLED_BACK, FOUND = ("adopted", "switched", "rolled-back", "found")
_MOST = 1000  # lines


class Switch(TypedDict):
    """One switch. ``from_version``, ``to_version``: None for no version."""

    at: str
    who: str
    what: str
    model: str
    from_version: int | None
    to_version: int | None
    engine_sha256: str | None
    why: str


class Ledger:
    """The ledger of a models directory. ``who``: user and machine."""

    def __init__(self, models_dir: Path, device: str) -> None:
        self._file = models_dir / LEDGER_FILE
        self._who = f"{_user()}@{device}"

    def note(self, what: str, releases: Releases, before: int | None, why: str) -> None:
        """Add that another release of a model is current now; the oldest entries are dropped if there are too many."""
        after = releases.current
        switch = Switch(
            at=timestamp(), who=self._who, what=what, model=releases.folder.name, from_version=before, to_version=after,
            engine_sha256=releases.engine_sha256(after), why=why,
        )  # fmt: skip
        kept = [*self.switches(), switch][-_MOST:]
        write_own(self._file, "".join(f"{json.dumps(each)}\n" for each in kept).encode("ascii"))

    def switches(self) -> list[Switch]:
        """Return all switches, skipping unreadable lines."""
        found: list[Switch] = []
        lines: list[bytes] = []
        with contextlib.suppress(OSError):
            lines = read_small(self._file, largest=16 << 20).splitlines()
        for line in lines:
            with contextlib.suppress(ContractError):
                found.append(schema.read(Switch, schema.loads(line), LEDGER_FILE))
        return found

    def versions(self) -> dict[str, int | None]:
        """Return the version to which each model last switched."""
        return {each["model"]: each["to_version"] for each in self.switches()}


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user without a name on this system
        return "unknown"
