"""The index of a bundle: what is in it, what for, and the sha256 of every member."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict, dataclass, field
from typing import Any

from ..errors import BundleError

VERSION = 1
_SHA256 = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True)
class Content:
    """Bytes that a bundle carries once, whatever they are used for.

    sha256, bytes: of the content. stored_sha256, stored_bytes: of the member, which zstd may have made smaller.
    base: the content is in the bundle that this one was made on top of, and not in this one.
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


@dataclass(frozen=True)
class ModelFile:
    """A file of a model. ``path``: where it is put for the run; None for a remote source, which becomes a download."""

    role: str
    path: str | None
    sha256: str


@dataclass(frozen=True)
class BundledModel:
    """A model, by the name that it had where the bundle was made."""

    name: str
    files: tuple[ModelFile, ...]


@dataclass(frozen=True)
class ImageFile:
    """An entry of an image's archive: a file (``sha256``), a link (``link``) or a directory (neither)."""

    path: str
    sha256: str | None = None
    link: str | None = None


@dataclass(frozen=True)
class BundledImage:
    """A container image. ``platform``: name in the table of platforms; ``machine``: x86_64 or aarch64."""

    platform: str
    machine: str
    reference: str
    id: str
    files: tuple[ImageFile, ...]


@dataclass(frozen=True)
class Named:
    """A file that goes by its name: a wheel, a timing cache."""

    name: str
    sha256: str


@dataclass(frozen=True)
class BundledEngine:
    """An engine of the store. ``key``: its build key; ``record``: sha256 of the report of its build."""

    key: str
    record: str
    files: tuple[Named, ...]


@dataclass(frozen=True)
class Index:
    """A bundle's table of contents.

    models: in the order of the manifest, whose names may be others where a ``${VAR}`` has another value.
    bases: digests of the indexes of the bundles that it needs beside itself.
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
        """Return the document; the same facts give the same bytes."""
        document = {"version": VERSION, **asdict(self)}
        return (json.dumps(document, sort_keys=True, indent=1) + "\n").encode("utf-8")

    @property
    def digest(self) -> str:
        """Return the sha256 of the document, which stands for the whole bundle."""
        return hashlib.sha256(self.to_bytes()).hexdigest()


def parse(data: bytes) -> Index:
    """Read an index whose digest is right.

    Raises:
        BundleError: it is one of a newer version.
    """
    try:
        raw: dict[str, Any] = json.loads(data)
        if raw["version"] != VERSION:
            raise BundleError(
                "bundle-version", f"the bundle is of version {raw['version']}, this tool reads {VERSION}",
                hint="use the tool whose wheels are in the bundle: prepare-models bundle ls",
            )  # fmt: skip
        index = Index(
            tool=raw["tool"],
            manifest=Named(**raw["manifest"]),
            lock=Named(**raw["lock"]),
            models=tuple(
                BundledModel(model["name"], tuple(ModelFile(**file) for file in model["files"]))
                for model in raw["models"]
            ),
            images=tuple(
                BundledImage(**{**image, "files": tuple(ImageFile(**file) for file in image["files"])})
                for image in raw["images"]
            ),
            wheels=tuple(Named(**wheel) for wheel in raw["wheels"]),
            timing=tuple(Named(**cache) for cache in raw["timing"]),
            engines=tuple(
                BundledEngine(**{**engine, "files": tuple(Named(**file) for file in engine["files"])})
                for engine in raw["engines"]
            ),
            bases=tuple(raw["bases"]),
            contents=tuple(Content(**content) for content in raw["contents"]),
        )
        _check_digests(index)
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise BundleError(
            "bundle-damaged", f"the index can't be read: {type(error).__name__}: {error}", hint="create the bundle anew"
        ) from None
    return index


def _check_digests(index: Index) -> None:
    """Check that digests are digests, as files are named after them, and that every one that is used is there."""
    known = {content.sha256 for content in index.contents}
    files = [file for model in index.models for file in model.files]
    digests = [entry.sha256 for entry in (index.manifest, index.lock, *index.wheels, *index.timing)]
    digests += [file.sha256 for file in files]
    digests += [digest for engine in index.engines for digest in (engine.record, *(f.sha256 for f in engine.files))]
    digests += [file.sha256 for image in index.images for file in image.files if file.sha256 is not None]
    if not all(_SHA256.fullmatch(digest) for digest in known) or not known.issuperset(digests):
        raise ValueError("a digest is none, or that of no content")
