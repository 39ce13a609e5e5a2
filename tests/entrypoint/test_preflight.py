"""What the manifest says is compared with the network before a build is paid for."""

from __future__ import annotations

from typing import Dict, List, Sequence

import pytest

from prepare_models_entrypoint.contract.report import Binding
from prepare_models_entrypoint.contract.shapes import ShapeRange
from prepare_models_entrypoint.converters import preflight
from prepare_models_entrypoint.errors import ConvertError


def binding(name: str, shape: Sequence[int], mode: str = "input") -> Binding:
    return Binding(name=name, mode=mode, dtype="float32", shape=list(shape), profiles=[], source="network")


def fixed(*shape: int) -> ShapeRange:
    return ShapeRange(shape, shape, shape)


SEGMENTATION = [binding("input_2:0", (1, 3, 544, 960)), binding("argmax_1", (1, 544, 960, 1), "output")]
DYNAMIC = [binding("images", (-1, 3, -1, 960)), binding("scale", (1,)), binding("boxes", (-1, 4), "output")]


def refusal(bindings: List[Binding], inputs: Dict[str, ShapeRange]) -> ConvertError:
    with pytest.raises(ConvertError) as caught:
        preflight.resolve_profile(bindings, inputs)
    return caught.value


@pytest.mark.parametrize(
    ("bindings", "layers"), [([], 0), (SEGMENTATION, 0), (SEGMENTATION[:1], 3), (SEGMENTATION[1:], 3)]
)
def test_a_network_without_layers_inputs_or_outputs_is_refused(bindings: List[Binding], layers: int) -> None:
    with pytest.raises(ConvertError, match=f"{layers} layers") as caught:
        preflight.check_network(bindings, layers)
    assert caught.value.code == "network-empty"


def test_a_whole_network_passes() -> None:
    preflight.check_network(SEGMENTATION, 1)
    preflight.check_outputs(SEGMENTATION, [])
    preflight.check_outputs(SEGMENTATION, ["argmax_1"])


def test_outputs_are_compared_as_a_set() -> None:
    two = [binding("a", (1,), "output"), binding("b:0", (1,), "output")]
    preflight.check_outputs(two, ["b:0", "a"])
    with pytest.raises(ConvertError) as caught:
        preflight.check_outputs(two, ["a"])
    assert caught.value.code == "outputs-mismatch"


def test_a_wrong_output_is_answered_with_the_line_to_write() -> None:
    with pytest.raises(ConvertError) as caught:
        preflight.check_outputs(SEGMENTATION, ["argmax"])
    assert "the model has argmax_1" in caught.value.message
    assert 'outputs: ["argmax_1"]' in caught.value.hint


def test_a_static_model_needs_no_inputs() -> None:
    shape = [1, 3, 544, 960]
    assert preflight.resolve_profile(SEGMENTATION, {}) == {"input_2:0": {"min": shape, "opt": shape, "max": shape}}


def test_a_static_model_may_be_told_its_own_shape() -> None:
    given = preflight.resolve_profile(SEGMENTATION, {"input_2:0": fixed(1, 3, 544, 960)})
    assert given == preflight.resolve_profile(SEGMENTATION, {})


def test_a_dynamic_model_takes_the_manifests_range() -> None:
    wanted = ShapeRange((1, 3, 544, 960), (2, 3, 544, 960), (8, 3, 1088, 960))
    assert preflight.resolve_profile(DYNAMIC, {"images": wanted}) == {
        "images": {"min": [1, 3, 544, 960], "opt": [2, 3, 544, 960], "max": [8, 3, 1088, 960]},
        "scale": {"min": [1], "opt": [1], "max": [1]},
    }


def test_an_unknown_input_is_answered_with_the_models_own() -> None:
    error = refusal(SEGMENTATION, {"input_2": fixed(1, 3, 544, 960)})
    assert error.code == "inputs-unknown"
    assert '"input_2"' in error.message
    assert "'input_2:0' (1x3x544x960)" in error.message


def test_an_output_is_no_input() -> None:
    assert refusal(SEGMENTATION, {"argmax_1": fixed(1, 544, 960, 1)}).code == "inputs-unknown"


def test_missing_shapes_are_answered_with_the_line_to_write() -> None:
    error = refusal(DYNAMIC, {})
    assert error.code == "inputs-missing"
    assert "'images' (-1x3x-1x960)" in error.message
    assert "scale" not in error.message
    assert 'inputs: {"images": {min: 1x3x1x960, opt: 1x3x1x960, max: 8x3x8x960}}' in error.hint


@pytest.mark.parametrize(
    ("wanted", "why"),
    [
        (fixed(3, 544, 960), "has rank 3, the model's has rank 4"),
        (fixed(1, 3, 512, 960), "has 512 on axis 2, the model fixes 544"),
        (ShapeRange((1, 3, 544, 960), (1, 3, 544, 960), (8, 3, 544, 960)), "has 8 on axis 0, the model fixes 1"),
        (ShapeRange((1, 1, 544, 960), (1, 3, 544, 960), (1, 3, 544, 960)), "has 1 on axis 1, the model fixes 3"),
    ],
)
def test_a_shape_against_the_model_is_refused_with_its_axis(wanted: ShapeRange, why: str) -> None:
    error = refusal(SEGMENTATION, {"input_2:0": wanted})
    assert error.code == "inputs-mismatch"
    assert why in error.message
    assert "1x3x544x960" in error.hint
