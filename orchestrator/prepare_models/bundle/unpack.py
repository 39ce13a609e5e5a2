"""Using a bundle: every byte is verified before any of it is used, and no network is needed."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from prepare_models_entrypoint.contract import schema
from prepare_models_entrypoint.contract.codec import ContractError
from prepare_models_entrypoint.contract.downloads import blob
from prepare_models_entrypoint.contract.fetch import Pins
from prepare_models_entrypoint.contract.files import read_small, remove_partials, sha256_file, sync, write_atomic
from prepare_models_entrypoint.contract.report import Origin
from prepare_models_entrypoint.contract.report import read as read_report
from prepare_models_entrypoint.contract.shared_files import share_file
from prepare_models_entrypoint.contract.source import Source
from prepare_models_entrypoint.contract.values import Value

from ..errors import BundleError
from ..lock.document import Lock
from ..lock.document import parse as parse_lock
from ..lock.make import Wanted, pinnable
from ..lock.pins import fetched_pins
from ..manifest.load import load as load_manifest
from ..manifest.model import Manifest, ModelSpec
from ..running.connection import ConnectionSpec
from ..running.fetch_process import fetch_sources
from ..signing import releases
from ..signing.trust import KeyList
from ..store.local import open_store
from ..support.os_errors import writing
from ..support.paths import cache_dir, contents_dir, enter_scope
from . import FOLDER, ORIGIN, SCOPE, share
from .archive import Reader, Sink, damaged, opened
from .contents import OnBytes, check_room, image_archive, spool
from .index import BundledImage, BundledModel, Content, Index, ModelFile


class Site(Value):
    """The contents of an unpacked bundle: models whose sources are all local and pinned, their lock, and images.

    hold: descriptor that keeps them in place while it is open.
    """

    manifest: Manifest
    lock: Lock
    index: Index
    folder: Path
    hold: int

    def image(self, platform: str | None) -> BundledImage | None:
        """Return the image for a platform; without a name, the only image.

        Raises:
            BundleError: there are several, or none for the platform.
        """
        found = [image for image in self.index.images if platform in (None, image.platform)]
        if len(found) == 1:
            return found[0]
        if not found and platform is None:
            return None
        names = ", ".join(image.platform for image in self.index.images) or "none"
        raise BundleError("bundle-image", f"the bundle's images: {names}", hint="name one of them with --platform")


def tree_path(spec: ModelSpec, file: Wanted, here: Path) -> str:
    """Return where a local file of a model is put: external data stays at the same place relative to the model."""
    if file.role == "external_data":
        inner = here.relative_to((Source.of(spec.source).path or here).parent).as_posix()
        return f"{spec.name}/model/{inner}"
    if file.role == "plugin":
        number = [plugin.file for plugin in spec.plugins].index(file.source)
        return f"{spec.name}/plugin/{number}/{here.name}"
    return f"{spec.name}/{file.role}/{here.name}"


def verify(bundle: Path, bases: Sequence[Path], keys: KeyList | None, on_bytes: OnBytes) -> tuple[Index, str | None]:
    """Read a whole bundle, and the bundles that it needs; return its index, and the id of the key that signed it.

    Raises:
        BundleError: a byte differs from what was written, or a part is missing.
        SignatureError: keys are given and none of them signed it, or a newer edition was accepted before.
    """
    index, signed = _verified(bundle, keys, on_bytes, lambda _, __: None)
    _check_bases(index, [_verified(base, None, on_bytes, lambda _, __: None)[0] for base in bases])
    return index, signed.keyid if signed else None


def read_index(bundle: Path) -> Index:
    """Return the index of a bundle; only the index's own digest is checked."""
    with opened(bundle) as stream:
        return Reader(stream).index


def unpack(
    bundle: Path,
    bases: Sequence[Path],
    keys: KeyList | None,
    on_bytes: OnBytes,
    wants: Callable[[BundledImage], bool],
    *,
    accepts: bool = True,
) -> Site:
    """Verify a bundle and put its contents where a run finds them.

    ``bases``: bundles that it was made on top of. ``keys``: one of them must have signed it; None for no check.
    ``on_bytes``: called with how many bytes are verified, and of how many. ``wants``: whether an image's content is
    needed; it is then in ``folder/images``. ``accepts``: whether to refuse older signed editions from now on.

    Raises:
        BundleError: it is damaged or incomplete.
        SignatureError: none of the keys signed it, or a newer edition was accepted before.
        HostError: the disk is full, or not writable.
    """
    root = cache_dir() / FOLDER
    with contextlib.ExitStack() as stack:
        stack.enter_context(writing(cache_dir(), "choose another with PREPARE_MODELS_CACHE_DIR=DIR"))
        root.mkdir(parents=True, exist_ok=True)
        work = stack.enter_context(contextlib.closing(_Work(stack.enter_context(spool(root / "unpacked")), wants)))
        index, signed = _verified(bundle, keys, on_bytes, work.sink)
        _check_bases(
            index, [_verified(base, None, on_bytes, lambda _, each: work.sink(index, each))[0] for base in bases]
        )
        work.close()
        if signed is not None and accepts:
            releases.accept(signed)
        return _settled(index, work, wants, signed.keyid if signed else None)


def load_image(site: Site, image: BundledImage) -> None:
    """Load an image into the container engine, if missing there, and check that it is the one that was saved."""
    from ..docker.container import Containers

    containers = Containers()
    if containers.image(image.id) is None:
        containers.load(image_archive(image, lambda digest: site.folder / "images" / digest))
    shutil.rmtree(site.folder / "images", ignore_errors=True)
    if containers.image(image.id) is None:
        raise BundleError(
            "bundle-image", f"the engine loaded {image.reference}, but not as {image.id}",
            hint="engines with another kind of image store name images differently; use the same kind on both sides",
        )  # fmt: skip


def _verified(
    bundle: Path, keys: KeyList | None, on_bytes: OnBytes, sink_of: Callable[[Index, Content], Sink | None]
) -> tuple[Index, releases.Signed | None]:
    done = 0

    def tell(count: int) -> None:
        nonlocal done
        done += count
        on_bytes(done, max(total, done))  # the size of a pipe is unknown

    with opened(bundle) as stream:
        total = bundle.stat().st_size
        reader = Reader(stream, tell)
        digest = hashlib.sha256(reader.index_bytes).hexdigest()
        signed = releases.check(releases.BUNDLE, bundle, digest, keys) if keys is not None else None
        for _ in reader.walk(lambda content: sink_of(reader.index, content)):
            pass
        return reader.index, signed


def _check_bases(index: Index, bases: Sequence[Index]) -> None:
    missing = set(index.bases) - {base.digest for base in bases}
    if missing:
        raise BundleError(
            "bundle-incomplete", f"the bundle was made on top of {len(index.bases)} other(s), {len(missing)} not given",
            hint="give each with --base FILE",
        )  # fmt: skip
    there = {content.sha256 for base in bases for content in base.contents if not content.base}
    if not {content.sha256 for content in index.contents if content.base} <= there:
        raise BundleError(
            "bundle-incomplete", "a base lacks contents: it has a base itself", hint="give that base as well"
        )


class _Work:
    """A directory that receives the needed contents, by their digests. None is used before all are verified."""

    def __init__(self, folder: Path, wants: Callable[[BundledImage], bool]) -> None:
        self._folder, self._wants = folder, wants
        self._needed: set[str] | None = None
        self._stream: BinaryIO | None = None

    def path(self, digest: str) -> Path:
        """Return the path of a content."""
        return self._folder / digest

    def sink(self, index: Index, content: Content) -> Sink | None:
        """Return what receives a content's bytes, or None if it is not needed."""
        if self._needed is None:
            self._needed = _needed(index, self._wants)
            size = sum(content.bytes for content in index.contents if content.sha256 in self._needed)
            hint = "free disk space there, or set PREPARE_MODELS_CACHE_DIR to a disk with enough space"
            check_room(self._folder, size, "unpacks to", hint=hint)
        if content.sha256 not in self._needed:
            return None
        self.close()
        self._stream = self.path(content.sha256).open("wb")
        return self._stream.write

    def close(self) -> None:
        """Flush the unfinished content to the disk."""
        if self._stream is not None:
            sync(self._stream)
            self._stream.close()
            self._stream = None


def _needed(index: Index, wants: Callable[[BundledImage], bool]) -> set[str]:
    """Return the digests of the contents that a run needs."""
    files = {file.sha256 for model in index.models for file in model.files}
    layers = {file.sha256 for image in index.images if wants(image) for file in image.files if file.sha256}
    engines = {engine.record for engine in index.engines}
    engines |= {file.sha256 for engine in index.engines for file in engine.files}
    timing = {cache.sha256 for cache in index.timing}
    return {index.manifest.sha256, index.lock.sha256, *timing, *engines, *files, *layers}


def _settled(index: Index, work: _Work, wants: Callable[[BundledImage], bool], signed_by: str | None) -> Site:
    """Put verified contents in their places within the bundle's own scope, and return what a run needs to know.

    Raises:
        BundleError: the models are not those of the manifest.
    """
    origin = Origin(bundle=index.digest, signed_by=signed_by, store=None)
    folder = cache_dir() / FOLDER / index.digest[:16]
    hold = share(folder)
    enter_scope(origin, folder / SCOPE)
    write_atomic(folder / ORIGIN, json.dumps(origin).encode("ascii"))
    for model in index.models:
        for file in model.files:
            if file.path is None:
                _put(work.path(file.sha256), blob(contents_dir() / "downloads", file.sha256))
            else:
                _put(work.path(file.sha256), folder / "models" / file.path)
    for cache in index.timing:
        place = contents_dir() / "timing" / cache.name
        if not place.exists():  # what was measured here takes precedence
            _put(work.path(cache.sha256), place, link=False)
    for image in index.images:
        for layer in image.files if wants(image) else ():
            if layer.sha256 is not None:
                _put(work.path(layer.sha256), folder / "images" / layer.sha256)
    _store_engines(index, work, origin)
    _put(work.path(index.manifest.sha256), folder / index.manifest.name)
    lock = parse_lock(read_small(work.path(index.lock.sha256), largest=schema.LARGEST_DOCUMENT), index.lock.name)
    loaded = load_manifest(folder / index.manifest.name)
    if len(loaded.models) != len(index.models):
        raise damaged("its manifest and its index name different models")
    models = tuple(
        replace(
            _here(spec, model, folder / "models"),
            pins=fetched_pins(spec, lock, loaded.path.absolute().parent),
            engines=lock.engine_digests(spec.name),
        )
        for spec, model in zip(loaded.models, index.models, strict=True)
    )
    _take_into_store(models)
    return Site(replace(loaded, models=models), lock, index, folder, hold)


def _take_into_store(models: Sequence[ModelSpec]) -> None:
    """Make the entrypoint find what the store has under the names of its sources. It uses no network for that."""
    pairs = [(spec.source, spec.sha256) for spec in models]
    pairs += [(spec.calibration_cache, spec.calibration_sha256) for spec in models if spec.calibration_cache]
    remote = [(ConnectionSpec(), source, sha256) for source, sha256 in pairs if Source.of(source).path is None]
    if remote:
        pins = Pins.together(spec.pins for spec in models)
        fetch_sources(remote, on_event=lambda _: None, offline=True, pins=pins)


def _store_engines(index: Index, work: _Work, origin: Origin) -> None:
    """Put engines into the scope's store, which verifies their records and bytes again before it returns one."""
    store = open_store()
    for engine in index.engines:
        stored = store.find(engine.key)
        if stored is not None and stored.record["origin"] == origin:
            continue
        try:
            record = read_report(schema.load(work.path(engine.record)))
            if record["build_key"] != engine.key:
                raise ContractError("it belongs to another engine")
            record["origin"] = origin
            with store.turn(engine.key, cache_dir()):
                store.put(record, {file.name: work.path(file.sha256) for file in engine.files})
        except (ValueError, LookupError) as error:
            raise damaged(f"the record of the engine {engine.key[:16]}: {error}") from None


def _put(content: Path, place: Path, *, link: bool = True) -> None:
    """Give a content a name. A file that is already right stays: another run may be reading it."""
    if place.is_file() and sha256_file(place) == content.name:
        return
    place.parent.mkdir(parents=True, exist_ok=True)
    remove_partials(place.parent, of=place.name)  # left by a killed run
    share_file(content, place, link=link)


def _here(spec: ModelSpec, model: BundledModel, models: Path) -> ModelSpec:
    """Return a model with every local file at its unpacked path, every file pinned, and no network settings."""
    files, place = model.files, models / model.name
    _check_files(spec, files)
    if len(spec.plugins) != sum(file.role == "plugin" for file in files):
        raise damaged(f"{spec.name} has other plugins than its manifest names")
    digests = {file.role: file.sha256 for file in files}
    local = {file.role: str(models / file.path) for file in files if file.path is not None}
    plugins = [str(models / file.path) for file in files if file.role == "plugin" and file.path is not None]
    calibration, verify = spec.calibration, spec.verify
    if calibration is not None:
        calibration = replace(calibration, images=str(place / "calibration_samples"))
    if verify is not None:
        images = replace(verify.images, images=str(place / "verification_samples")) if verify.images else None
        verify = replace(verify, images=images, npz=local.get("verification_arrays"))
    return replace(
        spec,
        source=local.get("model", spec.source),
        sha256=digests["model"],
        calibration_cache=local.get("calibration_cache", spec.calibration_cache) if spec.calibration_cache else None,
        calibration_sha256=digests["calibration_cache"] if spec.calibration_cache else None,
        plugins=tuple(replace(plugin, file=file) for plugin, file in zip(spec.plugins, plugins, strict=True)),
        calibration=calibration,
        verify=verify,
        network=ConnectionSpec(),
    )


def _check_files(spec: ModelSpec, files: Sequence[ModelFile]) -> None:
    """Refuse a model that needs another file here because a ``${VAR}`` of the manifest has another value."""
    carried = {file.role for file in files if file.path is not None}
    downloads = {file.role for file in files if file.path is None}
    for file in pinnable(spec, Path()):
        if file.role not in carried | (set() if Source.of(file.source).path is not None else downloads):
            raise BundleError(
                "bundle-incomplete",
                f"{spec.name}: {file.role.replace('_', ' ')} {file.label} is not in the bundle",
                hint="give the manifest's ${VAR}s the values they had where the bundle was made, "
                "or make a bundle with these values",
            )
