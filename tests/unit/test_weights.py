from __future__ import annotations

from pathlib import Path

import onnx

from prepare_models_entrypoint.contract.weights import companions
from tests import networks


def test_model_in_one_file_has_no_companions(tmp_path: Path) -> None:
    assert companions(networks.conv(tmp_path / "model.onnx")) == ()


def test_external_data_is_found(tmp_path: Path) -> None:
    model = onnx.load(networks.heavy(tmp_path / "plain.onnx", layers=3))
    onnx.save(model, tmp_path / "one.onnx", save_as_external_data=True, location="one.bin", size_threshold=0)
    assert companions(tmp_path / "one.onnx") == (tmp_path / "one.bin",)
    model = onnx.load(tmp_path / "plain.onnx")
    onnx.save(
        model, tmp_path / "many.onnx", save_as_external_data=True, all_tensors_to_one_file=False, size_threshold=0
    )
    assert {file.name for file in companions(tmp_path / "many.onnx")} == {"w0", "w1", "w2"}


def test_data_outside_the_models_directory_is_not_given(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"x")
    folder = tmp_path / "models"
    folder.mkdir()
    for name in (b"../secret", str(tmp_path / "secret").encode(), b"absent.bin", b"\xff\xfe"):
        file = folder / "model.onnx"
        file.write_bytes(b"\x0a\x08location\x12" + bytes([len(name)]) + name)
        assert companions(file) == ()


def test_other_and_empty_files_have_none(tmp_path: Path) -> None:
    (tmp_path / "model.etlt").write_bytes(b"\x0a\x08location\x12\x01a")
    (tmp_path / "model.onnx").touch()
    assert companions(tmp_path / "model.etlt") == companions(tmp_path / "model.onnx") == ()


def test_what_is_no_model_is_not_walked_field_by_field(tmp_path: Path) -> None:
    name = b"\x0a\x08location\x12\x05w.bin"
    (tmp_path / "w.bin").touch()
    file = tmp_path / "model.onnx"
    for filling in (b"\0", b"\x08\x01"):
        file.write_bytes(filling * (20_000_000 // len(filling)) + name)
        assert companions(file) == (tmp_path / "w.bin",)
