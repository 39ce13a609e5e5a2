"""Which precision is asked for and how, and what proves that an engine has it. No backend is needed."""

from __future__ import annotations

from typing import Any, Dict, List, Optional, Tuple

import pytest

from prepare_models_entrypoint.contract.precision import Means
from prepare_models_entrypoint.converters import layer_info
from prepare_models_entrypoint.converters.precision import Evidence, Rule, doubts, judge_by_size, prove, rule
from prepare_models_entrypoint.errors import ConvertError

TEN = ["FP16", "INT8", "BF16", "FP8", "TF32"]
EIGHT = ["FP16", "INT8", "TF32"]


def code(call: Any) -> str:
    with pytest.raises(ConvertError) as caught:
        call()
    assert caught.value.hint
    return caught.value.code


@pytest.mark.parametrize(
    ("requested", "flags", "qdq", "cache", "expected"),
    [
        ("fp32", EIGHT, False, False, ((), (), False)),
        ("fp16", EIGHT, False, False, (("FP16",), (), False)),
        ("bf16", TEN, False, False, (("BF16",), (), False)),
        ("int8", EIGHT, False, True, (("INT8", "FP16"), (), True)),
        ("int8", TEN, True, False, (("INT8", "FP16"), (), False)),
        ("fp8", TEN, True, False, (("FP8", "FP16"), (), False)),
        ("fp32", None, False, False, ((), (), False)),
        ("fp16", None, False, False, ((), ("fp16",), False)),
        ("int8", None, False, True, ((), ("fp16", "qdq"), False)),
        ("int8", None, True, True, ((), (), False)),
        ("fp8", None, True, False, ((), (), False)),
    ],
)
def test_one_rule_for_each_runtime(
    requested: str, flags: Optional[List[str]], qdq: bool, cache: bool, expected: Tuple[Any, ...]
) -> None:
    found = rule(requested, flags=flags, has_qdq=qdq, has_cache=cache)
    assert (found.flags, found.rewrites, found.calibrator) == expected


def test_bf16_and_fp8_come_from_the_graph_where_types_do() -> None:
    def typed(requested: str, **facts: Any) -> Tuple[str, ...]:
        return rule(requested, flags=None, has_qdq=False, has_cache=False, **facts).rewrites

    assert typed("bf16") == ("bf16",)
    assert typed("bf16", typed=True) == ()
    assert typed("fp8", has_samples=True) == ("fp8",)
    assert code(lambda: typed("fp8")) == "precision-unavailable"


def test_what_int8_does_not_reach_may_stay_in_fp32() -> None:
    native = rule("int8", flags=EIGHT, has_qdq=False, has_cache=True, remainder="fp32")
    typed = rule("int8", flags=None, has_qdq=False, has_cache=True, remainder="fp32")
    assert (native.flags, typed.rewrites) == (("INT8",), ("qdq",))


@pytest.mark.parametrize(
    ("requested", "flags", "expected"),
    [
        ("int8", EIGHT, "calibration-missing"),
        ("int8", None, "calibration-missing"),
        ("bf16", EIGHT, "precision-unavailable"),
        ("fp8", TEN, "precision-unavailable"),
    ],
)
def test_what_a_runtime_can_not_deliver_is_refused(requested: str, flags: Optional[List[str]], expected: str) -> None:
    assert code(lambda: rule(requested, flags=flags, has_qdq=False, has_cache=False)) == expected


def test_not_delivered_is_failed_unless_a_fallback_is_allowed() -> None:
    seen = Evidence("engine", {"fp16": 3, "fp32": 1}, {"fp16": 10})
    proof = prove("fp16", Rule(Means.FLAGS, ("FP16",)), seen, allow_fallback=False)
    assert (proof["delivered"], proof["source"], proof["how"]) == ("fp16", "engine", "builder flag FP16")
    assert (proof["layers_share"], proof["weights_share"]) == ({"fp16": 0.75, "fp32": 0.25}, {"fp16": 1.0})
    assert code(lambda: prove("int8", Rule(Means.OWN_QDQ), seen, allow_fallback=False)) == "precision-not-delivered"
    assert prove("int8", Rule(Means.OWN_QDQ), seen, allow_fallback=True)["delivered"] == "fp16"


def test_without_evidence_nothing_but_fp32_counts_as_delivered() -> None:
    half = prove("fp16", Rule(Means.TAO_CONVERTER), None, allow_fallback=False)
    assert (half["delivered"], half["source"]) == (None, None)
    assert [warning["code"] for warning in doubts(half)] == ["precision-unproven"]
    assert doubts(prove("fp32", Rule(Means.EXPORTED), None, allow_fallback=False)) == []


@pytest.mark.parametrize(
    ("layers", "told"), [({"fp8": 5, "fp16": 6}, ["precision-partial"]), ({"fp8": 6, "fp16": 5}, [])]
)
def test_a_precision_of_the_smaller_part_is_told(layers: Dict[str, int], told: List[str]) -> None:
    proof = prove("fp8", Rule(Means.OWN_QDQ), Evidence("graph", layers), allow_fallback=False)
    assert [warning["code"] for warning in doubts(proof)] == told


@pytest.mark.parametrize(
    ("requested", "engine", "model", "shown"),
    [
        ("fp16", 0.52, 100, True),
        ("fp16", 1.02, 100, False),
        ("int8", 0.28, 100, True),
        ("int8", 0.52, 100, False),
        ("fp16", 0.52, 1, False),
        ("fp32", 0.5, 100, False),
    ],
)
def test_an_engine_too_small_for_a_higher_precision_shows_its_own(
    requested: str, engine: float, model: int, shown: bool
) -> None:
    size = model << 20
    found, told = judge_by_size(requested, engine_bytes=int(engine * size), model_bytes=size)
    assert found is shown
    assert ("judged by size alone" in told) is shown
    assert ("unproven" in told) is (not shown and requested != "fp32")


def layer(kind: str, text: str, key: str = "Format/Datatype") -> Dict[str, Any]:
    return {"LayerType": kind, "Inputs": [{key: text}], "Outputs": [{key: "Row major linear FP32"}]}


@pytest.mark.parametrize("key", ["Format/Datatype", "Datatype"])
def test_the_precision_of_layers_is_read_from_layer_information(key: str) -> None:
    document = {
        "Layers": [
            layer("CaskConvolution", "Thirty-two wide channel vectorized row major Int8 format", key),
            layer("CaskConvolution", "Channel major FP16 format where channel % 8 == 0", key),
            layer("Reformat", "Row major linear FP32", key),
        ]
    }
    evidence = layer_info.of_layers(document)
    assert evidence is not None
    assert evidence.layers == {"int8": 1, "fp16": 1}


@pytest.mark.parametrize("document", [None, [], {}, {"Layers": ["conv1", "conv2"]}, {"Layers": [{"Name": "x"}]}])
def test_layer_information_without_types_proves_nothing(document: Any) -> None:
    assert layer_info.of_layers(document) is None
