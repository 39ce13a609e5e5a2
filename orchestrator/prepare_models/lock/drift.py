"""What differs from the lock, in sentences."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from prepare_models_entrypoint.contract.files import sha256_file

from ..errors import LockError
from ..manifest.model import Manifest, ModelSpec
from .document import Facts, Lock, LockedFile
from .sources import Hashing, Wanted, fetched_weights, measure_local, measure_samples, wanted


def drift_of_sources(manifest: Manifest, lock: Lock, sha256: Hashing = sha256_file) -> list[str]:
    """Return how manifest and local files differ from the lock. Remote sources are compared by name, not fetched."""
    base = manifest.path.absolute().parent
    found = [line for spec in manifest.models for line in _of_model(spec, lock.models.get(spec.name), base, sha256)]
    gone = sorted(lock.models.keys() - {spec.name for spec in manifest.models})
    return found + [f"{name}: is in the lock but not in the manifest" for name in gone]


def drift_of_platform(lock: Lock, name: str, facts: Facts) -> list[str]:
    """Return how a platform differs from the lock."""
    locked = lock.platforms.get(name)
    if locked is None:
        known = ", ".join(lock.platforms) or "none"
        return [f"platform {name}: is not in the lock, which has {known}"]
    return [
        f"platform {name}: {key} is {facts.get(key, 'not known')}, the lock has {locked.get(key, 'none')}"
        for key in sorted({*locked, *facts})
        if locked.get(key) != facts.get(key)
    ]


def refuse(drift: Sequence[str], file: Path | None) -> None:
    """Raise an error for the differences, if any. ``file``: the manifest; None for one from a bundle."""
    if not drift:
        return
    if file is None:
        hint = "on the connected side: prepare-models lock --platform NAME, for this machine and tool; bundle again"
    else:
        hint = f"if intended: prepare-models lock {file}, or --update NAME for a remote source; then review the diff"
    raise LockError(drift, hint=hint)


def _of_model(spec: ModelSpec, locked: Sequence[LockedFile] | None, base: Path, sha256: Hashing) -> Iterator[str]:
    if locked is None:
        yield f"{spec.name}: is not in the lock"
        return
    there = {file.place: file for file in locked}
    for file in wanted(spec, base):
        known = there.pop(file.place, None)
        if known is None:
            yield f"{spec.name}: {file.role} {file.label} is not in the lock"
        else:
            yield from _of_file(spec.name, file, known, sha256)
    for measured in measure_samples(spec, base, sha256):
        known = there.pop(measured.place, None)
        if known is None or known.sha256 != measured.sha256:
            yield f"{spec.name}: the {measured.role} in {measured.source} are not the locked ones"
    for file_of_model in fetched_weights(spec, there.values()):
        del there[file_of_model.place]  # the model's digest determines which weights it has
    for place in there:
        yield f"{spec.name}: the lock has {place[0]} {place[1]}, the manifest does not"


def _of_file(name: str, file: Wanted, known: LockedFile, sha256: Hashing) -> Iterator[str]:
    if file.identifier != known.source_id:
        yield f"{name}: {file.role} {file.label} differs from the locked source in a part that is not shown"
    if file.pinned is not None and file.pinned != known.sha256:
        yield f"{name}: {file.role} {file.label} has sha256 {file.pinned} in the manifest, the lock has {known.sha256}"
    if not file.fetched:
        found = measure_local(file, sha256)
        if found.sha256 != known.sha256:
            yield f"{name}: {file.role} {file.label} has sha256 {found.sha256}, the lock has {known.sha256}"
        elif found.bytes != known.bytes:
            yield f"{name}: {file.role} {file.label} has {found.bytes} bytes, the lock has {known.bytes}"
