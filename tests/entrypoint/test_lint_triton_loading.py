"""What Triton does beyond inputs and outputs when it loads a model: samples, graphs, ragged batches, shape tensors."""

from __future__ import annotations

from pathlib import Path
from typing import Dict, List, Sequence, Tuple

import pytest

from prepare_models_entrypoint.contract.report import Binding

from .model_folders import Repository, tensor
from .test_lint_triton import CONTROL, FOUR, SEQUENCE, SEQUENCED, headed, io

RAGGED = [  # values of all requests in a row, and where each of them begins
    tensor("values", "input", (-1,), "float32", ((1,), (64,))),
    tensor("offsets", "input", (-1,), "float32", ((1,), (9,))),
    tensor("output0", "output", (-1, 5)),
]
RAGGED_TEXT = """max_batch_size: 9
input { name: "values" data_type: TYPE_FP32 dims: [-1] allow_ragged_batch: true }
batch_input { kind: BATCH_ACCUMULATED_ELEMENT_COUNT target_name: "offsets" data_type: TYPE_FP32 source_input: "values" }
output { name: "output0" data_type: TYPE_FP32 dims: [5] }
"""
SCATTERED = RAGGED_TEXT.replace("dims: [5] }", "dims: [-1] }\n") + (
    'batch_output { kind: BATCH_SCATTER_WITH_INPUT_SHAPE target_name: "output0" source_input: "values" }'
)
RESIZE: List[Binding] = [  # the numbers of ``size`` become the size of the output
    tensor("images", "input", (1, 3, 8, 8)),
    {
        **tensor("size", "input", (2,), "int64"),
        "profiles": [
            {
                "min": [2],
                "opt": [2],
                "max": [2],
                "values": {"min": [1, 1], "opt": [8, 8], "max": [16, 16]},
            }
        ],
    },
    tensor("output0", "output", (1, 3, -1, -1)),
]
RESIZE_TEXT = (
    'input [ { name: "images" data_type: TYPE_FP32 dims: [1, 3, 8, 8] },\n'
    '{ name: "size" data_type: TYPE_INT64 dims: [2] is_shape_tensor: true } ]\n'
    'output { name: "output0" data_type: TYPE_FP32 dims: [1, 3, -1, -1] }'
)
BATCHED: List[Binding] = [  # the first number of ``size`` is the batch
    tensor("images", "input", (-1, 3, 8, 8), "float32", ((1, 3, 8, 8), (4, 3, 8, 8))),
    {
        **tensor("size", "input", (3,), "int64"),
        "profiles": [
            {"min": [3], "opt": [3], "max": [3], "values": {"min": [1, 1, 1], "opt": [2, 8, 8], "max": [4, 16, 16]}}
        ],
    },
    tensor("output0", "output", (-1, 3, -1, -1)),
]
BATCHED_TEXT = "max_batch_size: 4\n" + RESIZE_TEXT.replace("[1, 3,", "[3,")
WARM = """max_batch_size: 4 model_warmup { name: "w" batch_size: 2 inputs { key: "images" value {
data_type: TYPE_FP32 dims: [3, 8, 8] zero_data: true } } }
"""
GRAPHS = 'max_batch_size: 4 optimization { cuda { graphs: true graph_spec { batch_size: 4 input { key: "images"\n'
GRAPHS += "value { dim: [3, 8, 8] } } } } }\n"

GOOD: Dict[str, Tuple[Sequence[Binding], str]] = {
    "a ragged batch": (RAGGED, RAGGED_TEXT),
    "an output that is scattered": (RAGGED, SCATTERED),
    "a shape tensor": (RESIZE, RESIZE_TEXT),
    "a shape tensor that is not marked": (RESIZE, RESIZE_TEXT.replace("is_shape_tensor: true", "")),
    "a shape tensor of a batch": (BATCHED, BATCHED_TEXT),
    "a shape tensor of a batch that is not marked": (BATCHED, BATCHED_TEXT.replace("is_shape_tensor: true", "")),
    "a warm-up of a batch": (FOUR, WARM + io()),
    "a warm-up that is switched off": (FOUR, WARM.replace("batch_size: 2", "").replace("3, 8, 8", "-1") + io()),
    "CUDA graphs": (FOUR, GRAPHS + io()),
    "CUDA graphs that are off": (
        FOUR,
        GRAPHS.replace("true", "false").replace("size: 4 input", "size: 9 input") + io(),
    ),
    "several GPUs for one instance": (
        FOUR,
        'max_batch_size: 4 instance_group { kind: KIND_MODEL } parameters { key: "enable_multi_device" value {'
        ' string_value: "true" } } parameters { key: "multi_device_gpus" value { string_value: "0, 1" } }\n' + io(),
    ),
    "queues, metrics, agents": (
        FOUR,
        "max_batch_size: 4 dynamic_batching { priority_levels: 2 default_priority_level: 1 preserve_ordering: false\n"
        "priority_queue_policy { key: 2 value { timeout_action: DELAY default_timeout_microseconds: 5 } } }\n"
        'model_metrics { metric_control { metric_identifier { family: "f" } histogram_options { buckets: [1] } } }\n'
        "response_cache { enable: true }\n" + io(),
    ),
    "a state that begins with zeros": (
        SEQUENCE,
        SEQUENCED
        + CONTROL.replace(
            "dims: [7] }",
            'dims: [7] initial_state { name: "z" data_type: TYPE_FP32 dims: [7] zero_data: true } }',
        ),
    ),
}

BAD: Dict[str, Tuple[Sequence[Binding], str, str]] = {
    "a ragged batch of an engine with rows": (
        FOUR,
        "max_batch_size: 4\n" + io().replace("dims: [3, 8, 8]", "dims: [3, 8, 8] allow_ragged_batch: true"),
        "triton-dims",
    ),
    "a batch input of another type": (
        RAGGED,
        RAGGED_TEXT.replace("data_type: TYPE_FP32 source", "data_type: TYPE_INT32 source"),
        "triton-type",
    ),
    "a batch input that is none": (
        RAGGED,
        RAGGED_TEXT.replace('target_name: "offsets"', 'target_name: "begins"'),
        "triton-tensors",
    ),
    "a batch input of another shape": (
        RAGGED,
        RAGGED_TEXT.replace("BATCH_ACCUMULATED_ELEMENT_COUNT", "BATCH_ITEM_SHAPE"),
        "triton-dims",
    ),
    "a shape tensor that is none": (
        FOUR,
        "max_batch_size: 4\n" + io().replace("dims: [5]", "dims: [5] is_shape_tensor: true"),
        "triton-tensors",
    ),
    "a shape tensor of another size": (RESIZE, RESIZE_TEXT.replace("dims: [2]", "dims: [3]"), "triton-dims"),
    "a format that the engine does not have": (
        FOUR,
        "max_batch_size: 4\n" + io().replace("dims: [3, 8, 8]", "dims: [3, 8, 8] is_non_linear_format_io: true"),
        "triton-tensors",
    ),
    "a format that needs three dims": (
        FOUR,
        "max_batch_size: 4\n" + io().replace("dims: [5]", "dims: [5] is_non_linear_format_io: true"),
        "triton-dims",
    ),
    "a shape tensor of another backend": (
        [],
        'platform: "onnxruntime_onnx" input { name: "x" data_type: TYPE_INT64 dims: [2] is_shape_tensor: true }',
        "triton-dims",
    ),
    "a decoupled model with a cache": (
        FOUR,
        "max_batch_size: 4 response_cache { enable: true } model_transaction_policy { decoupled: true }\n" + io(),
        "triton-config",
    ),
    "steps without an ensemble": (
        FOUR,
        'max_batch_size: 4 ensemble_scheduling { step { model_name: "a" } }\n' + io(),
        "triton-config",
    ),
    "a metric without buckets": (
        FOUR,
        'max_batch_size: 4 model_metrics { metric_control { metric_identifier { family: "f" } } }\n' + io(),
        "triton-config",
    ),
    "a GPU below zero": (
        FOUR,
        "max_batch_size: 4 instance_group { kind: KIND_GPU gpus: [-1] }\n" + io(),
        "triton-instance",
    ),
    "one GPU as several": (
        FOUR,
        'max_batch_size: 4 parameters { key: "enable_multi_device" value {'
        ' string_value: "true" } } parameters { key: "multi_device_gpus" value { string_value: "0" } }\n' + io(),
        "triton-config",
    ),
    "a warm-up of any size": (FOUR, WARM.replace("[3, 8, 8]", "[3, -1, 8]") + io(), "triton-warmup"),
    "a warm-up without data": (FOUR, WARM.replace("zero_data: true", "") + io(), "triton-warmup"),
    "a warm-up from a file that is not there": (
        FOUR,
        WARM.replace("zero_data: true", 'input_data_file: "a"') + io(),
        "triton-warmup",
    ),
    "a warm-up over the largest batch": (FOUR, WARM.replace("batch_size: 2", "batch_size: 5") + io(), "triton-warmup"),
    "a warm-up of another input": (FOUR, WARM.replace('"images"', '"image"') + io(), "triton-warmup"),
    "a warm-up of another size": (FOUR, WARM.replace("[3, 8, 8]", "[3, 8, 9]") + io(), "triton-warmup"),
    "a warm-up of another type": (FOUR, WARM.replace("TYPE_FP32", "TYPE_UINT8") + io(), "triton-warmup"),
    "a graph over the largest batch": (
        FOUR,
        GRAPHS.replace("batch_size: 4 input", "batch_size: 8 input") + io(),
        "triton-graphs",
    ),
    "a graph of a negative size": (FOUR, GRAPHS.replace("[3, 8, 8]", "[3, -1, 8]") + io(), "triton-graphs"),
    "a state that begins with another size": (
        SEQUENCE,
        SEQUENCED
        + CONTROL.replace(
            "dims: [7] }", 'dims: [7] initial_state { name: "z" data_type: TYPE_FP32 dims: [6] zero_data: true } }'
        ),
        "triton-sequence",
    ),
    "a shape tensor with the size of the batch": (
        BATCHED,
        BATCHED_TEXT.replace("dims: [2]", "dims: [3]"),
        "triton-dims",
    ),
    "a state that begins twice": (
        SEQUENCE,
        SEQUENCED
        + CONTROL.replace(
            "dims: [7] }",
            'dims: [7] initial_state { name: "z" data_type: TYPE_FP32 dims: [7] zero_data: true }'
            ' initial_state { name: "y" data_type: TYPE_FP32 dims: [7] zero_data: true } }',
        ),
        "triton-sequence",
    ),
    "a strategy of batching beside sequences": (
        SEQUENCE,
        SEQUENCED + CONTROL + 'parameters { key: "TRITON_BATCH_STRATEGY_PATH" value: { string_value: "b.so" } }',
        "triton-sequence",
    ),
    "a state that begins from a file that is not there": (
        SEQUENCE,
        SEQUENCED
        + CONTROL.replace(
            "dims: [7] }", 'dims: [7] initial_state { name: "z" data_type: TYPE_FP32 dims: [7] data_file: "z" } }'
        ),
        "triton-warmup",
    ),
}


@pytest.mark.parametrize("case", GOOD)
def test_what_triton_loads_is_good(tmp_path: Path, case: str) -> None:
    bindings, text = GOOD[case]
    repository = Repository(tmp_path)
    repository.model(bindings, files={"config.pbtxt": headed(text)})
    assert repository.lint("triton") == []


@pytest.mark.parametrize("case", BAD)
def test_what_triton_refuses_is_found(tmp_path: Path, case: str) -> None:
    bindings, text, code = BAD[case]
    repository = Repository(tmp_path)
    repository.model(bindings, files={"config.pbtxt": headed(text)})
    assert code in repository.codes("triton")


def test_files_of_samples_are_measured(tmp_path: Path) -> None:
    text = WARM.replace("zero_data: true", 'input_data_file: "image"') + io()
    repository = Repository(tmp_path)
    repository.model(FOUR, files={"config.pbtxt": headed(text), "warmup/image": "0" * 767})
    assert "768 bytes, 'image' has 767" in repository.lint("triton")[0]["message"]
    repository.model(FOUR, files={"warmup/image": "0" * 768})
    assert repository.lint("triton") == []
