"""The identity of the engine that a build would produce now, as far as known without fetching anything."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from prepare_models_entrypoint.contract import downloads, external_data
from prepare_models_entrypoint.contract.digest import Digest, Pending
from prepare_models_entrypoint.contract.environment import RuntimeInfo
from prepare_models_entrypoint.contract.identity import identity
from prepare_models_entrypoint.contract.report import ModelReport
from prepare_models_entrypoint.contract.source import Source

from ..manifest.model import ModelSpec
from ..support.file_digests import Digests
from ..support.paths import contents_dir


class SourceMissingError(Exception):
    """A local source doesn't exist."""


def expected_identity(
    spec: ModelSpec,
    runtime: RuntimeInfo,
    record: ModelReport | None,
    digests: Digests,
    is_read: Callable[[Path], bool] = lambda _: True,
) -> dict[str, object]:
    """Return the identity of the engine that a build would produce now.

    Digests of sources that must first be fetched or read are pending. ``record``: report of the existing engine, with
    the digests that its sources had when fetched. ``is_read``: called for a local model file; False leaves its digest
    pending.

    Raises:
        SourceMissingError: a local source doesn't exist.
        ExternalDataError: weights of a local model are missing, or outside the allowed directories.
        OSError: a local source can't be read.
    """
    path = Source.of(spec.source).path
    model_file = path if path is not None and path.is_file() else None
    unread = model_file is not None and spec.sha256 is None and not is_read(model_file)
    model = Pending.NOT_READ if unread else _digest(spec.source, spec.sha256, "model", record, digests)
    calibration: Digest | None = None
    if spec.calibration_cache is not None:
        calibration = _digest(spec.calibration_cache, spec.calibration_sha256, "calibration_cache", record, digests)
    elif spec.calibration is not None:
        calibration = spec.calibration.samples_sha256(digests.of)
    return identity(
        spec.job(Path()),
        runtime,
        model_sha256=model,
        calibration_sha256=calibration,
        samples_sha256=spec.verify.samples_sha256(digests.of) if spec.verify is not None else None,
        weights_sha256=_weights(spec, model, model_file, record, digests) if not unread else None,
    )


def _weights(
    spec: ModelSpec, model: Digest, model_file: Path | None, record: ModelReport | None, digests: Digests
) -> Digest | None:
    """Return the digest of a model's external data, or None without any.

    For a fetched model, the download store has the structure, which names the weights. If that is gone, the record has
    them; without a record, no engine of a model with weights is found, and it is built.
    """
    if model_file is not None:
        return digests.weights_of(model_file)
    blob = downloads.blob(contents_dir() / "downloads", model) if isinstance(model, str) else None
    named = digests.locations(blob) if blob is not None and blob.is_file() else ()
    sources = [source for location in named if (source := Source.of(spec.source).beside(location)) is not None]
    changed = changed_at(Source.of(spec.source))
    found = [spec.pins.sha256.get(source.id) or digests.of_source(source.id, since=changed) for source in sources]
    if found and all(found):
        return external_data.combined(digest for digest in found if digest)
    recorded = record["identity"] if record is not None else None
    if recorded is None or recorded["model_sha256"] != model:
        return Pending.NOT_FETCHED if named else None
    others = [each for each in record["materials"] if each["role"] == "external_data"] if record else []
    if any(spec.pins.sha256.get(each["source_id"], each["sha256"]) != each["sha256"] for each in others):
        return Pending.NOT_FETCHED
    weights: str | None = recorded["weights_sha256"]
    is_newer = changed and record is not None and _is_newer(changed, record)
    return Pending.ARCHIVE_CHANGED if weights is not None and is_newer else weights


def _digest(source: str, pinned: str | None, role: str, record: ModelReport | None, digests: Digests) -> Digest:
    """Return the digest that a source has (local file), must have (pinned) or had when fetched."""
    if pinned is not None:
        return pinned
    path = Source.of(source).path
    if path is not None and not path.is_file():
        raise SourceMissingError(source)
    if path is not None:
        return digests.of(path)
    archive = Source.of(source).outer.path
    if archive is not None and not archive.is_file():
        raise SourceMissingError(source)
    changed = changed_at(Source.of(source))
    known = digests.of_source(Source.of(source).id, since=changed)
    if known is not None:
        return known
    if record is None:
        return Pending.NOT_FETCHED
    if archive is not None and _is_newer(changed, record):
        return Pending.ARCHIVE_CHANGED
    for material in record["materials"]:
        if material["role"] == role and material["source_id"] == Source.of(source).id:
            return material["sha256"]
    return Pending.NOT_FETCHED


def changed_at(source: Source) -> float:
    """Return when a local file, or the local archive of a source, was last changed, in epoch seconds; else 0."""
    return source.outer.path.stat().st_ctime if source.outer.path else 0.0


def _is_newer(changed: float, record: ModelReport) -> bool:
    """Return whether an archive was put in place, or modified, after the engine was built."""
    engine = record["engine"]
    return engine is None or changed > Path(engine["path"]).stat().st_mtime
