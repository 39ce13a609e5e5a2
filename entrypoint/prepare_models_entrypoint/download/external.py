"""Weights next to a model that is not a plain local file: fetched from next to it, and placed with it."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Callable, Mapping, NamedTuple, Optional, Tuple

from ..contract import downloads, external_data
from ..contract.external_errors import ExternalDataError, UnreadableError
from ..contract.source import Source
from ..errors import FetchError
from .content_store import Store, key_of

if TYPE_CHECKING:
    from .fetch import Fetched

_MOST = 4096  # files per model


class Weights(NamedTuple):
    """A file with weights. ``location``: as written in the model, relative to it."""

    location: str
    source: Source
    fetched: Fetched


def of_model(
    model: Fetched, source: Source, pins: Mapping[str, str], fetch_one: Callable[[str, Optional[str]], Fetched]
) -> Tuple[Weights, ...]:
    """Fetch the weights that a model names; other files have none.

    Args:
        model: the fetched model.
        source: where it came from.
        pins: digests that weights must have, by the ``id`` of their source.
        fetch_one: fetches a source with the digest that it must have.

    Raises:
        FetchError: they can't be fetched, or are outside the model's directory.
    """
    try:
        named = external_data.locations(model.path)
        for location in named:
            external_data.inner(location)
    except UnreadableError:
        return ()  # the conversion refuses it
    except ExternalDataError as error:
        raise FetchError("onnx-external-data", f"{source.public}: {error}", hint="export the model again") from None
    if len(named) > _MOST:
        what = f"{source.public} names {len(named)} files with weights"
        raise FetchError("onnx-external-data", what, hint="save its weights in one file: onnx.save with location=")
    return tuple(_fetched(location, source, pins, fetch_one) for location in named)


def _fetched(
    location: str, source: Source, pins: Mapping[str, str], fetch_one: Callable[[str, Optional[str]], Fetched]
) -> Weights:
    beside = source.beside(location)
    if beside is None:
        raise FetchError(
            "onnx-external-data",
            f"{source.public} has weights in {location!r}, and their URL is unknown",
            hint="download both files into one folder, and give the model's path as the source",
        )
    try:
        return Weights(location, beside, fetch_one(beside.text, pins.get(beside.id)))
    except FetchError as error:
        if error.code != "source-not-found":
            raise
        raise FetchError(
            "onnx-external-data",
            f"{source.public} has weights in {location!r}, which are not next to it: {error.message}",
            hint="put the file next to the model under this name, or download both and give the model's path",
        ) from None


def together(model: Fetched, weights: Tuple[Weights, ...], store: Store) -> Path:
    """Return the path of the model in a directory of links to it and its weights, under their names."""
    sha256 = model.digest.result()
    parts = [f"{each.location}\0{each.fetched.digest.result()}" for each in weights]
    folder = downloads.names(store.root, sha256) / f"with-{key_of(chr(10).join(parts))[:16]}"
    files = {each.location: each.fetched.digest.result() for each in weights}
    for name, digest in {**files, model.path.name: sha256}.items():
        link = folder / PurePosixPath(name)
        if not link.is_symlink():
            link.parent.mkdir(parents=True, exist_ok=True)
            with contextlib.suppress(FileExistsError):
                link.symlink_to(os.path.relpath(str(downloads.blob(store.root, digest)), str(link.parent)))
    return folder / model.path.name
