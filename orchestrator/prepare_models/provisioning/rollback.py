"""Going back to a version that was kept."""

from __future__ import annotations

import os
from pathlib import Path

from ..errors import ReleaseError, UsageError
from ..running.writer_lock import model_lock
from . import ledger
from .ledger import Ledger
from .provision import note, take_back
from .releases import Releases
from .status_document import Rollback
from .status_file import note_rollback


def perform(name: str, models_dir: Path, device: str, *, to: int | None, why: str) -> Rollback:
    """Make an earlier version of a model current; provisioning does not undo that by itself.

    ``to``: version to go to; None means the one before. ``device``: name of this machine. ``why``: for the ledger.

    Raises:
        UsageError: the model was not provisioned, or doesn't have the version.
        ReleaseError: there is no earlier version, or it is damaged.
    """
    releases = Releases(models_dir / name)
    if os.sep in name or releases.current is None:
        text = f"{models_dir} has no provisioned model {name}"
        raise UsageError(text, hint="name a model that prepare-models provision manages, and its --models-dir")
    with model_lock(releases.folder):
        releases.mend()
        before, target = releases.current or 0, releases.previous if to is None else to
        if to == before:  # as after a rollback that was killed
            return Rollback(name, before, before)
        if target is None:
            kept = ", ".join(map(str, releases.numbers()))
            raise ReleaseError("rollback-impossible", f"{name} serves version {before}; kept are {kept}")
        if target not in releases.numbers():
            kept = ", ".join(map(str, releases.numbers()))
            raise UsageError(f"{name} has no version {target}", hint=f"kept are {kept}")
        releases.accept(target)
        take_back(releases, target, why)
        note(Ledger(models_dir, device), ledger.ROLLED_BACK, releases, before, why)
        note_rollback(models_dir, name, why, held=target < before)
    return Rollback(name, target, before)
