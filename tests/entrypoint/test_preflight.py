"""What the manifest says is compared with the network before a build is paid for."""

from __future__ import annotations

from pathlib import Path
from typing import Dict, List, Sequence

import pytest

from prepare_models_entrypoint.contract.report import Binding
from prepare_models_entrypoint.contract.shapes import ShapeRange
from prepare_models_entrypoint.converters import preflight, profiles
from prepare_models_entrypoint.converters.preflight import memory_available
from prepare_models_entrypoint.converters.profiles import Traits
from prepare_models_entrypoint.errors import ConvertError


def binding(name: str, shape: Sequence[int], mode: str = "input") -> Binding:
    return Binding(name=name, mode=mode, dtype="float32", shape=list(shape), profiles=[], source="network")


def fixed(*shape: int) -> ShapeRange:
    return ShapeRange(min=shape, opt=shape, max=shape)


SEGMENTATION = [binding("input_2:0", (1, 3, 544, 960)), binding("argmax_1", (1, 544, 960, 1), "output")]
DYNAMIC = [binding("images", (-1, 3, -1, 960)), binding("scale", (1,)), binding("boxes", (-1, 4), "output")]


def refusal(bindings: List[Binding], inputs: Dict[str, ShapeRange]) -> ConvertError:
    with pytest.raises(ConvertError) as caught:
        profiles.resolve(bindings, inputs)
    return caught.value


@pytest.mark.parametrize(("bindings", "layers"), [([], 0), (SEGMENTATION, 0), (SEGMENTATION[:1], 3)])
def test_a_network_without_layers_or_outputs_is_refused(bindings: List[Binding], layers: int) -> None:
    with pytest.raises(ConvertError, match=f"{layers} layers") as caught:
        preflight.check_network(bindings, layers)
    assert caught.value.code == "network-empty"


def test_a_whole_network_passes() -> None:
    preflight.check_network(SEGMENTATION, 1)
    preflight.check_network(SEGMENTATION[1:], 1)
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
    assert profiles.resolve(SEGMENTATION, {}) == [{"input_2:0": {"min": shape, "opt": shape, "max": shape}}]


def test_a_static_model_may_be_told_its_own_shape() -> None:
    given = profiles.resolve(SEGMENTATION, {"input_2:0": fixed(1, 3, 544, 960)})
    assert given == profiles.resolve(SEGMENTATION, {})


def test_a_dynamic_model_takes_the_manifests_range() -> None:
    wanted = ShapeRange(min=(1, 3, 544, 960), opt=(2, 3, 544, 960), max=(8, 3, 1088, 960))
    assert profiles.resolve(DYNAMIC, {"images": wanted}) == [
        {
            "images": {"min": [1, 3, 544, 960], "opt": [2, 3, 544, 960], "max": [8, 3, 1088, 960]},
            "scale": {"min": [1], "opt": [1], "max": [1]},
        }
    ]


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
    assert "'images' (shape -1x3x-1x960)" in error.message
    assert "scale" not in error.message
    assert 'inputs: {"images": 1x3xAXIS_2x960}' in error.hint
    assert "AXIS_2 (axis 2 of 'images')" in error.hint


@pytest.mark.parametrize("name", ["batch", "batch_size", "N", "unk__7", "?", None])
def test_where_only_the_batch_is_dynamic_the_line_is_useful_as_it_stands(name: "str | None") -> None:
    bindings = [binding("images", (-1, 3, 64, 64)), binding("boxes", (-1, 4), "output")]
    with pytest.raises(ConvertError) as caught:
        profiles.resolve(bindings, {}, traits={"images": Traits((name, None, None, None), sizes=False)})
    assert 'inputs: {"images": {min: 1x3x64x64, opt: 1x3x64x64, max: 8x3x64x64}}' in caught.value.hint
    assert "axis" not in caught.value.hint


@pytest.mark.parametrize(
    ("names", "line"),
    [
        (("batch", None, "height", "width"), '"x": 1x3xHEIGHTxWIDTH'),
        (("height", None, "w 2", None), '"x": HEIGHTx3xW_2xAXIS_3'),
        ((None, None, "p2o.DynamicDimension.1", "?"), '"x": 1x3xAXIS_2xAXIS_3'),
    ],
)
def test_sizes_that_only_the_user_knows_are_named_by_axis(names: "tuple[str | None, ...]", line: str) -> None:
    with pytest.raises(ConvertError) as caught:
        profiles.resolve([binding("x", (-1, 3, -1, -1))], {}, traits={"x": Traits(names, sizes=False)})
    assert line in caught.value.hint
    assert "axis 3 of 'x'" in caught.value.hint


SIZES = [binding("sizes", (4,)), binding("y", (-1,), "output")]
OF_SIZES = {"sizes": Traits((None,), sizes=True)}


def test_a_shape_tensor_takes_values_and_keeps_its_shape() -> None:
    wanted = {"sizes": ShapeRange(min=(1, 3, 8, 8), opt=(1, 3, 16, 16), max=(1, 3, 32, 32), values=True)}
    (profile,) = profiles.resolve(SIZES, wanted, traits=OF_SIZES)
    assert profile["sizes"]["opt"] == [4]
    assert profile["sizes"]["values"] == {"min": [1, 3, 8, 8], "opt": [1, 3, 16, 16], "max": [1, 3, 32, 32]}


@pytest.mark.parametrize(
    ("wanted", "code"),
    [
        ({}, "inputs-missing"),
        ({"sizes": fixed(4)}, "inputs-missing"),
        ({"sizes": ShapeRange(min=(1,), opt=(1,), max=(1,), values=True)}, "inputs-mismatch"),
    ],
)
def test_a_shape_tensor_without_its_values_is_refused(wanted: Dict[str, ShapeRange], code: str) -> None:
    with pytest.raises(ConvertError) as caught:
        profiles.resolve(SIZES, wanted, traits=OF_SIZES)
    assert caught.value.code == code


def test_values_of_an_input_that_is_no_shape_tensor_are_refused() -> None:
    wanted = {"x": ShapeRange(min=(1,), opt=(1,), max=(1,), values=True)}
    with pytest.raises(ConvertError, match="does not use them as sizes") as caught:
        profiles.resolve([binding("x", (1,))], wanted, traits={"x": Traits((None,), sizes=False)})
    assert "onnx: {constants: {x: ...}}" in caught.value.hint


def named(*names: "str | None") -> Dict[str, Traits]:
    return {"a": Traits((names[0],), sizes=False), "b": Traits((names[1],), sizes=False)}


def profile(a: ShapeRange, b: ShapeRange) -> "list[profiles.Resolved]":
    return [{"a": profiles.declared(a), "b": profiles.declared(b)}]


@pytest.mark.parametrize(("low", "high"), [((1,), (4,)), ((2,), (2,))])
def test_equal_sizes_of_one_name_pass(low: "tuple[int]", high: "tuple[int]") -> None:
    both = ShapeRange(min=low, opt=(2,), max=high)
    assert profiles.check_names(named("batch", "batch"), profile(both, ShapeRange(min=(2,), opt=(2,), max=(8,)))) == []


def test_a_real_name_with_different_sizes_is_refused_with_all_of_its_places() -> None:
    one, other = ShapeRange(min=(1,), opt=(1,), max=(4,)), fixed(8)
    with pytest.raises(ConvertError, match="'batch'") as caught:
        profiles.check_names(named("batch", "batch"), profile(one, other))
    assert "1 to 4 (opt 1) on axis 0 of 'a', 8 on axis 0 of 'b'" in caught.value.message


@pytest.mark.parametrize("name", ["?", "unk__12", "None", "p2o.DynamicDimension.0", "-1", "*"])
def test_a_meaningless_name_with_different_sizes_is_to_be_renamed(name: str) -> None:
    assert profiles.check_names(named(name, name), profile(fixed(1), fixed(8))) == [name]
    assert profiles.check_names(named(name, None), profile(fixed(1), fixed(8))) == []


@pytest.mark.parametrize(
    ("wanted", "why"),
    [
        (fixed(3, 544, 960), "has rank 3, the model's has rank 4"),
        (fixed(1, 3, 512, 960), "has 512 on axis 2, the model fixes 544"),
        (
            ShapeRange(min=(1, 3, 544, 960), opt=(1, 3, 544, 960), max=(8, 3, 544, 960)),
            "has 8 on axis 0, the model fixes 1",
        ),
        (
            ShapeRange(min=(1, 1, 544, 960), opt=(1, 3, 544, 960), max=(1, 3, 544, 960)),
            "has 1 on axis 1, the model fixes 3",
        ),
    ],
)
def test_a_shape_against_the_model_is_refused_with_its_axis(wanted: ShapeRange, why: str) -> None:
    error = refusal(SEGMENTATION, {"input_2:0": wanted})
    assert error.code == "inputs-mismatch"
    assert why in error.message
    assert "1x3x544x960" in error.hint


def test_a_build_gets_no_more_memory_than_its_container(tmp_path: Path) -> None:
    system, limit = tmp_path / "meminfo", tmp_path / "memory.max"
    system.write_text("MemTotal: 8000 kB\nMemAvailable: 5000 kB\nSwapFree: 1000 kB\n")
    assert memory_available(system, [limit]) == 6000 << 10
    for text, available in (("max\n", 6000 << 10), ("4096000\n", 4096000), ("9223372036854771712\n", 6000 << 10)):
        limit.write_text(text)
        assert memory_available(system, [limit]) == available
    assert memory_available(tmp_path / "none", [limit]) is None
