"""Which file the weights of an ONNX model may come from: the one policy on paths and links."""

from __future__ import annotations

import os
import stat
from pathlib import Path, PurePosixPath


class ExternalDataError(ValueError):
    """A model names weights that it may not have, or that are missing. The message says which and why."""


def resolve(model: Path, location: str) -> Path:
    """Return the file that ``location`` in ``model`` stands for, with every link followed.

    It is a regular file under the model's directory, or under the directory of the file that the model's own path
    resolves to: download caches keep models and weights as links into one directory of their own.

    Args:
        model: path of the .onnx file.
        location: what a tensor of it says, relative to its directory.

    Raises:
        ExternalDataError: it lies elsewhere, is missing or is no regular file.
    """
    named = PurePosixPath(location)
    if not location or "\0" in location or named.is_absolute() or ".." in named.parts:
        raise ExternalDataError(f"the weights file {location!r} lies outside of the model's directory")
    try:
        file = Path(os.path.realpath(str(model.parent / location)))
        kind = os.stat(str(file)).st_mode
    except OSError as error:
        raise ExternalDataError(f"the weights file {location!r} can't be read: {error.strerror}") from None
    homes = {Path(os.path.realpath(str(model.parent))), Path(os.path.realpath(str(model))).parent}
    if not any(home in file.parents for home in homes):
        raise ExternalDataError(f"the weights file {location!r} is a link that leads out of the model's directory")
    if not stat.S_ISREG(kind):
        raise ExternalDataError(f"the weights file {location!r} is no regular file")
    return file
