"""Files of strangers that are no JSON, changed in every way, and the reports that people edit.

What the command says of them may be anything but a bug; what it calls in a process of its own raises the errors of a
stage and no others.
"""

from __future__ import annotations

import contextlib
import json
import struct
from pathlib import Path

import pytest
from hypothesis import strategies as st

from prepare_models.__main__ import main
from prepare_models.reports import inspection
from prepare_models_entrypoint.consumers.lint import of_directory
from prepare_models_entrypoint.contract import other_formats
from prepare_models_entrypoint.contract.environment import RuntimeInfo
from prepare_models_entrypoint.contract.provenance import statement
from prepare_models_entrypoint.contract.report import read_record
from prepare_models_entrypoint.converters import etlt
from prepare_models_entrypoint.errors import StageError
from prepare_models_entrypoint.inspect import header, plan_file
from prepare_models_entrypoint.onnx_graph import calibration_cache
from tests.entrypoint.model_folders import Repository, record, tensor

from .fuzzing import TOKENS, changed, fuzzed, mangled, never_a_bug
from .records import RUNTIME
from .test_report_views import run

ENGINE = struct.pack("<4sIIIQ4s", b"ftrt", 0, 239, 0, 64, bytes((10, 3, 0, 30))).ljust(64, b"\0")
HERE: RuntimeInfo = {**RUNTIME, "gpu": None, "gpu_reason": "none is seen"}
MANIFEST = """\
version: 1
defaults: {precision: fp16, ngc: {key_file: k}}
models:
- &a
  name: net
  source: net.onnx
  sha256: 0000000000000000000000000000000000000000000000000000000000000000
  key: {env: KEY}
  inputs: {x: 1x3x8x8}
  outputs: [y]
  builder: {workspace: 1GiB, optimization_level: 3, refit: all}
  verify: {images: pictures, count: 3}
- {<<: *a, name: other, precision: int8, calibration_cache: c.cache, eula: https://example.com}
- name: third
  source: a.tar.gz!b/c.onnx
  profiles:
  - {x: {min: 1x3, opt: 2x3, max: 4x3}}
  triton: {}
"""
CONFIG = """\
name: "seg"
platform: "tensorrt_plan"
max_batch_size: 8  # of the engine
input [ { name: "x" data_type: TYPE_FP32 dims: [ 3, -1, 8 ] reshape { shape: [ 3 ] } } ]
output [ { name: "y" data_type: TYPE_FP16 dims: [ 2 ] label_filename: "labels.txt" } ]
instance_group [ { count: 1 kind: KIND_GPU gpus: [ 0 ] } ]
dynamic_batching { preferred_batch_size: [ 4 ] max_queue_delay_microseconds: 100 }
optimization { cuda { graphs: true graph_spec { batch_size: 1 input { key: "x" value { dim: [ 3, 4, 8 ] } } } } }
sequence_batching { control_input { name: "s" control { kind: CONTROL_SEQUENCE_START fp32_false_true: [ 0, 1 ] } } }
parameters { key: "a" value { string_value: "b\\n" } }
model_warmup { name: "w" inputs { key: "x" value { data_type: TYPE_FP32 dims: [ 3, 4, 8 ] zero_data: true } } }
"""
PIECES = (
    b"{", b"}", b"[", b"]", b":", b"<", b">", b"0x", b"1e400", b"nan", b"-inf", b"TYPE_", b'"', b"'", b"\\x", b"#",
    b"input { }", b"ensemble_scheduling { step { } }", b"version_policy { specific { versions: [ 1 ] } }",
    b"dims: [ 0 ]",
    b"count: 99999999999999999999", b"max_batch_size: -1", b"backend: ", b"model_transaction_policy { }", b"{ " * 3000,
)  # fmt: skip


@fuzzed
def test_a_manifest(tmp_path: Path, capsys: pytest.CaptureFixture[str], data: st.DataObject) -> None:
    manifest = tmp_path / "models.yaml"
    (tmp_path / "net.onnx").write_bytes(b"model")
    manifest.write_bytes(data.draw(mangled([MANIFEST.encode()], TOKENS)))
    never_a_bug(
        capsys, "plan", str(manifest), "--executor", "local", "--quiet", "--models-dir", str(tmp_path / "models")
    )


@fuzzed
def test_a_report(tmp_path: Path, capsys: pytest.CaptureFixture[str], data: st.DataObject) -> None:
    report, before = tmp_path / "report.json", tmp_path / "before.json"
    before.write_text(json.dumps(run()))
    report.write_bytes(data.draw(st.one_of(changed(run()), changed(run()["models"][0]))))
    for form in ("html", "markdown", "junit"):
        never_a_bug(capsys, "report", "render", str(report), "--format", form, "-o", str(tmp_path / "out"))
    never_a_bug(capsys, "report", "diff", str(before), str(report))


@fuzzed
def test_a_statement_beside_an_engine(tmp_path: Path, capsys: pytest.CaptureFixture[str], data: st.DataObject) -> None:
    Repository(tmp_path / "models").model([tensor("x", "input", [1])])
    report = read_record(tmp_path / "models" / "seg")
    assert report is not None
    true = json.loads(statement(report, "1/model.plan"))
    (tmp_path / "models" / "seg" / "provenance.json").write_bytes(data.draw(changed(true)))
    never_a_bug(capsys, "provenance", "verify", str(tmp_path / "models"))


def test_a_statement_with_two_digests_of_one_file_is_damaged(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Repository(tmp_path / "models").model([tensor("x", "input", [1])])
    report = read_record(tmp_path / "models" / "seg")
    assert report is not None
    true = json.loads(statement(report, "1/model.plan"))
    true["subject"] += true["subject"]
    (tmp_path / "models" / "seg" / "provenance.json").write_text(json.dumps(true))
    assert main(["provenance", "verify", str(tmp_path / "models")]) == 1
    assert "the statement is damaged" in capsys.readouterr().out


@fuzzed
def test_a_configuration_of_triton(tmp_path: Path, data: st.DataObject) -> None:
    models = tmp_path / "models"
    folder = Repository(models).model([tensor("x", "input", [1, 3, 4, 8]), tensor("y", "output", [1, 2])])
    (folder / "config.pbtxt").write_bytes(data.draw(mangled([CONFIG.encode()], PIECES)))
    assert of_directory(models, ["triton"])["error"] is None


@fuzzed
def test_the_record_that_lint_reads(tmp_path: Path, data: st.DataObject) -> None:
    models = tmp_path / "models"
    folder = Repository(models).model([tensor("x", "input", [1, 3, 4, 8]), tensor("y", "output", [1, 2])])
    (folder / "config.pbtxt").write_text(CONFIG)
    true = json.loads((folder / "report.json").read_text())
    (folder / "report.json").write_bytes(data.draw(changed(true)))
    of_directory(models, ["triton", "isaac-ros", "deepstream"])


@fuzzed
def test_the_record_that_inspect_reads(tmp_path: Path, data: st.DataObject) -> None:
    folder = tmp_path / "seg"
    (folder / "1").mkdir(parents=True, exist_ok=True)
    plan = folder / "1" / "model.plan"
    plan.write_bytes(ENGINE)
    true = record([tensor("x", "input", [1, 3], "float32", ([1, 3], [4, 3]))], ENGINE, runtime=RUNTIME)
    (folder / "report.json").write_bytes(data.draw(changed(true)))
    document = {"file": "x", "bytes": 64, "error": None, **plan_file.describe(plan, layers=True, here=HERE)}
    inspection.render(json.loads(json.dumps(document)), layers=True, weights=True).encode("utf-8")


@fuzzed
def test_a_calibration_cache(tmp_path: Path, data: st.DataObject) -> None:
    file = tmp_path / "x.cache"
    seeds = [calibration_cache.write({"input": 0.02, "a:0": 3.0}), b"TRT-8601-EntropyCalibration2\nx: 3c010a14\n"]
    pieces = (b"TRT-", b"-MinMaxCalibration", b"7f800000", b"ffc00000", b"a: b: c", b"\r\n", b"\xef\xbb\xbf")
    file.write_bytes(data.draw(mangled(seeds, pieces)))
    with contextlib.suppress(StageError):
        cache = calibration_cache.read(file, "x.cache")
        found = calibration_cache.coverage(cache, ["input", "b"], ["input", "a"])
        json.dumps(found).encode("utf-8")
        cache.for_version("10.3.0")
        calibration_cache.check(found, allow_fallback=True)


@fuzzed
def test_the_first_bytes_of_an_engine(tmp_path: Path, data: st.DataObject) -> None:
    file = tmp_path / "x.plan"
    metadata = json.dumps({"description": "Ultralytics", "names": {"0": "x"}}).encode()
    seeds = [ENGINE, ENGINE.replace(b"ftrt", b"vtrt"), struct.pack("<I", len(metadata)) + metadata + ENGINE]
    file.write_bytes(data.draw(mangled(seeds, (b"ftrt", b"vtrt", b"PK\x03\x04", b"[" * 100_000))))
    with contextlib.suppress(StageError):
        json.dumps(header.read_header(file)).encode("utf-8")
    other_formats.kind(file)


@fuzzed
def test_the_first_bytes_of_an_encrypted_model(tmp_path: Path, data: st.DataObject) -> None:
    file = tmp_path / "x.etlt"
    seeds = [struct.pack("<i", 0) + bytes(100), struct.pack("<i", 7) + b"input_1" + bytes(100)]
    file.write_bytes(data.draw(mangled(seeds, (struct.pack("<i", -1), struct.pack("<i", 1 << 30)))))
    with contextlib.suppress(StageError):
        etlt.read_header(file).input_name.encode("utf-8")
