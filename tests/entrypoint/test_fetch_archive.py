"""Members of archives: the bytes of one plain file, and nothing else an archive might try."""

from __future__ import annotations

import gzip
import hashlib
import io
import random
import subprocess
import tarfile
import zipfile
from pathlib import Path
from typing import Tuple

import pytest

from .fetching import get, refusal

MODEL = bytes(range(256)) * 5_000
SHA256 = hashlib.sha256(MODEL).hexdigest()


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
    assert (tmp_path / "x") in fetched.path.parents
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


def members(path: Path, *entries: "Tuple[str, bytes | str]", mode: str = "w") -> Path:
    """Write a tar of files (bytes) and of hard links (the name of another member)."""
    with tarfile.open(str(path), mode) as archive:  # type: ignore[call-overload]  # the mode is one of several
        for name, content in entries:
            info = tarfile.TarInfo(name)
            if isinstance(content, str):
                info.type, info.linkname = tarfile.LNKTYPE, content
                archive.addfile(info)
            else:
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
    return path


def test_the_last_member_of_a_name_is_the_one_as_tar_has_it(tmp_path: Path) -> None:
    path = members(tmp_path / "a.tar", ("m.onnx", MODEL), ("other", b"x"))
    (tmp_path / "m.onnx").write_bytes(b"newer bytes")
    subprocess.run(["tar", "-rf", str(path), "-C", str(tmp_path), "./m.onnx"], check=True)
    by_tar = subprocess.run(["tar", "-xOf", str(path), "./m.onnx"], check=True, stdout=subprocess.PIPE).stdout
    assert get(f"{path}!m.onnx", tmp_path).path.read_bytes() == by_tar == b"newer bytes"


@pytest.mark.parametrize("there", ["./a/b.onnx", ".//a/./b.onnx", "/a/b.onnx", "a//b.onnx"])
@pytest.mark.parametrize("asked", ["a/b.onnx", "./a/b.onnx", ".//a/./b.onnx", "/a/b.onnx"])
def test_a_name_may_be_written_as_the_archive_has_it_or_plainly(tmp_path: Path, there: str, asked: str) -> None:
    assert get(f"{members(tmp_path / 'a.tar', (there, MODEL))}!{asked}", tmp_path).digest.result() == SHA256


def test_a_hard_link_is_the_file_that_it_was_made_of(tmp_path: Path) -> None:
    path = members(
        tmp_path / "a.tar.gz", ("v1", b"old"), ("v1", MODEL), ("m", "v1"), ("n", "./m"), ("v1", b"new"),
        ("o", "absent"), mode="w:gz",
    )  # fmt: skip
    for name in ("m", "n"):
        assert get(f"{path}!{name}", tmp_path).digest.result() == SHA256
    assert refusal(f"{path}!o", tmp_path).code == "archive-invalid"


def test_links_in_a_circle_end(tmp_path: Path) -> None:
    path = members(tmp_path / "a.tar", ("a", "b"), ("b", "a"), ("a", "b"), ("a", "a"))
    assert refusal(f"{path}!a", tmp_path).code == "archive-invalid"


def test_a_gzip_of_several_members(tmp_path: Path) -> None:
    data = members(tmp_path / "a.tar", ("first", b"x"), ("m.onnx", MODEL)).read_bytes()
    pieces = [data[at : at + 300_000] for at in range(0, len(data), 300_000)]
    (tmp_path / "a.tar.gz").write_bytes(b"".join(gzip.compress(piece) for piece in pieces))
    assert get(f"{tmp_path}/a.tar.gz!m.onnx", tmp_path).digest.result() == SHA256


@pytest.mark.parametrize("cut", [512, 1024, 1536, 2000, 100_000])
@pytest.mark.parametrize("name", ["a.tar", "a.tar.gz", "a.tar.bz2", "a.tar.xz"])
def test_a_cut_archive_is_truncated_wherever_it_ends(tmp_path: Path, name: str, cut: int) -> None:
    noise = random.Random(0).getrandbits(8 * 300_000).to_bytes(300_000, "little")
    mode = {"a.tar": "w", "a.tar.gz": "w:gz", "a.tar.bz2": "w:bz2", "a.tar.xz": "w:xz"}[name]
    path = members(tmp_path / name, ("first", b"x" * 300), ("m.onnx", noise), ("last", b"x"), mode=mode)
    path.write_bytes(path.read_bytes()[:cut])
    error = refusal(f"{path}!last", tmp_path)
    assert error.code == "archive-invalid"
    assert "truncated" in error.message


@pytest.mark.parametrize("name", ["a.tar.bz2", "sparse.tar", "long.tar.gz"])
def test_what_the_libraries_do_not_expect_is_an_invalid_archive(tmp_path: Path, name: str) -> None:
    info = tarfile.TarInfo("m.onnx")
    sparse = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": "9" * 12}
    info.size, info.pax_headers = len(MODEL), sparse if name == "sparse.tar" else {}
    with tarfile.open(str(tmp_path / name), "w:gz" if name.endswith("gz") else "w") as archive:
        if name == "long.tar.gz":  # a name that a reader keeps in memory, of which next to nothing is on the disk
            header = tarfile.TarInfo("././@LongLink")
            header.type, header.size = tarfile.GNUTYPE_LONGNAME, 64 << 20
            archive.addfile(header, io.BytesIO(bytes(header.size)))
        archive.addfile(info, io.BytesIO(MODEL))
    if name == "a.tar.bz2":
        (tmp_path / name).write_bytes(b"BZh9junk")
    assert refusal(f"{tmp_path / name}!m.onnx", tmp_path).code == "archive-invalid"


def test_a_cut_zip_is_truncated(tmp_path: Path) -> None:
    with zipfile.ZipFile(str(tmp_path / "a.zip"), "w") as archive:
        archive.writestr("m.onnx", MODEL)
    (tmp_path / "a.zip").write_bytes((tmp_path / "a.zip").read_bytes()[:10_000])
    assert "truncated" in refusal(f"{tmp_path}/a.zip!m.onnx", tmp_path).message


@pytest.mark.parametrize("asked", ["nets/m.onnx", "nets\\m.onnx"])
def test_a_zip_with_backslashes(tmp_path: Path, asked: str) -> None:
    with zipfile.ZipFile(str(tmp_path / "a.zip"), "w") as archive:
        archive.writestr("nets\\m.onnx", MODEL)
    fetched = get(f"{tmp_path}/a.zip!{asked}", tmp_path)
    assert (fetched.digest.result(), fetched.path.name) == (SHA256, "m.onnx")


@pytest.mark.parametrize("name", ["a.tar", "a.zip"])
def test_names_in_another_form_of_unicode(tmp_path: Path, name: str) -> None:
    composed, decomposed = "m\u00f6dell.onnx", "mo\u0308dell.onnx"
    for there, asked in ((composed, decomposed), (decomposed, composed)):
        if name == "a.tar":
            members(tmp_path / name, (there, MODEL))
        else:
            with zipfile.ZipFile(str(tmp_path / name), "w") as archive:
                archive.writestr(there, MODEL)
        assert get(f"{tmp_path}/{name}!{asked}", tmp_path).digest.result() == SHA256


def test_a_pointer_in_an_archive_is_not_a_model(tmp_path: Path) -> None:
    path = members(
        tmp_path / "a.tar", ("m.onnx", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    )
    error = refusal(f"{path}!m.onnx", tmp_path)
    assert (error.code, "Git LFS pointer" in error.message) == ("source-not-a-model", True)


def test_a_pin_is_the_members(tmp_path: Path) -> None:
    assert refusal(f"{tar(tmp_path / 'a.tar.gz')}!inner/model.onnx", tmp_path, "0" * 64).code == "digest-mismatch"


def test_another_archive_under_the_same_name_is_noticed(tmp_path: Path) -> None:
    path = tar(tmp_path / "a.tar")
    get(f"{path}!inner/model.onnx", tmp_path)
    with zipfile.ZipFile(str(tmp_path / "other.zip"), "w") as archive:
        archive.writestr("inner/model.onnx", b"another")
    assert get(f"{tmp_path}/other.zip!inner/model.onnx", tmp_path).path.read_bytes() == b"another"
