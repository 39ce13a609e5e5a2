"""What a conversion is refused for before it begins, or by the real build process, where there is no backend."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any, Optional

import pytest

from prepare_models_entrypoint.contract.environment import BackendInfo, RuntimeInfo
from prepare_models_entrypoint.contract.job import ModelJob
from prepare_models_entrypoint.converters import convert
from prepare_models_entrypoint.errors import ConvertError

BACKEND = BackendInfo(name="tensorrt_rtx", version="1.7.1.116")


def runtime(backend: Optional[BackendInfo] = BACKEND) -> RuntimeInfo:
    return RuntimeInfo(python="3.8.18", machine="x86_64", backend=backend, gpu=None, gpu_reason="none")


def job(source: Path, **more: Any) -> ModelJob:
    return ModelJob(
        name="net", source=str(source), output_dir=str(source.parent), deploy_dir=str(source.parent), **more
    )


def refusal(model: ModelJob, work: Path, backend: Optional[BackendInfo] = BACKEND) -> ConvertError:
    source = Path(model.source)
    with pytest.raises(ConvertError) as caught:
        convert.convert(model, source, work / "p", work_dir=work, runtime=runtime(backend), on_progress=lambda _: None)
    return caught.value


@pytest.fixture
def etlt(tmp_path: Path) -> Path:
    path = tmp_path / "model.etlt"
    path.write_bytes(bytes(64))
    return path


def test_no_backend_is_told_with_the_command_that_installs_one(tmp_path: Path) -> None:
    error = refusal(job(tmp_path / "m.onnx"), tmp_path, backend=None)
    assert error.code == "backend-missing"
    assert "[local]" in error.hint


def test_a_backend_that_does_not_load_is_found_by_the_real_build_process(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(b"\x08\x07\x3a\x02ab")
    error = refusal(job(tmp_path / "m.onnx"), tmp_path)
    assert error.code == "backend-unusable"
    assert "neither tensorrt nor tensorrt_rtx is installed" in error.message


@pytest.mark.parametrize("converter", ["trtexec", "tao-converter"])
def test_a_converter_that_is_not_driven_is_refused(tmp_path: Path, converter: str) -> None:
    error = refusal(job(tmp_path / "m.onnx", converter=converter), tmp_path)
    assert error.code == "converter-unavailable"
    assert converter in error.message


def test_an_encrypted_model_without_a_key_is_told_how_to_name_one(etlt: Path, tmp_path: Path) -> None:
    error = refusal(job(etlt), tmp_path)
    assert error.code == "etlt-key-missing"
    assert "key: {env: NAME}" in error.hint


def test_what_is_no_container_is_not_asked_for_a_key(etlt: Path, tmp_path: Path) -> None:
    etlt.write_bytes(struct.pack("<i", -5) + bytes(64))
    assert refusal(job(etlt), tmp_path).code == "etlt-invalid"


def test_a_key_file_that_can_not_be_read_fails_the_model(etlt: Path, tmp_path: Path) -> None:
    assert refusal(job(etlt, key_file=str(tmp_path / "absent")), tmp_path).code == "etlt-key-missing"


def test_a_missing_codec_leaves_no_decrypted_file(etlt: Path, tmp_path: Path) -> None:
    (tmp_path / "key").write_text("tlt_encode\n")
    assert refusal(job(etlt, key_file=str(tmp_path / "key")), tmp_path).code == "etlt-codec-missing"
    assert not (tmp_path / "decrypted.onnx").exists()
