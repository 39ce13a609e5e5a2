"""What a build took, remembered for the next one of the same model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prepare_models_entrypoint.contract.job import ModelJob
from prepare_models_entrypoint.converters import build_time

RTX: Any = {"backend": {"name": "tensorrt_rtx", "version": "1.7"}, "gpu": None}
MODEL = ModelJob(name="seg", source="/nets/seg.onnx", output_dir="out", deploy_dir="out")


def test_the_next_build_is_expected_to_take_as_long(tmp_path: Path) -> None:
    file = build_time.file_for(tmp_path / "durations", MODEL, RTX)
    assert build_time.expected(file, "fp16") is None
    build_time.remember(file, "fp16", 12.5)
    build_time.remember(file, "int8", 80.0)
    assert build_time.expected(file, "fp16") == 12.5
    assert build_time.expected(file, "fp32") == 80.0, "another precision is better than no idea"


def test_another_model_or_backend_is_another_story(tmp_path: Path) -> None:
    other = ModelJob(name="seg", source="/nets/other.onnx", output_dir="out", deploy_dir="out")
    full: Any = {**RTX, "backend": {"name": "tensorrt", "version": "10.3.0"}}
    files = {build_time.file_for(tmp_path, model, runtime) for model in (MODEL, other) for runtime in (RTX, full)}
    assert len(files) == 4


def test_a_damaged_memory_is_no_memory(tmp_path: Path) -> None:
    file = tmp_path / "seg.json"
    for text in ("", "[]", '{"fp16": "long"}', '{"fp16": null}'):
        file.write_text(text, encoding="ascii")
        assert build_time.expected(file, "fp16") is None
    build_time.remember(file, "fp16", 1.0)
    assert build_time.expected(file, "fp16") == 1.0
