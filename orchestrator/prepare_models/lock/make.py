"""The files that models are made from, and making their lock.

Local files are hashed, remote ones fetched into the download store unless they are locked.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import cast

from prepare_models_entrypoint.contract import other_formats
from prepare_models_entrypoint.contract.external_data import files
from prepare_models_entrypoint.contract.external_errors import ExternalDataError
from prepare_models_entrypoint.contract.fetch import FetchResult
from prepare_models_entrypoint.contract.files import open_regular, sha256_file
from prepare_models_entrypoint.contract.source import Source
from prepare_models_entrypoint.contract.values import Value
from prepare_models_entrypoint.contract.verification import SampleConfig

from ..errors import HostError
from ..manifest.model import Manifest, ModelSpec, require_terms
from ..running.fetch_process import OnEvent, fetch_sources
from .document import Lock, LockedFile

Hashing = Callable[[Path], str]


class Wanted(Value):
    """A file that a manifest names.

    source: as in the manifest, local paths absolute. label: its form in a lock. pinned: the manifest's sha256.
    fetched: whether the entrypoint has to fetch or unpack it; otherwise it is read in place.
    """

    role: str
    source: str
    label: str
    pinned: str | None
    fetched: bool

    @property
    def place(self) -> tuple[str, str]:
        """Return what identifies the file within its model."""
        return self.role, self.label

    @property
    def identifier(self) -> str | None:
        """Return what distinguishes remote sources; None for a path, which differs from machine to machine."""
        source = Source.of(self.source)
        return source.id if source.is_remote else None


def pinnable(spec: ModelSpec, base: Path) -> Iterator[Wanted]:
    """Yield the files of a model whose digests the entrypoint verifies. No file is read."""
    yield _source("model", spec.source, spec.sha256, base)
    if spec.calibration_cache is not None:
        yield _source("calibration_cache", spec.calibration_cache, spec.calibration_sha256, base)


def wanted(spec: ModelSpec, base: Path) -> Iterator[Wanted]:
    """Yield the files of a model, except directories of samples. ``base``: directory of the manifest.

    Raises:
        HostError: weights of a local model are missing, or outside the allowed directories.
    """
    yield from pinnable(spec, base)
    model = Source.of(spec.source).path
    for file in _weights(spec.name, model) if model is not None and model.is_file() else ():
        yield _source("external_data", str(file), None, base)
    for plugin in spec.plugins:
        yield _source("plugin", plugin.file, plugin.sha256, base)
    if spec.verify is not None and spec.verify.npz is not None:
        yield _source("verification_arrays", spec.verify.npz, None, base)


def _weights(name: str, model: Path) -> tuple[Path, ...]:
    try:
        return files(model)
    except ExternalDataError as error:
        raise HostError(
            f"{name}: {error}", hint=f"keep the weights files of {model} in its folder under their own names"
        ) from None
    except OSError as error:
        raise HostError(f"{model} can't be read: {error.strerror}", hint="check the path in the manifest") from None


def measure_local(file: Wanted, sha256: Hashing = sha256_file) -> LockedFile:
    """Return a local file with its digest, which ``sha256`` computes or remembers.

    Raises:
        HostError: it can't be read, or is only a repository's pointer to the file.
    """
    path = Source.of(file.source).path or Path(file.source)
    try:
        with open_regular(path) as stream:
            known = other_formats.pointer(stream.read(64))
        if known is not None:
            raise HostError(f"{path} is {known.what}", hint=known.hint)
        return LockedFile(file.role, file.label, sha256(path), path.stat().st_size)
    except OSError as error:
        raise HostError(f"{path} can't be read: {error.strerror}", hint="check the path in the manifest") from None


def sample_sets(spec: ModelSpec) -> Iterator[tuple[str, SampleConfig]]:
    """Yield the directories of samples that a model names, each with its role."""
    if spec.calibration is not None:
        yield "calibration_samples", spec.calibration
    if spec.verify is not None and spec.verify.images is not None:
        yield "verification_samples", spec.verify.images


def measure_samples(spec: ModelSpec, base: Path, sha256: Hashing = sha256_file) -> Iterator[LockedFile]:
    """Yield the samples of a model, each directory as one entry.

    Raises:
        HostError: they can't be read.
    """
    for role, samples in sample_sets(spec):
        try:
            size = sum(file.stat().st_size for file in samples.samples())
            digest = samples.samples_sha256(sha256) or ""
        except OSError as error:
            raise HostError(f"{samples.images} can't be read: {error.strerror}", hint="check images:") from None
        if not digest:
            raise HostError(f"{samples.images} has no samples", hint="check images: in the manifest")
        yield LockedFile(role, _label(samples.images, base), digest, size)


def fetched_weights(spec: ModelSpec, locked: Iterable[LockedFile]) -> list[LockedFile]:
    """Return the locked weights files of a model that has to be fetched or unpacked."""
    if Source.of(spec.source).path is not None:
        return []
    return [file for file in locked if file.role == "external_data"]


def source_id_of(file: LockedFile, base: Path) -> str:
    """Return the ``id`` of a locked file's source; one in a local archive is identified by its path."""
    return file.source_id or Source.of(str(base / file.source)).id


def _source(role: str, source: str, pinned: str | None, base: Path) -> Wanted:
    fetched = Source.of(source).path is None
    return Wanted(role, source, _label(source, base), pinned, fetched)


def _label(source: str, base: Path) -> str:
    archive = Source.of(source).archive
    if archive is not None:
        return f"{_label(archive.text, base)}!{Source.of(source).inner}"
    path = Source.of(source).path
    if path is None:
        return Source.of(source).public
    return path.relative_to(base).as_posix() if path.is_relative_to(base) else str(path)


def make(manifest: Manifest, previous: Lock, *, update: Collection[str], accept_eula: bool, on_event: OnEvent) -> Lock:
    """Return the lock of a manifest, with the previous lock's platforms, and its engines of unchanged models.

    The previous lock's remote sources stay if the manifest still names them; those of the models in ``update`` are
    fetched again. ``on_event``: called with the progress of downloads.

    Raises:
        SourcesError: sources could not be fetched; it has each with its reason.
        CodedError: a model that has to be fetched has terms that were not accepted.
        HostError: a local file can't be read.
    """
    base = manifest.path.absolute().parent
    todo: list[tuple[ModelSpec, Wanted]] = []
    models: dict[str, list[LockedFile]] = {spec.name: [] for spec in manifest.models}
    for spec in manifest.models:
        there = {} if spec.name in update else {file.place: file for file in previous.models.get(spec.name, ())}
        for file in wanted(spec, base):
            known = there.get(file.place)
            still = known is not None and known.source_id is not None and known.source_id == file.identifier
            if not file.fetched:  # a local archive may have changed
                models[spec.name].append(measure_local(file))
            elif known is not None and still and file.pinned in (None, known.sha256):
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
                models[spec.name].append(_locked(_source("external_data", beside.text, None, base), results[beside.id]))
    made = {name: tuple(files) for name, files in models.items()}
    same = {name: engines for name, engines in previous.engines.items() if _same(made, previous, name)}
    return Lock(made, previous.platforms, same)


def drift_of_servers(manifest: Manifest, lock: Lock, *, accept_eula: bool, on_event: OnEvent) -> list[str]:
    """Return which remote sources now have bytes that differ from the lock.

    Unchanged files are not downloaded again, if servers give digests or validators.

    Raises:
        SourcesError: sources no longer exist, or can't be reached.
        CodedError: a model has terms that were not accepted.
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


def _locked(file: Wanted, result: FetchResult) -> LockedFile:
    identifier = file.identifier
    return LockedFile(
        file.role, file.label, cast("str", result["sha256"]), cast("int", result["bytes"]), identifier,
        result["promised"] if identifier else None, result["revision"],
    )  # fmt: skip
