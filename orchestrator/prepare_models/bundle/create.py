"""Making a bundle on a connected machine."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

from prepare_models_entrypoint.contract.fetch import Pins
from prepare_models_entrypoint.contract.source import Source
from prepare_models_entrypoint.contract.values import Value

from .. import __version__
from ..errors import LockError, UsageError
from ..executors import choice
from ..lock.document import Lock, LockedFile, facts_of_image, path_of
from ..lock.make import fetched_weights, sample_sets, source_id_of, wanted
from ..lock.pins import drift_of_platform, fetched_pins, load, refuse
from ..machine.platforms import Platform
from ..manifest.model import Manifest, ModelSpec, require_terms
from ..planning.planner import built
from ..running.fetch_process import OnEvent, fetch_sources
from ..signing import releases
from ..signing.envelopes import Signer
from ..support.os_errors import writing
from ..support.paths import cache_dir
from . import wheels
from .contents import Contents, OnBytes, add_image, check_room, spool
from .index import BundledEngine, BundledImage, BundledModel, Index, ModelFile, Named
from .unpack import read_index, tree_path


class Order(Value):
    """What a bundle should contain.

    manifest: its path; a lock is next to it. target: where the bundle goes. platforms: rows of the table, each with
    the name of its image. bases: bundles whose contents need not be repeated. wheels: the Python that installs the
    tool; None for no wheels. extras: extras of the tool. given_wheels: a directory of wheels. timing: whether to
    include timing caches, and engines of this machine's store. signer: private key; None for no signature. series and
    counter: which edition of what it signs.
    """

    manifest: Path
    target: Path
    platforms: Sequence[tuple[Platform, str]] = ()
    bases: Sequence[Path] = ()
    wheels: wheels.Target | None = None
    extras: frozenset[str] = frozenset()
    given_wheels: Path | None = None
    timing: bool = False
    engines: bool = False
    signer: Signer | None = None
    series: str = ""
    counter: int | None = None
    accept_eula: bool = False


def create(
    order: Order, *, on_event: OnEvent, on_measured: Callable[[int], None], on_written: OnBytes
) -> tuple[Index, list[Path]]:
    """Write a bundle and return its index and its files.

    ``on_event`` hears of downloads; ``on_measured`` gets the bytes that were hashed and compressed; ``on_written`` how
    many are written, and of how many.

    Raises:
        LockError: the manifest, its files or a platform differ from the lock.
        SourcesError: sources can't be fetched.
        BundleError: something changed meanwhile, or a wheel is not available.
        HostError: the disk is full, or not writable.
    """
    manifest, lock = load(order.manifest, locked=True)
    if lock is None:
        raise UsageError(f"{path_of(order.manifest)} doesn't exist", hint="run prepare-models lock first")
    require_terms(manifest.models, accepted=order.accept_eula)
    bases = [read_index(base) for base in order.bases]
    base = {content.sha256: content for index in bases for content in index.contents}
    with writing(order.target, "choose another with -o FILE"):
        with spool(order.target) as folder:
            _check_room(folder, sum(file.bytes for files in lock.models.values() for file in files))
            contents = Contents(folder, base, on_measured)
            index = _gathered(order, (manifest, lock), contents, on_event, folder)
            index = replace(index, bases=tuple(each.digest for each in bases), contents=contents.index)
            contents.write(index, order.target, on_written)
        files = [order.target]
        if order.signer is not None:
            edition = releases.edition(releases.BUNDLE, index.digest, order.series, order.counter)
            files.append(releases.sign(order.target, edition, order.signer))
    return index, files


def _gathered(order: Order, locked: tuple[Manifest, Lock], contents: Contents, on_event: OnEvent, work: Path) -> Index:
    manifest, lock = locked
    base = manifest.path.absolute().parent
    digests = {(name, file.place): file.sha256 for name, files in lock.models.items() for file in files}
    remote = [  # what is not just a local file
        (spec.network, file.source, digests[spec.name, file.place])
        for spec in manifest.models
        for file in wanted(spec, base)
        if file.fetched
    ]
    pins = Pins.together(fetched_pins(spec, lock, base) for spec in manifest.models)
    results = fetch_sources(remote, on_event=on_event, pins=pins)
    fetched = {name: Path(result["path"] or "").resolve() for name, result in results.items()}
    models = tuple(
        BundledModel(spec.name, tuple(_model(spec, manifest, lock, fetched, contents))) for spec in manifest.models
    )
    taken = wheels.collect(order.wheels, order.extras, order.given_wheels, work) if order.wheels else []
    timing = sorted((cache_dir() / "timing").glob("*.cache")) if order.timing else []
    return Index(
        tool=__version__,
        manifest=Named(order.manifest.name, contents.add(order.manifest)),
        lock=Named(path_of(order.manifest).name, contents.add_bytes(lock.to_json().encode("utf-8"))),
        models=models,
        images=tuple(_images(order, lock, contents, work)),
        wheels=tuple(Named(file.name, contents.add(file, as_it_is=True)) for file in taken),
        timing=tuple(Named(file.name, contents.add(file)) for file in timing if file.is_file()),
        engines=tuple(_engines(order, manifest, contents)),
    )


def _model(
    spec: ModelSpec, manifest: Manifest, lock: Lock, fetched: Mapping[str, Path], contents: Contents
) -> Iterator[ModelFile]:
    base = manifest.path.absolute().parent
    there: dict[tuple[str, str], LockedFile] = {file.place: file for file in lock.models[spec.name]}
    for file in wanted(spec, base):
        locked = there[file.place]
        if file.identifier is not None:
            contents.add(fetched[Source.of(file.source).id], locked.sha256)
            yield ModelFile(file.role, None, locked.sha256)
            continue
        here = fetched.get(Source.of(file.source).id) or Source.of(file.source).path or Path(file.source)
        contents.add(here, locked.sha256)
        yield ModelFile(file.role, tree_path(spec, file, here), locked.sha256)
    for weights in fetched_weights(spec, there.values()):
        identifier = source_id_of(weights, base)
        if identifier not in fetched:
            text = f"{spec.name}: {weights.role} {weights.source} is in the lock, but its model does not name it"
            raise LockError([text], hint=f"prepare-models lock {manifest.path} --update {spec.name}")
        contents.add(fetched[identifier], weights.sha256)
        place = None if weights.source_id is not None else _place_in_tree(spec, weights, base)
        yield ModelFile(weights.role, place, weights.sha256)
    for role, samples in sample_sets(spec):
        for sample in samples.samples():
            yield ModelFile(role, f"{spec.name}/{role}/{sample.name}", contents.add(sample))


def _place_in_tree(spec: ModelSpec, weights: LockedFile, base: Path) -> str:
    """Return where the weights of a local archive are put: at the same place relative to the model in it."""
    model = Source.of(spec.source)
    inner = PurePosixPath(Source.of(str(base / weights.source)).inner)
    return f"{spec.name}/model/{inner.relative_to(PurePosixPath(model.inner).parent).as_posix()}"


def _engines(order: Order, manifest: Manifest, contents: Contents) -> Iterator[BundledEngine]:
    """Yield the store's engines that a run here would use for the manifest's models."""
    if not order.engines:
        return
    for spec, entry in built(manifest, choice.pick("auto").describe()):
        digest, found = spec.engines.get(entry.key), entry.record["engine"]
        if digest is not None and found is not None and found["sha256"] != digest:
            raise LockError(
                [f"{spec.name}: the engine has sha256 {found['sha256']}, the lock has {digest}"],
                hint=f"if intended: prepare-models lock {order.manifest} --engines; then review the diff",
            )
        record = contents.add_bytes(json.dumps(entry.record, sort_keys=True).encode("utf-8"))
        files = tuple(Named(name, contents.add(file)) for name, file in sorted(entry.files.items()))
        yield BundledEngine(entry.key, record, files)


def _images(order: Order, lock: Lock, contents: Contents, work: Path) -> Iterator[BundledImage]:
    if not order.platforms:
        return
    from ..docker.container import Containers

    containers = Containers()
    for row, reference in order.platforms:
        image = containers.needed(reference, row.name)
        refuse(drift_of_platform(lock, *facts_of_image(row, image)), order.manifest)
        _check_room(work, 2 * image.bytes)  # as the container engine exports it, and compressed
        yield add_image(containers, row, reference, image, contents)


def _check_room(folder: Path, size_bytes: int) -> None:
    check_room(folder, size_bytes, "needs another", hint="free disk space there, or choose another disk with -o FILE")
