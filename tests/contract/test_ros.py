"""Names of tensors in ROS 2 messages, paired with an engine's bindings."""

from __future__ import annotations

from typing import Any

import pytest

from prepare_models_entrypoint.contract.codec import ContractError
from prepare_models_entrypoint.contract.deployment import RosConfig
from prepare_models_entrypoint.contract.report import Binding


def bindings(inputs: str, outputs: str) -> list[Binding]:
    modes = [("input", name) for name in inputs.split()] + [("output", name) for name in outputs.split()]
    return [Binding(name=n, mode=m, dtype="float32", shape=[1], profiles=[], source="engine") for m, n in modes]


SEGMENTATION = bindings("input_2:0", "argmax_1")
STEREO = bindings("left right", "disparity confidence")


@pytest.mark.parametrize(
    ("given", "inputs", "outputs"),
    [
        ({}, ["left", "right"], ["disparity", "confidence"]),
        ({"input_tensor_names": ("l", "r")}, ["l", "r"], ["disparity", "confidence"]),
        ({"output_tensor_names": ("d", "c"), "by_binding": {"disparity": "z"}}, ["left", "right"], ["z", "c"]),
        ({"by_binding": {"right": "r"}}, ["left", "r"], ["disparity", "confidence"]),
    ],
)
def test_names_pair_with_several_bindings_by_position(given: Any, inputs: list[str], outputs: list[str]) -> None:
    expected = {"input_tensor_names": inputs, "output_tensor_names": outputs}
    assert RosConfig(**given).resolve(STEREO) == expected


def test_one_input_and_one_output_have_the_names_of_isaac_ros() -> None:
    names = {"input_tensor_names": ["input_tensor"], "output_tensor_names": ["output_tensor"]}
    assert RosConfig().resolve(SEGMENTATION) == names
    assert RosConfig(by_binding={"argmax_1": "mask"}).resolve(SEGMENTATION)["output_tensor_names"] == ["mask"]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"input_tensor_names": ("only",)}, "input_tensor_names has 1 names for the 2 inputs left, right"),
        ({"output_tensor_names": ("a", "b", "c")}, "output_tensor_names has 3 names for the 2 outputs"),
        ({"input_tensor_names": ("same", "same")}, "input tensor name same is used twice"),
        ({"by_binding": {"left": "right"}}, "input tensor name right is used twice"),
        ({"by_binding": {"lefft": "l"}}, "no binding is called lefft; the engine has left, right, disparity"),
    ],
)
def test_names_that_do_not_fit_are_refused(given: dict[str, Any], told: str) -> None:
    with pytest.raises(ContractError, match=told):
        RosConfig(**given).resolve(STEREO)


@pytest.mark.parametrize("raw", [{"names": []}, {"input_tensor_names": [1]}, {"by_binding": {"a": None}}])
def test_other_forms_are_refused(raw: dict[str, Any]) -> None:
    with pytest.raises(ContractError):
        RosConfig.from_dict(raw)
