"""Container images in a bundle: the container engine's archive, file by file, so that images share common files."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, cast

from ..docker.tar_streams import END, Pieces, padding
from .contents import Contents
from .index import BundledImage, ImageFile

if TYPE_CHECKING:
    from ..docker.container import Containers
    from ..docker.daemon import Image
    from ..machine.platforms import Platform

_CHUNK = 1 << 20


def add(containers: Containers, row: Platform, reference: str, image: Image, contents: Contents) -> BundledImage:
    """Export an image from the container engine into the contents of a bundle."""
    files: list[ImageFile] = []
    saved = io.BufferedReader(Pieces(containers.save(reference)), _CHUNK)
    with tarfile.open(fileobj=saved, mode="r|", bufsize=_CHUNK) as archive:
        for entry in archive:
            name = entry.name.removeprefix("./")
            if entry.isreg():
                stream = cast("IO[bytes]", archive.extractfile(entry))
                digest = contents.add_stream(iter(lambda stream=stream: stream.read(_CHUNK), b""))  # type: ignore[misc]  # mypy infers no type for a default of a lambda
                files.append(ImageFile(name, sha256=digest))
            elif entry.issym():
                files.append(ImageFile(name, link=entry.linkname))
            else:
                files.append(ImageFile(name))
    files.sort(key=lambda file: file.path)
    return BundledImage(row.name, image.machine, reference, image.id, tuple(files))


def archive(image: BundledImage, path_of: Callable[[str], Path]) -> Iterator[bytes]:
    """Yield the archive of an image, for the container engine to load.

    Args:
        image: its entry in the index.
        path_of: returns the path of a digest's content.
    """
    for file in image.files:
        entry = tarfile.TarInfo(file.path)
        entry.mode = 0o644
        if file.link is not None:
            entry.type, entry.linkname = tarfile.SYMTYPE, file.link
        elif file.sha256 is None:
            entry.type, entry.mode = tarfile.DIRTYPE, 0o755
        else:
            entry.size = path_of(file.sha256).stat().st_size
        yield entry.tobuf(tarfile.PAX_FORMAT, "utf-8", "strict")
        if file.sha256 is not None:
            with path_of(file.sha256).open("rb") as stream:
                yield from iter(lambda stream=stream: stream.read(_CHUNK), b"")  # type: ignore[misc]  # mypy infers no type for a default of a lambda
            yield padding(entry.size)
    yield END
