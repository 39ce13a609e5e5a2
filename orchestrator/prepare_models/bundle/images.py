"""Container images in a bundle: the container engine's archive, file by file, so that images share common files."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, cast

from prepare_models_entrypoint.contract.files import chunks

from ..docker.tar_streams import END, Pieces, header, padding
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
                digest = contents.add_stream(chunks(stream))
                files.append(ImageFile(name, sha256=digest))
            elif entry.issym():
                files.append(ImageFile(name, link=entry.linkname))
            else:
                files.append(ImageFile(name))
    files.sort(key=lambda file: file.path)
    return BundledImage(row.name, image.machine, reference, image.id, tuple(files))


def archive(image: BundledImage, path_of: Callable[[str], Path]) -> Iterator[bytes]:
    """Yield the archive of an image for the container engine to load. ``path_of``: returns the path of a digest."""
    for file in image.files:
        place = path_of(file.sha256) if file.sha256 is not None else None
        yield header(file.path, place.stat().st_size if place is not None else None, link=file.link)
        if place is not None:
            with place.open("rb") as stream:
                yield from chunks(stream)
            yield padding(place.stat().st_size)
    yield END
