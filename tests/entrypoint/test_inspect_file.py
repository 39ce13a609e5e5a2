"""What a model file is, or why that can't be told: always an answer, never a traceback."""

from __future__ import annotations

import hashlib
import json
import struct
import sys
from pathlib import Path
from typing import Any, Dict, Optional

import pytest

from prepare_models_entrypoint.inspect.file import describe

from .model_folders import record as written
from .model_folders import tensor
from .test_header import tensorrt


def error_code(file: Path, key_file: Optional[Path] = None) -> str:
    document = describe(file, key_file)
    assert document["io"] is None
    assert document["error"]["stage"] == "inspect"
    assert document["error"]["hint"]
    code: str = document["error"]["code"]
    return code


def file(folder: Path, name: str, content: bytes) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def test_what_is_no_file_is_not_found(tmp_path: Path) -> None:
    assert error_code(tmp_path / "absent.onnx") == "source-not-found"
    assert error_code(tmp_path) == "source-not-a-model"
    assert error_code(tmp_path / "a\0b.onnx") == "source-unreadable"


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("model.txt", "source-not-a-model"),
        ("model", "source-not-a-model"),
        ("model.plan", "source-not-a-model"),
        ("model.engine", "source-not-a-model"),
        ("model.etlt", "etlt-invalid"),
        ("model.ONNX", "source-not-a-model"),
    ],
)
def test_an_error_stands_in_the_document(tmp_path: Path, name: str, code: str) -> None:
    path = file(tmp_path, name, b"no model")
    assert error_code(path) == code
    assert describe(path, None)["bytes"] == 8


@pytest.mark.parametrize(
    ("content", "form"),
    [
        (b"<\n  ir_version: 8\n>\n", "onnxtxt"),
        (b"ir_version: 8\ngraph {\n", "textproto"),
        (b'{"irVersion": "8"}', "json"),
    ],
)
def test_a_model_in_text_form_is_told_the_way_to_binary(tmp_path: Path, content: bytes, form: str) -> None:
    error = describe(file(tmp_path, "model.onnx", content), None)["error"]
    assert error["code"] == "source-not-a-model"
    assert f"format='{form}'" in error["hint"]


def test_a_plan_alone_tells_its_header_and_why_no_bindings(tmp_path: Path) -> None:
    document = describe(file(tmp_path, "net/1/model.plan", tensorrt()), None)
    assert document["format"] == "plan"
    assert document["header"]["version"] == "10.3.0.30"
    assert document["io"] is None
    assert "GPU" in document["note"]
    assert document["error"] is None


ORIN = {"name": "Orin", "compute_capability": "8.7", "driver": "540.4.0", "cuda_version": "12.6"}
RUNTIME = {
    "python": "3.10.12", "machine": "aarch64", "backend": {"name": "tensorrt", "version": "10.3.0"}, "gpu": ORIN,
    "gpu_reason": None, "system": "linux",
}  # fmt: skip


X = tensor("x", "input", [1, 3])


def record(plan: Path, sha256: str) -> Dict[str, Any]:
    report: Dict[str, Any] = {**written([X], b""), "runtime": RUNTIME}
    report["engine"]["sha256"] = sha256
    (plan.parent.parent / "report.json").write_text(json.dumps(report))
    return report


def test_a_plan_beside_its_report_tells_its_bindings(tmp_path: Path) -> None:
    plan = file(tmp_path, "net/1/model.plan", tensorrt())
    record(plan, hashlib.sha256(tensorrt()).hexdigest())
    document = describe(plan, None)
    assert document["io"] == [X]
    assert document["told"].startswith("built by TensorRT 10.3.0.30 for sm_87; this machine has ")


def test_the_report_of_another_engine_is_not_believed(tmp_path: Path) -> None:
    plan = file(tmp_path, "net/1/model.plan", tensorrt())
    record(plan, "0" * 64)
    assert describe(plan, None)["io"] is None


@pytest.mark.parametrize("broken", ["", "[]", "{}", '{"engine": null}', "\xff"])
def test_a_broken_report_beside_a_plan_is_ignored(tmp_path: Path, broken: str) -> None:
    plan = file(tmp_path, "net/1/model.plan", tensorrt())
    file(tmp_path, "net/report.json", broken.encode("latin-1"))
    assert describe(plan, None)["error"] is None


def test_an_encrypted_model_tells_its_payload_without_a_key(tmp_path: Path) -> None:
    onnx = describe(file(tmp_path, "a.etlt", bytes(64)), None)
    uff = describe(file(tmp_path, "b.etlt", struct.pack("<i", 7) + b"input_1" + bytes(64)), None)
    assert (onnx["format"], onnx["payload"], onnx["error"]) == ("etlt", "onnx", None)
    assert (uff["payload"], uff["error"]) == ("uff", None)
    assert "input_1" in uff["note"]


def test_a_missing_key_file_is_an_error_in_the_document(tmp_path: Path) -> None:
    model = file(tmp_path, "a.etlt", bytes(64))
    assert error_code(model, tmp_path / "absent") == "etlt-key-missing"
    assert error_code(model, file(tmp_path, "key", b"tlt_encode")) == "etlt-codec-missing"


def test_a_plan_in_a_directory_of_its_own_finds_the_report_beside_it(tmp_path: Path) -> None:
    plan = file(tmp_path, "net/model.engine", tensorrt())
    record(tmp_path / "net" / "1" / "x", hashlib.sha256(tensorrt()).hexdigest())
    assert describe(plan, None)["io"] == [X]


def test_a_models_directory_is_each_of_its_engines(tmp_path: Path) -> None:
    first = file(tmp_path, "a/1/model.plan", tensorrt())
    second = file(tmp_path, "b/1/model.plan", b"no plan")
    file(tmp_path, "b/notes/model.plan", tensorrt())
    for folder, expected in ((tmp_path, [first, second]), (tmp_path / "a", [first])):
        document = describe(folder, None)
        assert document["format"] == "models-dir"
        assert [model["file"] for model in document["models"]] == [str(path) for path in expected]
    assert [model["error"] is None for model in describe(tmp_path, None)["models"]] == [True, False]


def test_a_whole_model_without_the_module_that_reads_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    whole = b"\x08\x08\x3a\x02\x12\x00"  # ir_version, an empty graph name
    assert error_code(file(tmp_path, "model.onnx", whole)) == "module-missing"
    assert error_code(file(tmp_path, "part.onnx", whole[:-1])) == "onnx-invalid"
