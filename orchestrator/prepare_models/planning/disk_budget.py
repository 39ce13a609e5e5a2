"""The room that a run needs on each disk before anything is fetched or built: what is certain, what is estimated."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from prepare_models_entrypoint.contract import downloads, sizes
from prepare_models_entrypoint.contract.conversion import OnnxConfig
from prepare_models_entrypoint.contract.external_errors import ExternalDataError
from prepare_models_entrypoint.contract.source import Source
from prepare_models_entrypoint.contract.values import Value

from ..support.file_digests import Digests
from ..support.page import Message
from ..support.paths import contents_dir
from .planned import BUILD, REBUILD, PlannedModel

# Measured with TensorRT-RTX on three networks of 3.5 to 346 MB: an engine is 1.00 to 1.02 times its fp32 source, half
# of that in fp16 and bf16, and up to 1.5 MB more. Other precisions are taken for fp32.
_FACTOR, _REST = 1.02, 2_000_000
_SHARE = {"fp16": 0.5, "bf16": 0.5}
_HINT = (
    "free disk space there, such as with prepare-models cache prune --unused 7, or choose another disk with "
    "--models-dir and PREPARE_MODELS_CACHE_DIR"
)
DOWNLOADS, REWRITTEN, ENGINES = "downloads", "the rewritten model", "engines"


class Need(NamedTuple):
    """Bytes that a model takes at a place, by an estimate. sha256: of a download, whose size is certain."""

    place: Path
    what: str
    bytes: int
    sha256: str = ""


class Disk(Value):
    """What a run takes on one disk, all in bytes. needed: by what takes it. certain: the part that is no estimate."""

    place: str
    free: int
    certain: int
    needed: dict[str, int]

    def problem(self) -> Message | None:
        """Return the error that it is too full, or the warning that it probably is."""
        total = sum(self.needed.values())
        if total <= self.free:
            return None
        parts = ", ".join(f"{sizes.readable(each)} for {what}" for what, each in self.needed.items())
        sure = self.certain > self.free
        needed = f"at least {sizes.readable(self.certain)}" if sure else f"about {sizes.readable(total)}"
        message = f"{needed} needed ({parts}), {sizes.readable(self.free)} free"
        return Message("error" if sure else "warning", "disk-full", self.place, message, _HINT)


def of_run(planned: Iterable[PlannedModel], digests: Digests) -> list[Disk]:
    """Return the disks that a run writes to. What is only there while one model is built counts for the largest."""
    return _by_disk(need for model in planned for need in of_model(model, digests))


def of_model(planned: PlannedModel, digests: Digests) -> Iterator[Need]:
    """Yield what building a model takes. Of a source whose size nobody knows yet there is nothing to say."""
    if planned.action not in (BUILD, REBUILD):
        return
    spec, cache = planned.spec, contents_dir()
    files = list(_sources(planned, digests))
    yield from (Need(cache, DOWNLOADS, size, sha256) for size, sha256 in files if size is not None and sha256)
    if any(size is None for size, _ in files):
        return
    graph = sum(size or 0 for size, _ in files) * _SHARE.get(spec.precision, 1.0)
    if spec.precision != "fp32" or spec.onnx != OnnxConfig():
        yield Need(cache, REWRITTEN, int(graph))
    yield Need(planned.output_dir, ENGINES, int(graph * _FACTOR) + _REST)


def _sources(planned: PlannedModel, digests: Digests) -> Iterator[tuple[int | None, str]]:
    """Yield the size of the model and of each of its weights files, and the sha256 of what has to be fetched."""
    spec = planned.spec
    path = Source.of(spec.source).path
    if path is not None:
        try:
            for file in (path, *digests.weights_files(path)):
                yield file.stat().st_size, ""
        except (OSError, UnicodeError, ExternalDataError):
            yield None, ""
        return
    of_model = spec.sha256 or digests.of_source(Source.of(spec.source).id)
    for sha256 in (of_model or "", *spec.pins.sha256.values()):
        blob = downloads.blob(contents_dir() / "downloads", sha256)
        yield (blob.stat().st_size, "") if blob.is_file() else (spec.sizes.get(sha256), sha256)


def _by_disk(needs: Iterable[Need]) -> list[Disk]:
    places: dict[int, Path] = {}
    needed: dict[int, dict[str, int]] = {}
    fetched: set[str] = set()
    for need in needs:
        if need.sha256 in fetched:
            continue  # several models are made from it
        fetched |= {need.sha256} - {""}
        there = next(place for place in (need.place.absolute(), *need.place.absolute().parents) if place.exists())
        disk = os.stat(there).st_dev
        places.setdefault(disk, there)
        known = needed.setdefault(disk, {})
        before = known.get(need.what, 0)
        known[need.what] = max(before, need.bytes) if need.what == REWRITTEN else before + need.bytes
    for known in needed.values():
        if DOWNLOADS in known:  # what unfinished ones take already goes on where it ended
            parts = (contents_dir() / "downloads" / "parts").glob("*.part")
            known[DOWNLOADS] = max(0, known[DOWNLOADS] - sum(part.stat().st_blocks * 512 for part in parts))
    return [
        Disk(str(place), shutil.disk_usage(place).free, needed[disk].get(DOWNLOADS, 0), needed[disk])
        for disk, place in places.items()
    ]
