"""Sources on the local disk."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from .children import start
from .fetching import get, refusal

CONTENT = b"a model"
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "models here" / "net #1 (50%).onnx"
    path.parent.mkdir()
    path.write_bytes(CONTENT)
    return path


def test_a_local_file_is_used_where_it_lies(model: Path, tmp_path: Path) -> None:
    fetched = get(model, tmp_path / "cache")
    assert (fetched.path, fetched.bytes, fetched.digest.result(), fetched.pinned) == (model, 7, SHA256, False)
    assert not (tmp_path / "cache").exists()


def test_a_file_url_is_unquoted(model: Path, tmp_path: Path) -> None:
    assert "%20" in model.as_uri()
    assert get(model.as_uri(), tmp_path).path == model


@pytest.mark.parametrize("pin", [SHA256, SHA256.upper()])
def test_a_pinned_file_is_verified(model: Path, tmp_path: Path, pin: str) -> None:
    fetched = get(model, tmp_path, pin)
    assert fetched.pinned
    assert fetched.digest.result() == SHA256


def test_other_bytes_than_the_pinned_ones_are_refused(model: Path, tmp_path: Path) -> None:
    error = refusal(model, tmp_path, "0" * 64)
    assert error.code == "digest-mismatch"
    assert SHA256 in error.message
    assert "0" * 64 in error.message


@pytest.mark.parametrize(
    ("source", "code", "told"),
    [
        ("absent.onnx", "source-not-found", "does not exist"),
        (".", "source-not-found", "is a directory"),
        ("empty.onnx", "source-not-a-model", "is empty"),
        ("dangling.onnx", "source-not-found", "does not exist"),
    ],
)
def test_what_is_no_readable_file_is_refused_by_name(tmp_path: Path, source: str, code: str, told: str) -> None:
    (tmp_path / "empty.onnx").touch()
    (tmp_path / "dangling.onnx").symlink_to("nothing")
    error = refusal(tmp_path / source, tmp_path)
    assert error.code == code
    assert told in error.message
    assert str(tmp_path / source) in error.message
    assert not error.retryable


def test_an_unreadable_file_is_told_apart_from_an_absent_one() -> None:
    code = """
        import os, tempfile
        from pathlib import Path
        from prepare_models_entrypoint.errors import FetchError
        from prepare_models_entrypoint.download.fetch import fetch
        if os.getuid() == 0:  # for root, nothing is unreadable
            os.setgid(65534)
            os.setuid(65534)
        with tempfile.TemporaryDirectory() as folder:
            model = Path(folder) / "private.onnx"
            model.write_bytes(b"a model")
            model.chmod(0)
            try:
                fetch(str(model), sha256=None, cache_dir=Path(folder), on_progress=lambda _: None)
            except FetchError as error:
                print(error.code)
    """
    child = start(code)
    assert child.communicate(timeout=60)[0] == "source-unreadable\n"


def test_an_unknown_scheme_is_refused_with_those_that_exist(tmp_path: Path) -> None:
    error = refusal("gopher://bucket/model.onnx", tmp_path)
    assert error.code == "source-not-found"
    assert "gopher://" in error.message
    assert "ngc://" in error.hint
