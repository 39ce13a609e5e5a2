"""Making a lock: local files are hashed, remote ones fetched into the download store unless they are locked."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import cast

from prepare_models_entrypoint.contract.fetch import FetchResult
from prepare_models_entrypoint.contract.source import Source

from ..manifest.model import Manifest, ModelSpec, require_terms
from ..running.fetch_process import OnEvent, fetch_sources
from .document import Lock, LockedFile
from .sources import Wanted, external_data, fetched_weights, measure_local, measure_samples, wanted


def make(manifest: Manifest, previous: Lock, *, update: Collection[str], accept_eula: bool, on_event: OnEvent) -> Lock:
    """Return the lock of a manifest, with the previous lock's platforms, and its engines of unchanged models.

    The previous lock's remote sources stay if the manifest still names them; those of the models in ``update`` are
    fetched again. ``on_event``: called with the progress of downloads.

    Raises:
        SourcesError: sources could not be fetched; it has each with its reason.
        LicenceError: a model that has to be fetched has terms that were not accepted.
        HostError: a local file can't be read.
    """
    base = manifest.path.absolute().parent
    todo: list[tuple[ModelSpec, Wanted]] = []
    models: dict[str, list[LockedFile]] = {spec.name: [] for spec in manifest.models}
    for spec in manifest.models:
        there = {} if spec.name in update else {file.place: file for file in previous.models.get(spec.name, ())}
        for file in wanted(spec, base):
            known = there.get(file.place)
            if not file.fetched:
                models[spec.name].append(measure_local(file))
            elif known is not None and _still(known, file):
                models[spec.name].append(known)
                if file.role == "model":
                    models[spec.name] += fetched_weights(spec, there.values())
            else:
                todo.append((spec, file))
        models[spec.name] += measure_samples(spec, base)
    require_terms((spec for spec, _ in todo), accepted=accept_eula)
    results = fetch_sources(((spec.network, file.source, file.pinned) for spec, file in todo), on_event=on_event)
    for spec, file in todo:
        result = results[Source.of(file.source).id]
        models[spec.name].append(_locked(file, result))
        for weights in result["external_data"]:
            beside = Source.of(file.source).beside(weights["location"])
            if beside is not None:
                models[spec.name].append(_locked(external_data(beside.text, base), results[beside.id]))
    made = {name: tuple(files) for name, files in models.items()}
    same = {name: engines for name, engines in previous.engines.items() if _same(made, previous, name)}
    return Lock(made, previous.platforms, same)


def drift_of_servers(manifest: Manifest, lock: Lock, *, accept_eula: bool, on_event: OnEvent) -> list[str]:
    """Return which remote sources now have bytes that differ from the lock.

    Unchanged files are not downloaded again, if servers give digests or validators.

    Raises:
        SourcesError: sources no longer exist, or can't be reached.
        LicenceError: a model has terms that were not accepted.
    """
    base = manifest.path.absolute().parent
    remote = [(spec, file) for spec in manifest.models for file in wanted(spec, base) if file.identifier is not None]
    require_terms((spec for spec, _ in remote), accepted=accept_eula)
    unpinned = ((spec.network, file.source, None) for spec, file in remote)  # pinned, they would come from the store
    results = fetch_sources(unpinned, on_event=on_event)
    locked = {spec.name: lock.models.get(spec.name, ()) for spec in manifest.models}
    weights = [(spec, file) for spec in manifest.models for file in fetched_weights(spec, locked[spec.name])]
    served = {(spec.name, file.place): results.get(file.source_id or "") for spec, file in weights}
    served.update({(spec.name, file.place): results[Source.of(file.source).id] for spec, file in remote})
    return [
        f"{name}: {file.role} {file.source} has sha256 {now['sha256']} on its server, the lock has {file.sha256}"
        for name, files in locked.items()
        for file in files
        if (now := served.get((name, file.place))) is not None and now["sha256"] != file.sha256
    ]


def _same(made: Mapping[str, Sequence[LockedFile]], previous: Lock, model: str) -> bool:
    return {(file.place, file.sha256) for file in made.get(model, ())} == {
        (file.place, file.sha256) for file in previous.models.get(model, ())
    }


def _still(known: LockedFile, file: Wanted) -> bool:
    """Return whether a locked file is still the one in the manifest. A local archive may have changed."""
    return known.source_id is not None and known.source_id == file.identifier and file.pinned in (None, known.sha256)


def _locked(file: Wanted, result: FetchResult) -> LockedFile:
    identifier = file.identifier
    return LockedFile(
        file.role, file.label, cast("str", result["sha256"]), cast("int", result["bytes"]), identifier,
        result["promised"] if identifier else None, result["revision"],
    )  # fmt: skip
