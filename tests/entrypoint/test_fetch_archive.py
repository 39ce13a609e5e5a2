"""Members of archives: the bytes of one plain file, and nothing else an archive might try."""

from __future__ import annotations

import hashlib
import io
import tarfile
import zipfile
from pathlib import Path
from typing import Optional

import pytest

from prepare_models_entrypoint.download.fetch import Fetched, fetch
from prepare_models_entrypoint.errors import FetchError

MODEL = bytes(range(256)) * 5_000
SHA256 = hashlib.sha256(MODEL).hexdigest()


def get(source: str, folder: Path, sha256: Optional[str] = None) -> Fetched:
    return fetch(source, sha256=sha256, cache_dir=folder / "cache", on_progress=lambda _: None)


def refusal(source: str, folder: Path, sha256: Optional[str] = None) -> FetchError:
    with pytest.raises(FetchError) as caught:
        get(source, folder, sha256)
    return caught.value


def tar(path: Path, mode: str = "w:gz") -> Path:
    with tarfile.open(str(path), mode) as archive:  # type: ignore[call-overload]  # the mode is one of several
        for name in ("./inner/model.onnx", "../escape.onnx", "/absolute.onnx"):
            info = tarfile.TarInfo(name)
            info.size = len(MODEL)
            archive.addfile(info, io.BytesIO(MODEL))
        for name, kind in (("link.onnx", tarfile.SYMTYPE), ("hard.onnx", tarfile.LNKTYPE), ("fifo", tarfile.FIFOTYPE)):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "/etc/passwd"
            archive.addfile(info)
    return path


@pytest.mark.parametrize(
    ("name", "mode"), [("a.tar", "w"), ("a.tar.gz", "w:gz"), ("a.tgz", "w:gz"), ("a.tar.bz2", "w:bz2")]
)
def test_a_member_is_read_out(tmp_path: Path, name: str, mode: str) -> None:
    fetched = get(f"{tar(tmp_path / name, mode)}!inner/model.onnx", tmp_path, SHA256)
    assert fetched.path.read_bytes() == MODEL
    assert fetched.path.name == "model.onnx"


def test_a_member_of_a_zip_is_read_out(tmp_path: Path) -> None:
    with zipfile.ZipFile(str(tmp_path / "a.zip"), "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("inner/model.onnx", MODEL)
    assert get(f"{tmp_path}/a.zip!inner/model.onnx", tmp_path).digest.result() == SHA256


@pytest.mark.parametrize("member", ["link.onnx", "hard.onnx", "fifo"])
def test_what_is_no_plain_file_is_refused(tmp_path: Path, member: str) -> None:
    assert refusal(f"{tar(tmp_path / 'a.tar.gz')}!{member}", tmp_path).code == "archive-invalid"


def test_a_symlink_in_a_zip_is_refused(tmp_path: Path) -> None:
    info = zipfile.ZipInfo("link.onnx")
    info.external_attr = 0o120777 << 16
    with zipfile.ZipFile(str(tmp_path / "a.zip"), "w") as archive:
        archive.writestr(info, "/etc/passwd")
    assert refusal(f"{tmp_path}/a.zip!link.onnx", tmp_path).code == "archive-invalid"


def test_no_name_leaves_the_store(tmp_path: Path) -> None:
    fetched = get(f"{tar(tmp_path / 'deep.tar.gz')}!../escape.onnx", tmp_path / "x")
    assert (tmp_path / "x/cache") in fetched.path.parents
    assert not list(tmp_path.glob("escape*"))


def test_a_missing_member_is_told_with_those_that_exist(tmp_path: Path) -> None:
    error = refusal(f"{tar(tmp_path / 'a.tar.gz')}!inner/modell.onnx", tmp_path)
    assert error.code == "source-not-found"
    assert "inner/model.onnx" in error.message


def test_a_cut_archive_is_no_archive(tmp_path: Path) -> None:
    path = tar(tmp_path / "a.tar.gz")
    path.write_bytes(path.read_bytes()[:1000])
    assert refusal(f"{path}!inner/model.onnx", tmp_path).code == "archive-invalid"
    path.write_bytes(b"no archive at all")
    assert refusal(f"{path}!inner/model.onnx", tmp_path).code == "archive-invalid"


def test_a_pin_is_the_members(tmp_path: Path) -> None:
    assert refusal(f"{tar(tmp_path / 'a.tar.gz')}!inner/model.onnx", tmp_path, "0" * 64).code == "digest-mismatch"


def test_another_archive_under_the_same_name_is_noticed(tmp_path: Path) -> None:
    path = tar(tmp_path / "a.tar")
    get(f"{path}!inner/model.onnx", tmp_path)
    with zipfile.ZipFile(str(tmp_path / "other.zip"), "w") as archive:
        archive.writestr("inner/model.onnx", b"another")
    assert get(f"{tmp_path}/other.zip!inner/model.onnx", tmp_path).path.read_bytes() == b"another"
