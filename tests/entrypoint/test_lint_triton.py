"""config.pbtxt judged as Triton and its TensorRT backend do it: what they load is good, what they refuse is found."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Dict, List, Sequence, Tuple

import pytest

from prepare_models_entrypoint.consumers.triton import files
from prepare_models_entrypoint.consumers.triton.tensors import TYPES
from prepare_models_entrypoint.contract.report import Binding

from .model_folders import Repository, record, tensor

# Inputs ``images``, outputs ``output0`` and ``output1``, all float32.
STATIC = [
    tensor("images", "input", (1, 3, 8, 8)),
    tensor("output0", "output", (1, 5)),
    tensor("output1", "output", (1, 2, 4)),
]
ONE = [
    tensor("images", "input", (-1, 3, 8, 8), "float32", ((1, 3, 8, 8), (1, 3, 8, 8))),
    tensor("output0", "output", (-1, 5)),
    tensor("output1", "output", (-1, 2, 4)),
]
FOUR = [
    tensor("images", "input", (-1, 3, 8, 8), "float32", ((1, 3, 8, 8), (4, 3, 8, 8))),
    tensor("output0", "output", (-1, 5)),
    tensor("output1", "output", (-1, 2, 4)),
]
SIZES = [  # any height and width from 8 to 16
    tensor("images", "input", (-1, 3, -1, -1), "float32", ((1, 3, 8, 8), (4, 3, 16, 16))),
    tensor("output0", "output", (-1, -1, 5)),
]
TWO_PROFILES = [
    tensor("images", "input", (-1, 3), "float32", ((1, 3), (4, 3)), ((4, 3), (8, 3))),
    tensor("output0", "output", (-1, 5)),
]
SCALARS = [  # a batch of thresholds, each a number
    tensor("images", "input", (-1, 3, 8, 8), "float32", ((1, 3, 8, 8), (4, 3, 8, 8))),
    tensor("threshold", "input", (-1,), "float32", ((1,), (4,))),
    tensor("output0", "output", (-1, 5)),
]
SEQUENCE = [
    tensor("images", "input", (-1, 3), "float32", ((1, 3), (4, 3))),
    tensor("START", "input", (-1, 1), "float32", ((1, 1), (4, 1))),
    tensor("CORRID", "input", (-1, 1), "int64", ((1, 1), (4, 1))),
    tensor("state_in", "input", (-1, 7), "float32", ((1, 7), (4, 7))),
    tensor("output0", "output", (-1, 5)),
    tensor("state_out", "output", (-1, 7)),
]
HEAD = 'platform: "tensorrt_plan"\n'


def io(batch: bool = True, images: str = "[3, 8, 8]") -> str:
    """Return the tensors of STATIC, with or without their batch."""
    lead = "" if batch else "1, "
    return (
        f'input {{ name: "images" data_type: TYPE_FP32 dims: {images if batch else "[1, 3, 8, 8]"} }}\n'
        f'output {{ name: "output0" data_type: TYPE_FP32 dims: [{lead}5] }}\n'
        f'output {{ name: "output1" data_type: TYPE_FP32 dims: [{lead}2, 4] }}\n'
    )


CONTROL = """
sequence_batching {
  control_input [ { name: "START" control [ { kind: CONTROL_SEQUENCE_START fp32_false_true: [0, 1] } ] },
                  { name: "CORRID" control { kind: CONTROL_SEQUENCE_CORRID data_type: TYPE_INT64 } } ]
  state { input_name: "state_in" output_name: "state_out" data_type: TYPE_FP32 dims: [7] }
}
"""
SEQUENCED = """max_batch_size: 4
input { name: "images" data_type: TYPE_FP32 dims: [3] } output { name: "output0" data_type: TYPE_FP32 dims: [5] }
"""
SCALAR = """max_batch_size: 4
input { name: "images" data_type: TYPE_FP32 dims: [3, 8, 8] }
input { name: "threshold" data_type: TYPE_FP32 dims: [1] reshape { shape: [] } }
output { name: "output0" data_type: TYPE_FP32 dims: [5] }
"""

GOOD: Dict[str, Tuple[Sequence[Binding], str]] = {
    "batch 1 of a profile": (ONE, "max_batch_size: 1\n" + io()),
    "batch 1 of fixed shapes": (STATIC, "max_batch_size: 1\n" + io()),
    "no batch": (STATIC, io(batch=False)),
    "no batch, any batch": (FOUR, io(batch=False)),
    "smaller batch": (FOUR, "max_batch_size: 2\n" + io()),
    "a number in hexadecimal": (FOUR, "max_batch_size: 0x4\n" + io()),
    "a number in octal": (FOUR, "max_batch_size: 04\n" + io()),
    "types by number": (FOUR, "max_batch_size: 4\n" + io().replace("TYPE_FP32", "11")),
    "any size where the engine's is fixed": (FOUR, "max_batch_size: 4\n" + io(images="[3, -1, -1]")),
    "a size where the engine takes any": (
        SIZES,
        ('max_batch_size: 4 input { name: "images" data_type: TYPE_FP32 dims: [3, 8, 16] }\n'
        'output { name: "output0" data_type: TYPE_FP32 dims: [2, 5] }'),
    ),
    "one of two outputs": (FOUR, "max_batch_size: 4\n" + "\n".join(io().splitlines()[:2])),
    "no inputs and outputs": (FOUR, "max_batch_size: 4"),
    "an empty configuration": (STATIC, ""),
    "outputs alone": (FOUR, "max_batch_size: 4\n" + "\n".join(io().splitlines()[1:])),
    "names alone": (FOUR, 'input { name: "images" } output [ { name: "output0" }, { name: "output1" } ]'),
    "dims leave out a batch that nobody sets": (FOUR, io()),
    "controls and states": (SEQUENCE, SEQUENCED + CONTROL),
    "a scalar in a batch": (SCALARS, SCALAR),
    "a reshape": (
        [tensor("x", "input", (1, 6)), tensor("y", "output", (1, 6))],
        ('input { name: "x" data_type: TYPE_FP32 dims: [2, 3] reshape { shape: [1, 6] } }\n'
        'output { name: "y" data_type: TYPE_FP32 dims: [6] reshape { shape: [1, 6] } }'),
    ),
    "both profiles": (
        TWO_PROFILES,
        ('max_batch_size: 8 instance_group { profile: ["0", "1"] kind: KIND_GPU }\n'
        'input { name: "images" data_type: TYPE_FP32 dims: [3] }\n'
        'output { name: "output0" data_type: TYPE_FP32 dims: [5] }'),
    ),
    "preferred batches": (FOUR, "max_batch_size: 4 dynamic_batching { preferred_batch_size: [2, 4] }\n" + io()),
    "lists, maps, comments, angle brackets, two quotes": (
        FOUR,
        "max_batch_size: 4 # four\nparameters: { key: 'a' value: { string_value: \"b\" } };\ndynamic_batching < >\n"
        'input [ { name: "ima" \'ges\', data_type: TYPE_FP32, dims: 3, dims: 8, dims: 8 } ]\n'
        + "\n".join(io().splitlines()[1:]),
    ),
    "all versions": (FOUR, "max_batch_size: 4 version_policy { all { } }\n" + io()),
    "the backend by name": (FOUR, 'backend: "tensorrt" max_batch_size: 4\n' + io()),
    "its own warm-up": (
        FOUR,
        "max_batch_size: 4 " + io()
        + 'model_warmup { name: "w" batch_size: 1 inputs { key: "images" value {\n'
        + "data_type: TYPE_FP32 dims: [3, 8, 8] random_data: true } } }",
    ),
}  # fmt: skip

BAD: Dict[str, Tuple[Sequence[Binding], str, str]] = {
    "an unknown field": (FOUR, "max_queue_delay_microseconds: 100\nmax_batch_size: 4\n" + io(), "triton-config"),
    "a missing colon": (FOUR, "max_batch_size 4\n" + io(), "triton-config"),
    "a doubled field": (FOUR, "max_batch_size: 4\nmax_batch_size: 4\n" + io(), "triton-config"),
    "a trailing comma": (FOUR, "max_batch_size: 4\n" + io(images="[3, 8, 8,]"), "triton-config"),
    "a missing comma": (FOUR, "max_batch_size: 4\n" + io(images="[3, 8 8]"), "triton-config"),
    "no comma between messages": (FOUR, 'input [ { name: "images" } { name: "z" } ]', "triton-config"),
    "a value of another type": (FOUR, 'max_batch_size: "4"\n' + io(), "triton-config"),
    "an unknown enum value": (FOUR, io().replace("TYPE_FP32", "FP32"), "triton-config"),
    "two schedulers": (FOUR, "dynamic_batching { } sequence_batching { }\n" + io(), "triton-config"),
    "preferred over the largest": (
        FOUR, "max_batch_size: 4 dynamic_batching { preferred_batch_size: [4, 8] }\n" + io(), "triton-batching"
    ),
    "CPU": (FOUR, "max_batch_size: 4 instance_group [ { kind: KIND_CPU } ]\n" + io(), "triton-instance"),
    "a profile that is not there": (
        FOUR, 'max_batch_size: 4 instance_group [ { profile: ["3"] } ]\n' + io(), "triton-instance"
    ),
    "a profile that is not a number": (
        FOUR, 'max_batch_size: 4 instance_group [ { profile: ["fast"] } ]\n' + io(), "triton-instance"
    ),
    "a profile of too many digits": (
        FOUR, f'max_batch_size: 4 instance_group {{ profile: "{"9" * 5000}" }}\n' + io(), "triton-instance"
    ),
    "a batch over the profile": (FOUR, "max_batch_size: 8\n" + io(), "triton-batching"),
    "a batch over fixed shapes": (STATIC, "max_batch_size: 4\n" + io(), "triton-batching"),
    "a batch below the smallest": (
        [tensor("x", "input", (-1, 3), "float32", ((4, 3), (8, 3))), tensor("y", "output", (-1, 5))],
        ('max_batch_size: 2 input { name: "x" data_type: TYPE_FP32 dims: [3] }\n'
        'output { name: "y" data_type: TYPE_FP32 dims: [5] }'),
        "triton-batching",
    ),
    "a batch in the dims": (STATIC, "max_batch_size: 1\n" + io(batch=False), "triton-batching"),
    "a batch in some of the dims": (FOUR, "max_batch_size: 4\n" + io().replace("[5]", "[1, 5]"), "triton-dims"),
    "another size": (FOUR, "max_batch_size: 4\n" + io(images="[3, 8, 16]"), "triton-dims"),
    "another size of an output": (FOUR, "max_batch_size: 4\n" + io().replace("[5]", "[6]"), "triton-dims"),
    "a size outside of the profile": (
        SIZES,
        ('max_batch_size: 4 input { name: "images" data_type: TYPE_FP32 dims: [3, 8, 32] }\n'
        'output { name: "output0" data_type: TYPE_FP32 dims: [-1, 5] }'),
        "triton-dims",
    ),
    "a size of zero": (FOUR, "max_batch_size: 4\n" + io(images="[3, 0, 8]"), "triton-dims"),
    "a format of three dims": (
        STATIC, io(batch=False).replace("dims: [1, 3, 8, 8]", "format: FORMAT_NCHW dims: [1, 3, 8, 8]"), "triton-dims"
    ),
    "another type": (FOUR, "max_batch_size: 4\n" + io().replace("TYPE_FP32", "TYPE_FP16", 1), "triton-type"),
    "a name that the engine lacks": (FOUR, "max_batch_size: 4\n" + io().replace("output1", "boxes"), "triton-tensors"),
    "an input that nothing fills": (
        SCALARS, "".join(line for line in SCALAR.splitlines(True) if "threshold" not in line),
        "triton-tensors",
    ),
    "an input twice": (FOUR, "max_batch_size: 4\n" + io() + io().splitlines()[0], "triton-tensors"),
    "an output as an input": (FOUR, "max_batch_size: 4\n" + io().replace("output {", "input {", 1), "triton-tensors"),
    "a reshape of another size": (
        STATIC, io(batch=False).replace("[1, 5]", "[4] reshape { shape: [1, 5] }"), "triton-dims"
    ),
    "a scalar without a batch": (
        [tensor("x", "input", (1, 3)), tensor("y", "output", ())],
        'output { name: "y" data_type: TYPE_FP32 dims: [1] reshape { shape: [] } }', "triton-dims",
    ),
    "another platform": (FOUR, 'platform: "onnxruntime_onnx"\nmax_batch_size: 4\n' + io(), "triton-config"),
    "platform and backend at odds": (FOUR, 'backend: "onnxruntime" platform: "tensorrt_plan" ' + io(), "triton-config"),
    "another name": (FOUR, 'name: "other" max_batch_size: 4\n' + io(), "triton-config"),
    "a version that is absent": (
        FOUR, "max_batch_size: 4 version_policy { specific { versions: [3] } }\n" + io(), "triton-version"
    ),
    "no version": (FOUR, "max_batch_size: 4 version_policy { latest { } }\n" + io(), "triton-version"),
    "a control that is not an input": (SEQUENCE, SEQUENCED + CONTROL.replace('"START"', '"BEGIN"'), "triton-sequence"),
    "a control of another type": (
        SEQUENCE, SEQUENCED + CONTROL.replace("fp32_false_true", "int32_false_true"), "triton-sequence"
    ),
    "a control without values": (
        SEQUENCE, SEQUENCED + CONTROL.replace(" fp32_false_true: [0, 1]", ""), "triton-sequence"
    ),
    "a state of other dims": (SEQUENCE, SEQUENCED + CONTROL.replace("dims: [7]", "dims: [8]"), "triton-sequence"),
    "a state that is not an output": (
        SEQUENCE, SEQUENCED + CONTROL.replace('"state_out"', '"state"'), "triton-sequence"
    ),
    "labels that are not there": (
        FOUR, "max_batch_size: 4\n" + io().replace("[5]", '[5] label_filename: "labels.txt"'), "triton-labels"
    ),
    "labels with a name that is too long": (
        FOUR, "max_batch_size: 4\n" + io().replace("[5]", f'[5] label_filename: "{"l" * 300}"'), "triton-labels"
    ),
    "an engine file that is not there": (
        FOUR, 'default_model_filename: "orin.plan" max_batch_size: 4\n' + io(), "triton-plan"
    ),
    "a file for a GPU that is not there": (
        FOUR, 'cc_model_filenames { key: "8.7" value: "orin.plan" } max_batch_size: 4\n' + io(), "triton-plan"
    ),
}  # fmt: skip


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path / "models")


def headed(text: str) -> str:
    return text if "platform:" in text or "backend:" in text else HEAD + text


@pytest.mark.parametrize("case", GOOD)
def test_what_triton_loads_is_good(repository: Repository, case: str) -> None:
    bindings, text = GOOD[case]
    repository.model(bindings, files={"config.pbtxt": headed(text)})
    assert repository.lint("triton") == []


@pytest.mark.parametrize("case", BAD)
def test_what_triton_refuses_is_found(repository: Repository, case: str) -> None:
    bindings, text, code = BAD[case]
    repository.model(bindings, files={"config.pbtxt": text if "platform" in case else headed(text)})
    assert code in repository.codes("triton")


def test_thirty_configurations_are_among_them() -> None:
    assert len(GOOD) + len(BAD) >= 30


def test_what_triton_completes_is_an_information(repository: Repository) -> None:
    repository.model(FOUR, files={"config.pbtxt": HEAD + "\n".join(io().splitlines()[:2])})
    assert repository.codes("triton", kind="notes") == ["triton-completed", "triton-outputs"]
    repository.model(FOUR, name="bare")
    assert repository.codes("triton", name="bare") == []
    assert repository.codes("triton", name="bare", kind="notes") == ["triton-completed"]


def test_every_version_that_is_served_is_compared(repository: Repository) -> None:
    text = HEAD + "max_batch_size: 4 version_policy { specific { versions: [1, 2] } }\n" + io()
    folder = repository.model(FOUR, plans=("1/model.plan", "2/model.plan"), files={"config.pbtxt": text})
    assert repository.lint("triton") == []
    (folder / "2/model.plan").write_bytes(b"another")
    assert repository.codes("triton") == ["engine-record"]
    other = [*FOUR[:1], tensor("output0", "output", (-1, 6)), tensor("output1", "output", (-1, 2, 4))]
    (folder / "2/report.json").write_text(json.dumps(record(other, b"another")), encoding="utf-8")
    assert [each["code"] for each in repository.lint("triton")] == ["triton-dims"]
    assert repository.lint("triton")[0]["message"].startswith("version 2: output 'output0'")
    (folder / "2/model.plan").unlink()
    assert repository.codes("triton") == ["triton-plan"]


def test_the_newest_version_is_served_unless_the_policy_says_more(repository: Repository) -> None:
    folder = repository.model(FOUR, files={"config.pbtxt": HEAD + "max_batch_size: 4\n" + io()})
    (folder / "2").mkdir()
    assert repository.codes("triton") == ["triton-plan"]
    (folder / "2").rename(folder / "02")  # which Triton ignores
    assert repository.lint("triton") == []
    (folder / "02").rename(folder / "2.bak")  # which it reads as version 2
    assert repository.codes("triton") == ["triton-plan"]
    (folder / "2.bak").rename(folder / "old")
    assert repository.lint("triton") == []


@pytest.mark.parametrize(
    "text", ['default_model_filename: "orin.plan"', 'cc_model_filenames { key: "8.7" value: "orin.plan" }']
)
def test_an_engine_of_any_file_name_is_compared(repository: Repository, text: str) -> None:
    good = HEAD + f"{text} max_batch_size: 4\n" + io()
    folder = repository.model(FOUR, plans=("1/orin.plan",), files={"config.pbtxt": good})
    assert repository.lint("triton") == []
    (folder / "config.pbtxt").write_text(good.replace("[5]", "[6]").replace("TYPE_FP32", "TYPE_INT8", 1))
    assert repository.codes("triton") == ["triton-dims", "triton-type"]


def any_engine(random_: random.Random) -> List[Binding]:
    """Return bindings of any types, ranks and dynamic dimensions, with profiles that fit them."""
    batch, top = random_.choice((True, False)), random_.randint(1, 8)
    count = random_.choice((1, 1, 2))
    found = []
    for number in range(random_.randint(2, 5)):
        rank = random_.randint(0 if not batch else 1, 4)
        shape = [random_.choice((-1, 3, 8)) for _ in range(rank)]
        shape[:1] = [-1] if batch else shape[:1]
        mode = "input" if number == 0 or random_.random() < 0.4 else "output"
        high = [[(top if axis == 0 and batch else 16) if s == -1 else s for axis, s in enumerate(shape)]] * count
        ranges = [([1 if s == -1 else s for s in shape], each) for each in high] if mode == "input" else []
        found.append(tensor(f"t/{number}:0", mode, shape, random_.choice(list(TYPES)), *ranges))
    return [*found, tensor("last", "output", found[0]["shape"])]


@pytest.mark.parametrize("seed", range(100))
def test_what_this_tool_writes_is_what_triton_loads(repository: Repository, seed: int) -> None:
    bindings = any_engine(random.Random(seed))
    text = files.config("seg", bindings, warmup=seed % 2 == 0)
    repository.model(bindings, files={"config.pbtxt": text})
    scalars = any(not binding["shape"] for binding in bindings)
    assert repository.codes("triton") == (["triton-scalar"] if scalars else [])


@pytest.mark.parametrize("folder", ["notes", ".git", "old.v2"])
def test_a_directory_that_is_no_model_is_found(repository: Repository, folder: str) -> None:
    (repository.root / folder).mkdir(parents=True)
    assert repository.codes("triton", name=folder) == ["triton-foreign-directory"]


def test_a_record_of_another_version_stops_nothing(repository: Repository) -> None:
    repository.model(FOUR, files={"config.pbtxt": HEAD + "max_batch_size: 4\n" + io()})
    repository.model(FOUR, name="newer", files={"config.pbtxt": HEAD}, schema_version=7)
    folder = repository.model(FOUR, name="edited", files={"config.pbtxt": HEAD})
    edited = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    (folder / "report.json").write_text(json.dumps({**edited, "io": [{"name": 5}]}), encoding="utf-8")
    assert repository.lint("triton") == []
    newer = repository.lint("triton", name="newer")
    assert [each["code"] for each in newer] == ["engine-record"]
    assert "schema version 7, expected 1" in newer[0]["message"]
    assert repository.codes("triton", name="edited") == ["engine-record"]


@pytest.mark.parametrize("text", [b"\xff\xfe", b"{{{", b"input {", b"name: 'a"])
def test_what_is_no_configuration_is_told_once_with_its_place(repository: Repository, text: bytes) -> None:
    folder = repository.model(FOUR)
    (folder / "config.pbtxt").write_bytes(text)
    assert [each["code"] for each in repository.lint("triton")] == ["triton-config"]
