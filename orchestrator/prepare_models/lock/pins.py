"""A manifest with the digests of its lock."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from prepare_models_entrypoint.contract.fetch import Pins

from ..errors import UsageError
from ..manifest.load import load as load_manifest
from ..manifest.model import Manifest, ModelSpec
from ..support.file_digests import open_digests
from .document import Lock, path_of, read
from .drift import drift_of_sources, refuse
from .sources import Wanted, fetched_weights, pinnable, source_id_of

if TYPE_CHECKING:
    from ..signing.trust import KeyList


def load(
    file: Path, *, locked: bool = False, keys: KeyList | None = None, accepts: bool = False
) -> tuple[Manifest, Lock | None]:
    """Read a manifest and the lock next to it.

    With ``locked``, every difference is refused and every file pinned. Without it, the lock pins remote sources that
    the manifest still has; local files may change. With ``keys``, one of them must have signed it; with ``accepts``,
    older editions are refused from now on.

    Raises:
        ManifestError, LockError, UsageError: manifest or lock is invalid, differs, or is required but missing.
        SignatureError: none of the keys signed the lock, or a newer edition was accepted before.
    """
    loaded, lock = load_manifest(file), read(path_of(file))
    if lock is None:
        if locked or keys is not None:
            raise UsageError(f"{path_of(file)} doesn't exist", hint=f"write it: prepare-models lock {file}")
        return loaded, None
    if keys is not None:
        from ..signing import releases

        signed = releases.check(releases.LOCK, path_of(file), lock.digest, keys)
        if accepts:
            releases.accept(signed)
    if locked:
        digests = open_digests()
        refuse(drift_of_sources(loaded, lock, digests.of), file)
        digests.save()
    return held_to(loaded, lock, everything=locked), lock


def held_to(manifest: Manifest, lock: Lock, *, everything: bool = True) -> Manifest:
    """Return a manifest with the digests of a lock; without ``everything``, only those of remote sources."""
    base = manifest.path.absolute().parent
    models = tuple(_pinned(spec, lock, base, everything=everything) for spec in manifest.models)
    return replace(manifest, models=models)


def _pinned(spec: ModelSpec, lock: Lock, base: Path, *, everything: bool) -> ModelSpec:
    there = {file.place: file for file in lock.models.get(spec.name, ())}

    def digest(file: Wanted) -> str | None:
        known = there.get(file.place)
        applies = known is not None and (everything or file.identifier is not None)
        return known.sha256 if known and applies and known.source_id == file.identifier else None

    pins = {file.role: file.pinned or digest(file) for file in pinnable(spec, base)}
    return replace(
        spec, sha256=pins["model"], calibration_sha256=pins.get("calibration_cache"),
        pins=fetched_pins(spec, lock, base, everything=everything),
        engines=lock.engine_digests(spec.name) if everything else {},
        sizes={file.sha256: file.bytes for file in there.values()},
    )  # fmt: skip


def fetched_pins(spec: ModelSpec, lock: Lock, base: Path, *, everything: bool = True) -> Pins:
    """Return a lock's pins of fetched sources; without ``everything``, excluding files in local archives."""
    files = [file for file in lock.models.get(spec.name, ()) if everything or file.source_id is not None]
    weights = {source_id_of(file, base): file.sha256 for file in fetched_weights(spec, files)}
    revisions = {file.source_id: file.revision for file in files if file.source_id and file.revision}
    return Pins(sha256=weights, revision=revisions)
