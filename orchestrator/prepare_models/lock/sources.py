"""The files that the models of a manifest are made from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from prepare_models_entrypoint.contract import other_formats
from prepare_models_entrypoint.contract.external_data import files
from prepare_models_entrypoint.contract.external_errors import ExternalDataError
from prepare_models_entrypoint.contract.files import open_regular, sha256_file
from prepare_models_entrypoint.contract.source import Source
from prepare_models_entrypoint.contract.values import Value
from prepare_models_entrypoint.contract.verification import SampleConfig

from ..errors import HostError
from ..manifest.model import ModelSpec
from .document import LockedFile

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


def external_data(source: str, base: Path) -> Wanted:
    """Return the weights file at a source next to a fetched model."""
    return _source("external_data", source, None, base)


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
