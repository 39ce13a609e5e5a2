"""Every float node test of ONNX, rewritten: the checker and ONNX Runtime take it, and rounded it says the same."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto

from prepare_models_entrypoint.errors import ConvertError
from prepare_models_entrypoint.onnx_graph import affine, graph, opsets
from prepare_models_entrypoint.onnx_graph.prepare import prepare
from prepare_models_entrypoint.onnx_graph.retype import retype
from tests import rounding

# ONNX Runtime raises types of its own for what it lacks.
MISSING = (onnxruntime.capi.onnxruntime_pybind11_state.NotImplemented,)
REFUSED = (
    onnxruntime.capi.onnxruntime_pybind11_state.Fail,
    onnxruntime.capi.onnxruntime_pybind11_state.InvalidArgument,
    onnxruntime.capi.onnxruntime_pybind11_state.InvalidGraph,
    onnxruntime.capi.onnxruntime_pybind11_state.RuntimeException,
    *MISSING,
    RuntimeError,
)
CHECKED = (onnx.checker.ValidationError, onnx.shape_inference.InferenceError)
LIMIT = 0.02
LEAST_COMPARED = 1100

# What is further off than 2 % of its range, and why that is right.
LARGE_INPUTS = "inputs of 10,000 and more are 8 apart in fp16, and the result depends on their differences"
BETWEEN_STEPS = "a value between two steps of the quantization falls to the other side"
APART: dict[str, str] = {
    "test_softmax_large_number": LARGE_INPUTS,
    "test_softmax_large_number_expanded": LARGE_INPUTS,
    "test_softmax_large_number_expanded_ver18": LARGE_INPUTS,
    "test_logsoftmax_large_number": LARGE_INPUTS,
    "test_logsoftmax_large_number_expanded": LARGE_INPUTS,
    "test_logsoftmax_large_number_expanded_ver18": LARGE_INPUTS,
    "test_dynamicquantizelinear_expanded": BETWEEN_STEPS,
    "test_dynamicquantizelinear_max_adjusted_expanded": BETWEEN_STEPS,
    "test_dynamicquantizelinear_min_adjusted_expanded": BETWEEN_STEPS,
    "test_attention_4d_with_past_and_present_qk_matmul_bias_3d_mask_causal": "an output of masked products is infinite",
    "test_attention_4d_with_past_and_present_qk_matmul_bias_4d_mask_causal": "an output of masked products is infinite",
    "test_matmul_1d_3d": "a sum of products cancels out, and bf16 has 8 bits",
    "test_tan": "an angle near the pole, and bf16 has 8 bits",
}


@lru_cache(maxsize=1)
def corpus() -> list[Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from onnx.backend.test.case.node import collect_testcases

        np.random.seed(20261129)  # the generator that onnx's cases draw from
        cases = [case for case in collect_testcases(None) if case.model is not None]
    models = [(case, case.model) for case in cases]
    return [case for case, model in models if model and any(is_float(value) for value in model.graph.input)]


def is_float(value: onnx.ValueInfoProto) -> bool:
    return value.type.tensor_type.elem_type == TensorProto.FLOAT


SCALED = 's = Constant <value = float[4] {{1, 1, {scale}, {scale}}}> () t = {operator} <mode = "{mode}"> (x, s)'
OLD = {
    "Hardmax-11": (11, "t = Hardmax <axis = 1> (x)"), "Softmax-11": (11, "t = Softmax <axis = 1> (x)"),
    **{f"Upsample-{opset} {mode}": (opset, f't = Upsample <mode = "{mode}", scales = [1.0, 1.0, 2.0, 3.0]> (x)')
       for opset in (7, 8) for mode in ("linear", "nearest")},
    **{f"{operator}-{opset} {mode} {scale}": (opset, SCALED.format(operator=operator, mode=mode, scale=scale))
       for operator, opset, scale in (("Resize", 10, 3), ("Resize", 10, 0.4), ("Upsample", 9, 2))
       for mode in ("linear", "nearest")},
}  # fmt: skip


@pytest.mark.parametrize(("opset", "nodes"), OLD.values(), ids=OLD.keys())
def test_a_model_in_a_newer_opset_answers_as_before(opset: int, nodes: str) -> None:
    ends = "(float[1,2,9,9] x) => (float[n,c,h,w] y)"
    text = f'<ir_version: 5, opset_import: ["" : {opset}]> g {ends} {{ {nodes} y = Neg (t) }}'
    feeds = {"x": np.random.default_rng(0).standard_normal((1, 2, 9, 9)).astype(np.float32)}
    expected = rounding.session(onnx.parser.parse_model(text)).run(None, feeds)[0]
    lifted = opsets.lift(prepare(onnx.parser.parse_model(text)), 19)
    assert np.array_equal(rounding.session(lifted).run(None, feeds)[0], expected)
    assert "Softmax" in nodes or "t" in graph.tensor_names(lifted)  # a calibration cache has these names


def rewritten(model: onnx.ModelProto, target: str) -> onnx.ModelProto | None:
    """Return a model in another precision, None for one that is too old for bf16 and can't be lifted."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    copy = prepare(copy)
    if target == "bf16":
        try:
            copy = opsets.for_bf16(copy)
        except ConvertError:
            return None
    affine.fold(copy)
    return retype(copy, target).model


def distance(case: Any, model: onnx.ModelProto) -> float | None:
    """Return the largest error of any output over its range, None where ONNX Runtime lacks the operator."""
    try:
        reference = rounding.session(case.model)
        feeds = dict(zip((value.name for value in reference.get_inputs()), case.data_sets[0][0], strict=False))
        expected = reference.run(None, feeds)
    except REFUSED:  # of the source model: nothing to compare
        return None
    found = rounding.session(rounding.rounded(model)).run(None, feeds)
    return max((apart(a, b) for a, b in zip(expected, found, strict=True) if isinstance(a, np.ndarray)), default=0.0)


def apart(expected: Any, found: Any) -> float:
    assert expected.shape == found.shape
    if not expected.size:
        return 0.0
    if expected.dtype != np.float32:
        return float((expected != found).mean())
    finite = np.isfinite(expected)
    if not np.array_equal(finite, np.isfinite(found)):
        return np.inf
    values = np.abs(expected[finite])
    return float(np.abs(expected[finite] - found[finite]).max() / max(values.max(), 1e-3)) if values.size else 0.0


@pytest.mark.parametrize("target", ["fp16", "bf16"])
def test_every_operator_of_onnx_can_be_rewritten(target: str) -> None:
    compared, far = 0, {}
    for case in corpus():
        model = rewritten(case.model, target)
        if model is None:
            continue
        well_formed(case, model, full_check=target == "fp16")
        error = distance(case, model)
        compared += error is not None
        if error is not None and error > LIMIT:
            far[case.name] = error
    assert compared > LEAST_COMPARED
    assert {name: error for name, error in far.items() if name not in APART} == {}


def well_formed(case: Any, model: onnx.ModelProto, *, full_check: bool) -> None:
    """Hold a rewritten model against the checker and ONNX Runtime, where these take its source."""
    with contextlib.suppress(*CHECKED, *REFUSED):
        onnx.checker.check_model(case.model, full_check=True)
        rounding.session(case.model)
        with told(case.name):
            onnx.checker.check_model(model, full_check=full_check)
            if full_check:
                with contextlib.suppress(*MISSING):
                    rounding.session(model)


@contextlib.contextmanager
def told(name: str) -> Iterator[None]:
    """Have a failure name its case, and be one whatever is suppressed around it."""
    try:
        yield
    except (*CHECKED, *REFUSED) as error:
        pytest.fail(f"{name}: {error}")
