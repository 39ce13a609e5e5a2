"""The index of a bundle: what is in it and what for, and the sha256 of every member."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, field

from prepare_models_entrypoint.contract import schema
from prepare_models_entrypoint.contract.codec import ContractError
from prepare_models_entrypoint.contract.digest import is_sha256
from prepare_models_entrypoint.contract.values import Value

from ..errors import BundleError
from ..store import FILES as ENGINE_FILES

VERSION = 1
MOST_UNPACKED = 500  # files that compress better are stored as they are, so that a few bytes never fill the disk
LARGEST_TIMING_CACHE = 512 << 20


class Content(Value):
    """Bytes that a bundle contains once, whatever they are used for.

    sha256, bytes: of the content. stored_sha256, stored_bytes: of the member, which may be compressed by zstd.
    base: whether the content is only in the bundle that this one was made on top of.
    """

    sha256: str
    bytes: int
    stored_sha256: str
    stored_bytes: int
    zstd: bool = False
    base: bool = False

    @property
    def name(self) -> str:
        """Return the name of the member."""
        return f"content/{self.sha256}" + (".zst" if self.zstd else "")


class ModelFile(Value):
    """A file of a model. ``path``: where it is put for the run; None for a remote source, which is a download."""

    role: str
    path: str | None
    sha256: str


class BundledModel(Value):
    """A model, by its name when the bundle was made."""

    name: str
    files: tuple[ModelFile, ...]


class ImageFile(Value):
    """An entry of an image's archive: a file (``sha256``), a link (``link``) or a directory (neither)."""

    path: str
    sha256: str | None = None
    link: str | None = None


class BundledImage(Value):
    """A container image. ``platform``: name in the table of platforms; ``machine``: x86_64 or aarch64."""

    platform: str
    machine: str
    reference: str
    id: str
    files: tuple[ImageFile, ...]


class Named(Value):
    """A file known by its name: a wheel, a timing cache."""

    name: str
    sha256: str


class BundledEngine(Value):
    """An engine from the store. ``key``: its build key; ``record``: sha256 of the report of its build."""

    key: str
    record: str
    files: tuple[Named, ...]


class Index(Value):
    """A bundle's table of contents.

    models: in the order of the manifest, whose names may differ where a ``${VAR}`` has another value.
    bases: digests of the indexes of other bundles that it needs.
    """

    tool: str
    manifest: Named
    lock: Named
    models: tuple[BundledModel, ...]
    images: tuple[BundledImage, ...] = ()
    wheels: tuple[Named, ...] = ()
    timing: tuple[Named, ...] = ()
    engines: tuple[BundledEngine, ...] = ()
    bases: tuple[str, ...] = ()
    contents: tuple[Content, ...] = field(default=())

    def to_bytes(self) -> bytes:
        """Return the serialized document; equal indexes give equal bytes."""
        document = {"version": VERSION, **asdict(self)}
        return (json.dumps(document, sort_keys=True, indent=1) + "\n").encode("utf-8")

    @property
    def digest(self) -> str:
        """Return the sha256 of the document, which identifies the whole bundle."""
        return hashlib.sha256(self.to_bytes()).hexdigest()


def parse(data: bytes) -> Index:
    """Read an index whose digest is right. Nothing in it is trusted: each name and path is checked here.

    Raises:
        BundleError: it is of another version, or not an index.
    """
    try:
        raw = schema.loads(data)
        version = raw.pop("version", None) if isinstance(raw, dict) else None
        if version != VERSION:
            raise BundleError(
                "bundle-version", f"the bundle has version {version}, but this tool reads {VERSION}",
                hint="use the version of the tool that the bundle has wheels of: prepare-models bundle ls",
            )  # fmt: skip
        index = schema.read(Index, raw, "index")
        _check_names(index)
        _check_contents(index)
    except ContractError as error:
        raise BundleError(
            "bundle-damaged", f"the index can't be read: {error}", hint="create the bundle again"
        ) from None
    return index


def inner(path: str) -> str:
    """Return ``path`` if it stays below any directory that it is joined to.

    Raises:
        ContractError: it would lead out of it.
    """
    parts = path.split("/")
    if not all(parts) or {".", ".."} & set(parts) or not path.isprintable():
        raise ContractError(f"the path {path!r} leads out of its directory")
    return path


def _plain(name: str) -> None:
    if "/" in inner(name) or name.startswith("."):
        raise ContractError(f"{name!r} is not a file name")


def _check_names(index: Index) -> None:
    """Refuse a name that would become a path outside its directory."""
    for named in (index.manifest, index.lock, *index.wheels, *index.timing):
        _plain(named.name)
    for model in index.models:
        _plain(model.name)
        for file in model.files:
            if file.path is not None and not inner(file.path).startswith(f"{model.name}/"):
                raise ContractError(f"the path {file.path!r} is not one of the model {model.name}")
    for engine in index.engines:
        _digest(engine.key)
        if not {file.name for file in engine.files} <= set(ENGINE_FILES):
            raise ContractError(f"the engine {engine.key[:16]} has a file that engines don't have")
    for image in index.images:
        for entry in image.files:
            inner(entry.path.rstrip("/"))
    if len({model.name for model in index.models}) != len(index.models):
        raise ContractError("two models have the same name")


def _check_contents(index: Index) -> None:
    """Check that files are named after digests, that all used ones exist, and that none is oversized."""
    known = {content.sha256: content for content in index.contents}
    for content in index.contents:
        _digest(content.sha256)
        _digest(content.stored_sha256)
        if min(content.bytes, content.stored_bytes) < 0:
            raise ContractError(f"content {content.sha256[:16]}: its size is negative")
        if content.zstd and content.bytes > MOST_UNPACKED * content.stored_bytes:
            raise ContractError(f"content {content.sha256[:16]} unpacks to more than {MOST_UNPACKED} times its size")
    small = [index.manifest.sha256, index.lock.sha256, *(engine.record for engine in index.engines)]
    used = [file.sha256 for model in index.models for file in model.files]
    used += [file.sha256 for engine in index.engines for file in engine.files]
    used += [file.sha256 for image in index.images for file in image.files if file.sha256 is not None]
    used += [named.sha256 for named in (*index.wheels, *index.timing)]
    missing = [digest for digest in (*small, *used) if digest not in known]
    if missing:
        raise ContractError(f"{missing[0][:64]!r} is the digest of no content")
    for digest in small:
        if known[digest].bytes > schema.LARGEST_DOCUMENT:
            raise ContractError(f"content {digest[:16]}: {known[digest].bytes} bytes are too large for a document")
    for named in index.timing:
        if known[named.sha256].bytes > LARGEST_TIMING_CACHE:
            raise ContractError(f"{named.name}: {known[named.sha256].bytes} bytes are too large for a timing cache")
    for base in index.bases:
        _digest(base)


def _digest(text: str) -> None:
    if not is_sha256(text):
        raise ContractError(f"{text[:64]!r} is not a sha256")
