"""Keys in files as editors write them, and names on NGC as pages and READMEs have them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from prepare_models_entrypoint.contract.files import read_line
from prepare_models_entrypoint.contract.source import Source, ngc_advice


@pytest.mark.parametrize(
    "content", [b"k3y", b"k3y\n", b"\xef\xbb\xbfk3y\r\n", b"  k3y \r\n\r\n", b"\nk3y", b"\xef\xbb\xbf k3y"]
)
def test_one_line_is_the_key(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "key").write_bytes(content)
    assert read_line(tmp_path / "key") == "k3y"


@pytest.mark.parametrize(
    ("content", "told"),
    [(b"k3y\nother", "2 lines"), (b"\xff\xfek3y", "not UTF-8"), (b"caf\xe9", "not UTF-8")],
)
def test_what_is_not_one_line_of_text_is_refused_without_telling_it(tmp_path: Path, content: bytes, told: str) -> None:
    (tmp_path / "key").write_bytes(content)
    with pytest.raises(ValueError, match=told) as caught:
        read_line(tmp_path / "key")
    assert "k3y" not in str(caught.value)


def test_devices_and_pipes_are_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for file in (tmp_path / "pipe", Path("/dev/zero")):
        with pytest.raises(OSError, match="regular"):
            read_line(file)


@pytest.mark.parametrize(
    ("text", "command"),
    [
        ("nvidia/tao/peoplenet:pruned_v2.0", "prepare-models ngc versions nvidia/tao/peoplenet"),
        ("nvidia/peoplenet:1", "prepare-models ngc files nvidia/peoplenet:1"),
        ("ngc://nvidia/tao/peoplenet", "prepare-models ngc versions nvidia/tao/peoplenet"),
        ("ngc://nvidia/tao/peoplenet:v1", "prepare-models ngc files nvidia/tao/peoplenet:v1"),
        ("nets/peoplenet", None),
        ("peoplenet.onnx", None),
        ("https://example.com/a:b", None),
    ],
)
def test_a_name_on_ngc_leads_on(text: str, command: "str | None") -> None:
    advice = ngc_advice(text)
    assert (advice is None) == (command is None)
    assert command is None or command in (advice or "")


@pytest.mark.parametrize(
    ("source", "location", "expected"),
    [
        ("https://host/a/m.onnx?sig=1", "w/x y", "https://host/a/w/x%20y?sig=1"),
        ("ngc://o/t/m:v/sub/m.onnx", "w.bin", "ngc://o/t/m:v/sub/w.bin"),
        ("hf://o/r@main/onnx/m.onnx", "m.onnx_data", "hf://o/r@main/onnx/m.onnx_data"),
        ("s3://bucket/a/m.onnx", "w.bin", "s3://bucket/a/w.bin"),
        ("/x/a.tar.gz!m.onnx", "w.bin", "/x/a.tar.gz!w.bin"),
        ("https://host/get?path=m.onnx", "w.bin", None),
    ],
)
def test_what_is_beside_a_source(source: str, location: str, expected: "str | None") -> None:
    beside = Source.of(source).beside(location)
    assert (beside.text if beside else None) == expected
