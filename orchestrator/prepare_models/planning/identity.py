"""The identity of the engine that a build would give now, from what is known without fetching anything."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from prepare_models_entrypoint.contract.identity import identity
from prepare_models_entrypoint.contract.report import ModelReport, RuntimeInfo
from prepare_models_entrypoint.contract.source import local_path, member_of, source_id

from ..manifest.model import ModelSpec
from ..running.jobs import model_job
from ..support.file_digests import Digests

NOT_FETCHED = "not fetched yet"
NOT_READ = "not read yet"
ARCHIVE_CHANGED = "in an archive that changed"


class SourceMissingError(Exception):
    """A local source is not there."""


def expected_identity(
    spec: ModelSpec,
    runtime: RuntimeInfo,
    record: ModelReport | None,
    digests: Digests,
    is_read: Callable[[Path], bool] = lambda _: True,
) -> dict[str, object]:
    """Return the identity of the engine that a build would give now.

    The digest of a source that must be fetched or read first is told in words; ``is_known`` tells these apart.

    Args:
        spec: the model.
        runtime: environment that would build.
        record: of the engine that is there; it knows what the sources were when they were fetched.
        digests: what is known of files and sources.
        is_read: asked for a local model file; False leaves its digest open.

    Raises:
        SourceMissingError: a local source is not there.
        ExternalDataError: weights that belong to a local model are not there, or lie elsewhere than they may.
        OSError: a local source can't be read.
    """
    path = local_path(spec.source)
    model_file = path if path is not None and path.is_file() else None
    unread = model_file is not None and spec.sha256 is None and not is_read(model_file)
    model = NOT_READ if unread else _digest(spec.source, spec.sha256, "model", record, digests)
    calibration = None
    if spec.calibration_cache is not None:
        calibration = _digest(spec.calibration_cache, spec.calibration_sha256, "calibration_cache", record, digests)
    elif spec.calibration is not None:
        calibration = spec.calibration.samples_sha256(digests.of)
    return identity(
        model_job(spec, output_dir=Path()),
        runtime,
        model_sha256=model,
        calibration_sha256=calibration,
        weights_sha256=digests.weights_of(model_file) if model_file is not None and not unread else None,
    )


def is_known(fields: dict[str, object]) -> bool:
    """Tell whether an identity is whole: not empty, and no source must be fetched or read first."""
    unknown = {NOT_FETCHED, NOT_READ, ARCHIVE_CHANGED}
    return bool(fields) and not {fields["model_sha256"], fields["calibration_sha256"]} & unknown


def _digest(source: str, pinned: str | None, role: str, record: ModelReport | None, digests: Digests) -> str:
    """Return the digest that a source has (local file), must have (pinned) or had when it was fetched."""
    if pinned is not None:
        return pinned
    path = local_path(source)
    if path is not None and not path.is_file():
        raise SourceMissingError(source)
    if path is not None:
        return digests.of(path)
    member = member_of(source)
    archive = local_path(member.archive) if member else None
    if archive is not None and not archive.is_file():
        raise SourceMissingError(source)
    changed = archive.stat().st_ctime if archive else 0.0
    known = digests.of_source(source_id(source), since=changed)
    if known is not None:
        return known
    if record is None:
        return NOT_FETCHED
    if archive is not None and _is_newer(changed, record):
        return ARCHIVE_CHANGED
    for material in record["materials"]:
        if material["role"] == role and material["source_id"] == source_id(source):
            return material["sha256"]
    return NOT_FETCHED


def _is_newer(changed: float, record: ModelReport) -> bool:
    """Tell whether an archive came to its place, or was written to, after the engine was built."""
    engine = record["engine"]
    return engine is None or changed > Path(engine["path"]).stat().st_mtime
