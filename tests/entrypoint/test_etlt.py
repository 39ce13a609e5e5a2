"""Encrypted TAO models: what can be told without key and codec, and what is said when these are missing."""

from __future__ import annotations

import os
import struct
import sys
from pathlib import Path
from typing import Callable

import pytest

from prepare_models_entrypoint import confinement
from prepare_models_entrypoint.contract.job import ModelJob
from prepare_models_entrypoint.converters import convert, etlt
from prepare_models_entrypoint.errors import ConvertError
from prepare_models_entrypoint.inspect import file as inspect_file
from prepare_models_entrypoint.onnx_graph import whole_file
from prepare_models_entrypoint.processes import supervise_fork

PAYLOAD = bytes(64)
PLAIN = b"\x08\x07\x12\x10" + b"a" * 16 + b"\x3a\x02\x0a\x00"  # the least that is a whole ONNX file


def container(path: Path, name: bytes = b"", payload: bytes = PAYLOAD) -> Path:
    path.write_bytes(struct.pack("<i", len(name)) + name + payload)
    return path


def key_file(folder: Path, key: str = "tlt_encode") -> Path:
    (folder / "key").write_text(key)
    return folder / "key"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return tmp_path / "model.etlt"


def test_an_onnx_payload_is_told_without_a_key(model: Path) -> None:
    assert etlt.read_header(container(model)) == ("onnx", "", 4)


def test_a_uff_payload_is_told_with_its_input(model: Path) -> None:
    assert etlt.read_header(container(model, b"input_1")) == ("uff", "input_1", 11)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x00\x00",
        b"\x00\x00\x00\x00",
        b"\x00\x00\x00\x00" + bytes(16),
        struct.pack("<i", -1) + PAYLOAD,
        struct.pack("<i", 1 << 20) + PAYLOAD,
        struct.pack("<i", 40) + b"input_1",
        struct.pack("<i", 7) + b"input_1" + bytes(16),
        b"\x08\x07\x12\x07pytorch" + PAYLOAD,
        b"<html><body>not found</body></html>",
    ],
)
def test_what_is_no_container_or_a_truncated_one_is_refused(model: Path, content: bytes) -> None:
    model.write_bytes(content)
    with pytest.raises(ConvertError, match=f"{len(content)} bytes") as caught:
        etlt.read_header(model)
    assert caught.value.code == "etlt-invalid"


def test_a_missing_codec_is_told_with_the_way_to_get_it(model: Path, tmp_path: Path) -> None:
    with pytest.raises(ConvertError) as caught:
        etlt.decrypt(container(model), key_file(tmp_path), tmp_path / "plain.onnx")
    assert caught.value.code == "etlt-codec-missing"
    assert "nvidia-eff-tao-encryption" in caught.value.hint
    assert not (tmp_path / "plain.onnx").exists()


def test_uff_is_refused_before_the_codec_is_asked_for(model: Path, tmp_path: Path) -> None:
    with pytest.raises(ConvertError, match="input_1") as caught:
        etlt.decrypt(container(model, b"input_1"), key_file(tmp_path), tmp_path / "plain.onnx")
    assert caught.value.code == "etlt-uff"


@pytest.mark.parametrize("content", [b"tlt_encode", b"tlt_encode\n", b"  tlt_encode \r\n"])
def test_a_key_file_may_end_in_a_newline(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "key").write_bytes(content)
    assert etlt.read_key(tmp_path / "key") == "tlt_encode"


@pytest.mark.parametrize("content", [None, b"", b"\n", b"\xff\xfe\x00secret"])
def test_a_key_file_without_a_key_is_named(tmp_path: Path, content: bytes | None) -> None:
    key = tmp_path / "key"
    if content is not None:
        key.write_bytes(content)
    with pytest.raises(ConvertError) as caught:
        etlt.read_key(key)
    assert caught.value.code == "etlt-key-missing"
    assert str(key) in caught.value.message
    assert "secret" not in caught.value.message


@pytest.mark.parametrize(
    ("data", "verdict"),
    [
        (b"\x08\x07\x3a\x02ab", "whole"),
        (b"\x08\x07\x3a\x05ab", "truncated"),
        (b"\x08\x07\x3a", "truncated"),
        (b"\x08\x07\x12\x01x", "other"),
        (b"\x0a\x07\x12", "other"),
        (b"\x08\x07\xff\x01", "other"),
        (bytes(64), "other"),
        (b"", "other"),
    ],
)
def test_a_whole_model_is_told_from_a_cut_one_and_from_noise(model: Path, data: bytes, verdict: str) -> None:
    model.write_bytes(data)
    assert whole_file.verdict(model) == verdict


CODEC = """
import ctypes, os
def decrypt_stream(source, plain, key, encryption, rewind):
    with open({told!r}, "w") as told:
        told.write(f"{{os.getpid()}} {{key}} {{ctypes.CDLL(None).prctl(3, 0, 0, 0, 0)}}")  # PR_GET_DUMPABLE
    if key == "crash":
        os.kill(os.getpid(), 31)  # SIGSYS, which pytest does not describe at length
    plain.write(source.read())
"""


@pytest.fixture
def codec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put a codec that encrypts nothing in place of NVIDIA's; return the file in which it tells of its process."""
    package = tmp_path / "site" / "eff_tao_encryption" / "tao_codec"
    package.mkdir(parents=True)
    for folder in (package, package.parent):
        (folder / "__init__.py").write_text("")
    (package / "tao_codec.py").write_text(CODEC.format(told=str(tmp_path / "told")))
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    monkeypatch.setattr(confinement, "_withheld", set())  # the number of a descriptor is another file's afterwards
    for name in [name for name in sys.modules if name.startswith("eff_tao_encryption")]:
        monkeypatch.delitem(sys.modules, name)
    return tmp_path / "told"


def converted(model: Path, key: Path, folder: Path) -> None:
    with convert.plain_model(
        ModelJob(name="net", source=str(model), output_dir=str(folder), deploy_dir="/", key_file=str(key)),
        model,
        folder,
    ) as plain:
        assert plain.read_bytes() == PLAIN


def inspected(model: Path, key: Path, folder: Path) -> None:
    del folder
    assert inspect_file.describe(model, key)["format"] == "etlt"


@pytest.mark.parametrize("way", [converted, inspected])
def test_a_process_of_its_own_decrypts_and_reads_the_key(
    model: Path, tmp_path: Path, codec: Path, way: Callable[[Path, Path, Path], None]
) -> None:
    key = os.memfd_create("key")
    os.write(key, b"tlt_encode")
    way(container(model, payload=PLAIN), Path(f"/proc/self/fd/{key}"), tmp_path)
    process, told, dumpable = codec.read_text().split()
    assert (told, dumpable) == ("tlt_encode", "0"), "no other process of this user sees its memory"
    assert int(process) != os.getpid()
    assert not Path(f"/proc/{process}").exists(), "it has ended before anybody parses what it wrote"

    def has_the_key(writer: int) -> int:
        confinement.confine(None, private=tmp_path)
        try:
            os.fstat(key)
        except OSError:
            return 0
        return 1

    assert supervise_fork(has_the_key, log=tmp_path / "log", on_line=lambda _: None, timeout_s=30).exit_code == 0
    os.close(key)


def test_a_codec_that_crashes_is_an_error_of_the_file(model: Path, tmp_path: Path, codec: Path) -> None:
    with pytest.raises(ConvertError, match=r"decrypts model\.etlt ended with SIGSYS") as caught:
        etlt.decrypt(container(model), key_file(tmp_path, "crash"), tmp_path / "plain.onnx")
    assert caught.value.code == "etlt-invalid"
