"""A stream of bytes in one file, or in volumes of a given size: ``site.bundle.001``, ``.002``, ..."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from prepare_models_entrypoint.contract.files import partial_of, remove_partials, replace, sync

from ..errors import BundleError, HostError


class Writer:
    """Takes bytes; nothing stands under a final name before all of them are on the disk.

    Args:
        target: the file, or the name to which the numbers of volumes are added.
        volume_bytes: size of a volume; None for one file.
        open_files: closes and removes what was not finished.
    """

    def __init__(self, target: Path, volume_bytes: int | None, open_files: contextlib.ExitStack) -> None:
        self._target, self._volume_bytes, self._open = target, volume_bytes, open_files
        self._parts: list[tuple[BinaryIO, Path, Path]] = []
        self._room = 0
        self.written = 0

    def write(self, data: bytes) -> None:
        """Append bytes."""
        view = memoryview(data)
        while view:
            if self._room == 0:
                self._next()
            step = view[: self._room]
            self._parts[-1][0].write(step)
            self._room -= len(step)
            self.written += len(step)
            view = view[len(step) :]

    def finish(self) -> list[Path]:
        """Give all files their names, the first volume last: without it nobody takes the others for a bundle.

        Files of an earlier bundle of this name, which would be taken for parts of this one, are removed.
        """
        for stream, _, _ in self._parts:
            sync(stream)
        finals = [final for _, _, final in self._parts]
        if self._volume_bytes is not None:
            self._target.unlink(missing_ok=True)
            finals[0].unlink(missing_ok=True)
        for _, partial, final in reversed(self._parts):
            replace(partial, final)
        number = 1 if self._volume_bytes is None else len(finals) + 1
        while (stale := volume(self._target, number)).is_file():
            stale.unlink()
            number += 1
        return finals

    def _next(self) -> None:
        number = len(self._parts) + 1
        final = self._target if self._volume_bytes is None else volume(self._target, number)
        stream, partial, final = self._open.enter_context(partial_of(final))
        self._parts.append((stream, partial, final))
        self._room = self._volume_bytes or 1 << 62


@contextlib.contextmanager
def writing(target: Path, volume_bytes: int | None) -> Iterator[Writer]:
    """Yield a writer; what it did not finish vanishes with the block."""
    remove_partials(target.parent, of=target.name)  # of a killed process, of all its volumes
    with contextlib.ExitStack() as open_files:
        yield Writer(target, volume_bytes, open_files)


def volume(target: Path, number: int) -> Path:
    """Return the name of a volume."""
    return target.with_name(f"{target.name}.{number:03d}")


def volumes(target: Path) -> list[Path]:
    """Return the files of a bundle that is there; a pipe is one, too.

    Raises:
        BundleError: there is none.
    """
    if target.is_dir():
        raise BundleError("bundle-missing", f"{target} is a directory, no bundle", hint="give the bundle's file")
    if target.suffix == ".001":
        target = target.with_suffix("")
    if target.is_file() or target.is_fifo():
        return [target]
    found: list[Path] = []
    while (file := volume(target, len(found) + 1)).is_file():
        found.append(file)
    if not found:
        raise BundleError("bundle-missing", f"{target} is not there, nor {volume(target, 1)}", hint="check the path")
    return found


class _Chain(io.RawIOBase):
    def __init__(self, files: list[Path]) -> None:
        self._files = iter(files)
        self._stream: BinaryIO | None = None
        self._open_next()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # its buffer is typed as any buffer
        while self._stream is not None:
            count = self._stream.readinto(buffer)  # type: ignore[attr-defined]  # BinaryIO does not tell of it
            if count:
                return int(count)
            self._open_next()
        return 0

    def close(self) -> None:
        if self._stream is not None:
            self._stream.close()
        super().close()

    def _open_next(self) -> None:
        if self._stream is not None:
            self._stream.close()
        file = next(self._files, None)
        self._stream = file.open("rb", buffering=0) if file is not None else None


@contextlib.contextmanager
def reading(target: Path) -> Iterator[BinaryIO]:
    """Yield the bytes of a bundle, whatever the number of its volumes."""
    try:
        with io.BufferedReader(_Chain(volumes(target)), 1 << 20) as stream:
            yield stream
    except OSError as error:
        raise HostError(
            f"{error.filename or target} can't be read: {error.strerror}", hint="check the medium and its permissions"
        ) from None
