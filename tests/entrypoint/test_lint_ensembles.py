"""Ensembles, and the repositories of other tools that they are part of."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Mapping, Sequence

import pytest

from prepare_models_entrypoint.consumers.lint import of_directory

from .model_folders import Repository
from .test_lint_triton import FOUR, HEAD, io


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path / "models")


def ensemble(**changes: str) -> str:
    text = """platform: "ensemble" max_batch_size: 4
input { name: "raw" data_type: TYPE_UINT8 dims: [-1] } output { name: "boxes" data_type: TYPE_FP32 dims: [5] }
ensemble_scheduling { step [
  { model_name: "decode" model_version: -1 input_map { key: "in" value: "raw" }
    output_map { key: "out" value: "image" } },
  { model_name: "seg" model_version: -1 input_map { key: "images" value: "image" }
    output_map { key: "output0" value: "boxes" } } ] }
"""
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new)
    return text


DECODE = """backend: "python" max_batch_size: 4
input { name: "in" data_type: TYPE_UINT8 dims: [-1] } output { name: "out" data_type: TYPE_FP32 dims: [3, 8, 8] }
"""


def with_others(repository: Repository, text: str) -> None:
    repository.model(FOUR, files={"config.pbtxt": HEAD + "max_batch_size: 4\n" + io()})
    repository.model(name="decode", plans=(), files={"config.pbtxt": DECODE, "1/model.py": ""})
    repository.model(name="all", plans=("1/.keep",), files={"config.pbtxt": text})
    onnx = 'platform: "onnxruntime_onnx" input { name: "x" data_type: TYPE_FP32 dims: [-1, 3] }'
    repository.model(name="onnx", plans=(), files={"config.pbtxt": onnx, "1/model.onnx": ""})
    repository.model(name="bare_onnx", plans=(), files={"1/model.onnx": ""})
    repository.model(name="torch", plans=(), files={"config.pbtxt": 'backend: "pytorch"', "1/model.pt": ""})
    repository.model(name="own", plans=(), files={"config.pbtxt": 'backend: "my_backend"', "1/anything": ""})


def test_repositories_of_other_tools_are_taken(repository: Repository) -> None:
    with_others(repository, ensemble())
    document = of_directory(repository.root, ("triton",))
    names = ("all", "bare_onnx", "decode", "onnx", "own", "seg", "torch")
    assert {model["name"]: model["warnings"] for model in document["models"]} == {name: [] for name in names}
    repository.model(name="onnx", plans=(), files={"config.pbtxt": 'platform: "onnxruntime_onnx" dims: 3'})
    assert repository.codes("triton", name="onnx") == ["triton-config"]


BROKEN_ENSEMBLES: Sequence[Mapping[str, str]] = (
    {'model_name: "seg"': 'model_name: "gone"'},
    {'model_name: "seg"': f'model_name: "{"g" * 300}"'},
    {'value: "image" }\n': 'value: "picture" }\n'},
    {"data_type: TYPE_FP32 dims: [5]": "data_type: TYPE_INT64 dims: [5]"},
    {"dims: [5]": "dims: [6]"},
    {'key: "output0"': 'key: "scores"'},
    {'value: "boxes"': 'value: "image"'},
    {"max_batch_size: 4": "max_batch_size: 8"},
    {"max_batch_size: 4": "max_batch_size: 4 instance_group { kind: KIND_GPU }"},
    {'input_map { key: "images" value: "image" }': ""},
    {'"seg" model_version: -1': '"seg" model_version: 2'},
    {'"seg" model_version: -1': '"seg"'},  # which is version 0
)


@pytest.mark.parametrize("changes", BROKEN_ENSEMBLES, ids=lambda changes: next(iter(changes)))
def test_the_tensors_of_an_ensemble_are_followed(repository: Repository, changes: Mapping[str, str]) -> None:
    with_others(repository, ensemble(**changes))
    assert repository.codes("triton", name="all") == ["triton-ensemble"]


def flow(outputs: str, *steps: str) -> str:
    """Return an ensemble that takes ``in``. ``outputs``: their names. ``steps``: such as ``decode:in>a``."""
    text = 'platform: "ensemble" max_batch_size: 4 input { name: "in" data_type: TYPE_UINT8 dims: [-1] }\n'
    for name in outputs.split():
        text += f'output {{ name: "{name}" data_type: TYPE_FP32 dims: [3, 8, 8] }}\n'
    text += "ensemble_scheduling {\n"
    for step in steps:
        model, given, made = re.split("[:>]", step)
        inputs = zip(("in", "in2"), given.split("+"))
        pairs = " ".join(f'input_map {{ key: "{key}" value: "{value}" }}' for key, value in inputs)
        text += f'step {{ model_name: "{model}" model_version: -1 {pairs}'
        text += f' output_map {{ key: "out" value: "{made}" }} }}\n'
    return text + "}\n"


def test_ensembles_run_neither_themselves_nor_on_answers_of_different_decoupled_models(repository: Repository) -> None:
    join = DECODE.replace("output", 'input { name: "in2" data_type: TYPE_FP32 dims: [3, 8, 8] } output')
    join = join.replace("TYPE_UINT8 dims: [-1]", "TYPE_FP32 dims: [3, 8, 8]")
    many = DECODE + "model_transaction_policy { decoupled: true }"
    for name, text in (("decode", DECODE), ("many", many), ("join", join)):
        repository.model(name=name, plans=(), files={"config.pbtxt": text, "1/model.py": ""})
    flows = {
        "left": (flow("out", "right:in>out"), "one of its steps runs this ensemble again"),
        "right": (flow("out", "left:in>out"), "one of its steps runs this ensemble again"),
        "one": (flow("out", "many:in>a", "join:a+a>out"), ""),
        "nested": (flow("out", "many:in>out"), ""),
        "two": (flow("out", "nested:in>a", "many:in>b", "join:a+b>out"), "'join' takes tensors from different"),
        "mixed": (flow("out", "decode:in>a", "many:in>b", "join:a+b>out"), "'join' takes tensors from different"),
        "results": (flow("a b", "decode:in>a", "many:in>b"), "its outputs come from different"),
    }
    for name, (text, _) in flows.items():
        repository.model(name=name, plans=("1/.keep",), files={"config.pbtxt": text})
    found = {model["name"]: model["warnings"] for model in of_directory(repository.root, ("triton",))["models"]}
    for name, (_, message) in flows.items():
        messages = [finding["message"] for finding in found[name]]
        assert len(messages) == bool(message), (name, messages)
        assert not message or messages[0].startswith(message), name
