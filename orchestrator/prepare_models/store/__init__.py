"""The engine store: every engine once, by its build key, for all models directories of this user.

``Store`` is all that the rest of the tool knows of it; ``open_store`` says which one is used.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from prepare_models_entrypoint.contract.report import ModelReport

from ..support.file_digests import Digests, open_digests
from ..support.paths import contents_dir

PLAN = "model.plan"
CALIBRATION = "calibration.cache"
FILES = (PLAN, CALIBRATION)


@dataclass(frozen=True)
class Entry:
    """An engine in the store.

    files: the plan, and a calibration cache where the build made one, by their names (see ``FILES``).
    record: the report of the build. bytes: of all files. used_at: when it was last put or taken, in epoch seconds.
    """

    key: str
    files: Mapping[str, Path]
    record: ModelReport
    bytes: int
    used_at: float

    @property
    def plan(self) -> Path:
        """Return the plan file."""
        return self.files[PLAN]


@dataclass(frozen=True)
class Turn:
    """The right to build an engine. ``waited``: another process had it first. ``last_place``: where that one built."""

    waited: bool
    last_place: Path | None


class Store(Protocol):
    """Engines by their build keys. All methods are safe in several threads and processes at once."""

    def has(self, key: str) -> bool:
        """Return whether there is an engine, without a look at its bytes."""

    def may_hold(self, model_bytes: int) -> bool:
        """Return whether any engine was ever made from a model file of that size."""

    def find(self, key: str) -> Entry | None:
        """Return an engine whose record and bytes are what was put, None also for one that is damaged."""

    def put(self, record: ModelReport, files: Mapping[str, Path]) -> Entry:
        """Take an engine in, under its record's build key, in whose turn this is called; what was there is replaced.

        The caller keeps its files, and answers for their bytes: these are verified when the engine is taken.

        Raises:
            ValueError: the record is not that of an engine, or not that of these files.
        """

    def problem(self, entry: Entry) -> str | None:
        """Say why an engine is not what its record tells, or return None."""

    def remove(self, key: str) -> bool:
        """Remove an engine, unless a build of it is under way: then return False."""

    def sweep(self) -> None:
        """Remove what processes left that were killed while they put or removed an engine."""

    def entries(self) -> Iterator[Entry]:
        """Yield what is there, its bytes unverified."""

    def turn(
        self, key: str, place: Path, *, on_wait: Callable[[str], None], stopped: Callable[[], bool]
    ) -> AbstractContextManager[Turn]:
        """Hold the right to build an engine: one process at a time has it, and a dead one has it no more.

        Args:
            key: its build key.
            place: model directory that the engine is for.
            on_wait: called once with the id of the process that is waited for.
            stopped: asked while waiting; True gives up with InterruptedError.
        """


def open_store(digests: Digests | None = None) -> Store:
    """Return the store that is used here: the one under ``paths.contents_dir()``."""
    from .local import LocalStore

    return LocalStore(contents_dir() / "engines", digests or open_digests())
