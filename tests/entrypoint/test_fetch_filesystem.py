"""Object stores through the real fsspec, whose memory file system stands for one that is far away."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, Iterator

import fsspec
import pytest

from prepare_models_entrypoint.download.cached import Downloads
from prepare_models_entrypoint.download.content_store import Store
from prepare_models_entrypoint.download.retries import RetryLimits
from prepare_models_entrypoint.download.streams import Streams
from prepare_models_entrypoint.errors import FetchError
from prepare_models_entrypoint.sources.filesystem import FilesystemSource

MODEL = bytes(range(256)) * 9_000
SHA256 = hashlib.sha256(MODEL).hexdigest()
URL = "memory://bucket/nets/model.onnx"


@pytest.fixture
def memory() -> Iterator[Any]:
    filesystem = fsspec.filesystem("memory")
    filesystem.pipe("/bucket/nets/model.onnx", MODEL)
    yield filesystem
    filesystem.store.clear()


def downloads(folder: Path) -> Downloads:
    return Downloads(
        Store(folder), RetryLimits(first_wait_s=0.001), Streams(), revalidate=True, on_progress=lambda _: None
    )


def test_a_file_is_fetched_once(memory: Any, tmp_path: Path) -> None:
    first = downloads(tmp_path).get(FilesystemSource(URL), None)
    second = downloads(tmp_path).get(FilesystemSource(URL), None)
    assert (first.stored.sha256, first.fetched, second.fetched) == (SHA256, True, False)
    assert second.stored.path.read_bytes() == MODEL


def test_a_changed_file_is_fetched_again(memory: Any, tmp_path: Path) -> None:
    downloads(tmp_path).get(FilesystemSource(URL), None)
    memory.pipe("/bucket/nets/model.onnx", b"new")
    assert downloads(tmp_path).get(FilesystemSource(URL), None).stored.path.read_bytes() == b"new"


def test_a_part_is_continued(memory: Any, tmp_path: Path) -> None:
    source = FilesystemSource(URL)
    with source.open(0, None) as body:
        mark = body.validator
    with FilesystemSource(URL).open(1000, mark) as body:
        assert (body.start, b"".join(body.chunks)) == (1000, MODEL[1000:])
    with FilesystemSource(URL).open(1000, "another content") as body:
        assert body.start == 0


def test_a_missing_file_is_told(memory: Any, tmp_path: Path) -> None:
    with pytest.raises(FetchError) as caught:
        downloads(tmp_path).get(FilesystemSource("memory://bucket/none.onnx"), None)
    assert caught.value.code == "source-not-found"


def test_a_pin_counts(memory: Any, tmp_path: Path) -> None:
    with pytest.raises(FetchError) as caught:
        downloads(tmp_path).get(FilesystemSource(URL), "0" * 64)
    assert caught.value.code == "digest-mismatch"
