"""The builder's own words, each with what they mean for the user."""

from __future__ import annotations

import re

import pytest

from prepare_models_entrypoint.contract.error_codes import ERRORS
from prepare_models_entrypoint.converters.messages import TABLES, from_builder_log, from_builder_warnings
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
        "build-failed",
    ),
    ("Error Code 4: API Usage Error (Network input images has missing dimensions in profile 0.)", "inputs-missing"),
    (
        "Error Code 4: (Network has dynamic or shape inputs, but no optimization profile has been defined",
        "inputs-missing",
    ),
    (
        "Error Code 4: (kOPT values for profile 0 violate shape constraints: cc: axis 2 dimensions must be equal",
        "inputs-mismatch",
    ),
    (
        "Profile kOPT values are not self-consistent. Dimensions with name batch must be equal. 1 != 2",
        "inputs-mismatch",
    ),
    ("?: Input dimensions with this name have different constant values or have contradictory", "inputs-mismatch"),
    ("Input tensor x has static dimensions that don't match kMIN dimensions in profile index 0.", "inputs-mismatch"),
    ("IOptimizationProfile: the dynamic input x is not a member of the profile", "inputs-mismatch"),
    (
        "CHECK(composite_op->is_decomposable()) failed. Attention operation was not supported by a dedicated kernel.",
        "onnx-unsupported-operator",
    ),
    ("[Recurrence]: IRecurrenceLayer must have inputs with same shape. First input x", "onnx-unsupported-operator"),
    ("Must have inputs with equal ranks when condition is not a build-time constant", "onnx-unsupported-operator"),
    ("ITopKLayer topk: topk: K exceeds the maximum value allowed (3840).", "onnx-unsupported-operator"),
    ("CHECK(false) failed. Strided & Dilated Deconv are currently not supported", "onnx-unsupported-operator"),
    ("Assertion !layerImpls.empty() failed. indices_1 has no runners that implement it", "onnx-unsupported-operator"),
    ("Tensor output has datatype FP8 but is not produced by IPluginLayer, IQuantizeLayer", "onnx-unsupported-operator"),
    ("Tensor x has datatype UInt8 but is not network-level IO or used as a zero-point", "onnx-unsupported-operator"),
    (
        "IQuantizeLayer/IDequantizeLayer node_of_y has `zero_point` which is not an initializer.",
        "onnx-unsupported-operator",
    ),
    ("conv: spatial dimension of convolution output cannot be negative (dimension of axis 2 is -1)", "inputs-mismatch"),
    (
        "[graphScope.cpp::analyze::471] (Assertion tScope.getType() != ScopeType::kUNDEFINED failed.",
        "onnx-unsupported-operator",
    ),
    ("mm: attempt to multiply two matrices with mismatching dimensions In analyzeShapes at x.cpp:1", "inputs-mismatch"),
    ("Tensor y has axis 2 with inherently negative length. In performVolumeCheck at x.cpp:2559", "inputs-mismatch"),
    ("Error Code 9: Myelin ([myelin_graph.h:1] CHECK failed)", "build-failed"),
    ("Error Code 1: Myelin (MyelinCheckException: operand.h:524: CHECK(is_constant()) failed.", "build-failed"),
    (
        "6: [libLoader.cpp::Impl::293] Error Code 6: Internal Error (Unable to load library: libnvinfer_lean.so.8.6.0)",
        "builder-option-unavailable",
    ),
    ("[E] Unknown option: --int8", "builder-option-unavailable"),
]


@pytest.mark.parametrize(("message", "code"), REAL)
def test_a_known_message_gets_its_code_and_hint(message: str, code: str) -> None:
    error = from_builder_log(["[I] nothing of note", message])
    assert error.code == code
    row = next(known for known in TABLES["builder"] if error.message.startswith(known.cause))
    assert (row.code, row.hint or ERRORS[row.code].advice) == (error.code, error.hint)
    assert message in error.message


def test_every_row_of_the_table_has_a_real_message() -> None:
    for row in TABLES["builder"]:
        assert any(re.search(row.pattern, message) for message, code in REAL if row.code == code), row.pattern


def test_the_table_speaks_in_known_codes() -> None:
    for row in TABLES["builder"]:
        assert row.code in CODES
        assert row.cause
        assert "log" not in row.hint.split()


def test_a_cause_counts_more_than_its_consequences() -> None:
    error = from_builder_log(["Error: the profile is void", "Error Code 2: OutOfMemory"])
    assert error.code == "out-of-memory"


def test_a_layer_without_an_implementation_lacks_memory_only_where_the_builder_said_so() -> None:
    error = "Error Code 10: Internal Error (Could not find any implementation for node {ForeignNode[a...b]}.)"
    room = "Skipping tactic 0x0 due to insufficient memory on requested size of 268435456 detected for tactic 0x0."
    assert from_builder_log([error], ["a tensor has no name"]).code == "build-failed"
    found = from_builder_log([error], ["a tensor has no name", room])
    assert found.code == "out-of-memory"
    assert "268435456" in found.message
    assert from_builder_log(["K exceeds the maximum value"], [room]).code == "onnx-unsupported-operator"


def test_an_unknown_message_is_passed_on_in_one_line() -> None:
    error = from_builder_log(["first", "second", "third\n   and more", "fourth"])
    assert error.code == "build-failed"
    assert error.message.endswith("The builder: second; third and more; fourth")
    assert "static_shapes" in error.hint


def test_what_a_backend_says_of_the_missing_gpu_after_an_error_is_not_the_cause() -> None:
    afterwards = "[checkMacros.cpp::catchCudaError::250] Error Code 1: Cuda Runtime (cudaError 35: CUDA driver version)"
    assert from_builder_log(["a layer fits nowhere", afterwards]).code == "build-failed"
    assert from_builder_log([afterwards]).code == "backend-unusable"


def test_bounds_that_the_engine_will_refuse_are_warnings() -> None:
    clash = "Profile kMAX values are not self-consistent. cc: axis 2 dimensions must be equal for concatenation"
    assert [each["code"] for each in from_builder_warnings([clash, clash, "Unused Input: u"])] == [
        "profile-bounds-unusable"
    ]


def test_a_silent_builder_is_an_error_too() -> None:
    error = from_builder_log([])
    assert error.code == "build-failed"
    assert "no reason" in error.message
