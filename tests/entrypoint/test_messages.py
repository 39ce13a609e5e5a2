"""The builder's own words, each with what they mean for the user."""

from __future__ import annotations

import re

import pytest

from prepare_models_entrypoint.converters.messages import TABLE, from_builder_log
from prepare_models_entrypoint.errors import CODES

REAL = [
    ("Error Code 4: there are no tactics for node conv1 within workspace limit", "workspace-too-small"),
    ("Could not find any implementation for node Conv_0 due to insufficient workspace.", "workspace-too-small"),
    ("Error Code 2: OutOfMemory (no further information)", "out-of-memory"),
    ("Device memory is insufficient: Tactic Device request: 504MB Available: 220MB, insufficient", "out-of-memory"),
    ("Requested amount of GPU memory could not be allocated: std::bad_alloc", "out-of-memory"),
    ("FP32 GEMM is not supported", "precision-unavailable"),
    ("Calibration table does not match calibrator algorithm type.", "calibration-cache-refused"),
    ("[E] Target GPU SM 70 is not supported by this TensorRT release.", "compute-capability-unsupported"),
    ("SM 87 not supported by this build", "compute-capability-unsupported"),
    ("[ERROR] UffParser: Could not read buffer. please check the encoding key", "etlt-key-wrong"),
    ("Plugin not found, are the plugin name, version, and namespace correct?", "plugin-missing"),
    ("getPluginCreator could not find plugin: BatchedNMS_TRT version: 1", "plugin-missing"),
    ("Unsupported ONNX data type: DOUBLE (11)", "onnx-unsupported-operator"),
    ("Saving engine to file failed: No space left on device", "disk-full"),
    ("error while loading shared libraries: libnvinfer.so.8: cannot open shared object file", "backend-unusable"),
    ("Version tag does not match. Note: Current Version: 43, Serialized Engine Version: 0", "engine-unusable"),
    (
        "Error Code 10: Internal Error (Could not find any implementation for node {ForeignNode[a...b]}.)",
        "out-of-memory",
    ),
    ("Error Code 4: API Usage Error (Network input images has missing dimensions in profile 0.)", "inputs-mismatch"),
    ("[E] Unknown option: --int8", "builder-option-unavailable"),
]


@pytest.mark.parametrize(("message", "code"), REAL)
def test_a_known_message_gets_its_code_and_hint(message: str, code: str) -> None:
    error = from_builder_log(["[I] nothing of note", message])
    assert error.code == code
    assert error.hint in {hint for _, known, hint in TABLE if known == code}
    assert message in error.message


def test_every_row_of_the_table_has_a_real_message() -> None:
    for pattern, code, _ in TABLE:
        assert any(re.search(pattern, message) for message, known in REAL if known == code), pattern


def test_the_table_speaks_in_known_codes() -> None:
    for pattern, code, hint in TABLE:
        assert re.compile(pattern).pattern == pattern
        assert code in CODES
        assert hint


def test_a_cause_counts_more_than_its_consequences() -> None:
    error = from_builder_log(["Error: the profile is void", "Error Code 2: OutOfMemory"])
    assert error.code == "out-of-memory"


def test_an_unknown_message_is_passed_on_in_one_line() -> None:
    error = from_builder_log(["first", "second", "third\n   and more", "fourth"])
    assert error.code == "build-failed"
    assert error.message == "the builder gave up: second; third and more; fourth"


def test_a_silent_builder_is_an_error_too() -> None:
    error = from_builder_log([])
    assert error.code == "build-failed"
    assert "no reason" in error.message
