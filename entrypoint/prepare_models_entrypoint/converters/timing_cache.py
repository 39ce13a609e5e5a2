"""Timing caches: one file for each TensorRT version and GPU, shared by all builds there, safe for concurrent ones."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Iterator, Optional, cast

from ..contract import runtime
from ..contract.environment import BackendInfo
from ..contract.files import read_small, write_own
from .request import BuildRequest

if TYPE_CHECKING:
    from .backend import trt

_LARGEST = 1 << 30  # bytes; usual ones have a few million


@contextlib.contextmanager
def cache(config: trt.IBuilderConfig, backend: BackendInfo, request: BuildRequest) -> Iterator[None]:
    """Give the builder the timings of earlier builds, and store what it measured, merged with what others measured."""
    wanted = request.model.builder.timing_cache
    if request.timing_dir is None or wanted is False or backend["name"] == "tensorrt_rtx":
        yield
        return
    file = file_for(request.timing_dir, backend["name"], backend["version"])
    with contextlib.suppress(OSError):
        config.set_timing_cache(config.create_timing_cache(_read(file)), ignore_mismatch=False)
    yield
    measured = cast("Optional[trt.ITimingCache]", config.get_timing_cache())
    if measured is None:
        return
    with locked(file):
        merged = config.create_timing_cache(_read(file))
        merged.combine(measured, ignore_mismatch=False)
        write_own(file, bytes(memoryview(merged.serialize())))


@contextlib.contextmanager
def private(request: BuildRequest, backend: str, version: str) -> Iterator[Optional[str]]:
    """Yield a copy of the stored timings for a program that rewrites the file itself, and store it afterwards.

    Yields None if no timings are wanted. Of concurrent builds, only the last one's timings stay: only TensorRT's module
    can merge them.
    """
    if request.timing_dir is None or request.check_only or request.model.builder.timing_cache is False:
        yield None
        return
    shared, own = file_for(request.timing_dir, backend, version), request.work_dir / "timing.cache"
    before = _read(shared)
    if before:
        own.write_bytes(before)
    yield str(own)
    measured = _read(own)
    if measured not in (b"", before):
        with locked(shared):
            write_own(shared, measured)


def file_for(directory: Path, backend: str, version: str) -> Path:
    """Return the cache file of this backend, version, GPU and driver."""
    gpu = runtime.probe()["gpu"]
    device = f"{gpu['name']} {gpu['compute_capability']} {gpu['driver']}" if gpu else "none"
    digest = hashlib.sha256(device.encode("utf-8")).hexdigest()[:12]
    return directory / f"{backend}-{version}-{digest}.cache"


@contextlib.contextmanager
def locked(file: Path) -> Iterator[None]:
    """Hold the file's lock, so that one process merges at a time."""
    file.parent.mkdir(parents=True, exist_ok=True)
    lock = os.open(f"{file}.lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def _read(file: Path) -> bytes:
    try:
        return read_small(file, largest=_LARGEST, follow=False)  # any model's build may change this directory
    except OSError:
        return b""
