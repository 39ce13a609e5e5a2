"""config.pbtxt is accepted and refused as protobuf does it, on Triton's own descriptors.

Triton reads it with protobuf's C++ library. Python's, which runs here, differs in a few corners: for these the table
``CORNERS`` has what ``protoc --encode=inference.ModelConfig`` 35.1 gave.
"""

from __future__ import annotations

import math
import random
import re
import warnings
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import text_format
from google.protobuf.descriptor import FieldDescriptor
from tritonclient.grpc import model_config_pb2

import prepare_models_entrypoint.consumers.triton as room
from prepare_models_entrypoint.consumers.triton.text_format import Field, Schema, TextFormatError, parse

SCHEMA = Schema.read(Path(room.__path__[0]) / "model_config.json")

SEEDS = (
    """name: "seg"  # a comment
platform: 'tensorrt_plan'
max_batch_size: 0x10
input [ { name: "x" data_type: TYPE_FP32 dims: [ 3, -1, 8 ] reshape { shape: [] } }, { name: "z"; data_type: 11, } ]
output { name: "y" "_1" data_type: TYPE_INT64 dims: 1 dims: 5 label_filename: "labels.txt" }
instance_group < count: 1 kind: KIND_GPU profile: [ "0", "1" ] >
dynamic_batching { preferred_batch_size: [4, 8] max_queue_delay_microseconds: 100 }
cc_model_filenames { key: "8.7" value: "orin.plan" }
cc_model_filenames [ { key: '8.9' value: "ada.plan" }, { key: "8.7" value: "other.plan" } ]
version_policy: { specific: { versions: [1, 03] } }
parameters { key: "execution_context_allocation_strategy" value { string_value: "STATIC" } }
""",
    r"""backend: "tensorrt" default_model_filename: "m\x6fdel\056plan\n\"\'\\ \u00e9 größe"
sequence_batching {
  max_sequence_idle_microseconds: 5000000
  direct { minimum_slot_utilization: .5f max_queue_delay_microseconds: 0 }
  control_input [ { name: "START" control [ { kind: CONTROL_SEQUENCE_START fp32_false_true: [ 0, 1e0 ] } ] } ]
  state { input_name: "i" output_name: "o" data_type: TYPE_FP32 dims: [ -1 ]
          initial_state { data_type: TYPE_FP32 dims: [1] zero_data: true name: "s" } }
}
model_warmup { name: "w" batch_size: 1 inputs { key: "x" value { data_type: TYPE_FP32 dims: [3] random_data: t } } }
optimization { cuda { graphs: 1 graph_spec { batch_size: 1
  input { key: "x" value { dim: [3] } } } } eager_batching: False }
model_metrics { metric_control [ {
  metric_identifier { family: "f" } histogram_options { buckets: [ 1, -inf, nan, 2.5e-3 ] } } ] }
""",
    """platform: "ensemble" max_batch_size: 0
ensemble_scheduling { step [ { model_name: "a" model_version: -1
  input_map { key: "x" value: "y" } output_map { key: "p" value: "q" } } ] }
response_cache { enable: true } model_transaction_policy { decoupled: false }
""",
)  # fmt: skip
# What the two libraries read differently; other escapes of Python's are not in the seeds.
CORNER = re.compile(r"-\s|[+]|\b0[0-9]|_[0-9]|\\[^nrt0-3\"'\\xu]|\\$", re.MULTILINE)
HARMLESS = (" ", "\n", " # a comment\n", "\t", "\r", '""')
PIECES = (
    "{",
    "}",
    "[",
    "]",
    "<",
    ">",
    ":",
    ",",
    ";",
    '"',
    "'",
    "#",
    "\n",
    " ",
    "0",
    "-1",
    "0x4",
    "017",
    "1.5",
    "1e400",
    "inf",
    "true",
    "TYPE_FP32",
    "11",
    "99999999999",
    '"text"',
    "'t'",
    "name",
    "dims",
    "kind",
    "input",
    'platform: "a"',
    "key",
    "max_batch_size: 4",
    "max_queue_delay_microseconds: 1",
    "dynamic_batching { }",
    "[ext.a]: 1",
    "\\",
    "-",
    ".",
    "f",
    "all { }",
    "latest { }",
    "é",
    "\r",
    "zero_data: false",
    "_",
    '"\\xf"',
)


def mutated(text: str, random_: random.Random) -> str:
    """Return a text with one to three pieces taken out, doubled, exchanged or put in, many of them harmless."""
    for _ in range(random_.choice((1, 1, 1, 2, 3))):
        anywhere = random_.randrange(len(text) + 1)
        start = random_.choice((anywhere, max(text.find(" ", anywhere), 0)))
        end = min(len(text), start + random_.choice((1, 1, 1, 3, 12)))
        piece = random_.choice(PIECES)
        choices = (
            text[:start] + text[end:],
            text[:end] + text[start:],
            text[:start] + piece + text[start:],
            text[:start] + piece + text[end:],
            f"{text[:start]} {piece} {text[start:]}",
            text[:start] + random_.choice(HARMLESS) + text[start:],
        )
        text = random_.choice(choices)
    return text


def theirs(text: str) -> dict[str, Any] | None:
    """Return what protobuf reads, None for what it refuses. It lets errors of Python through, too."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return plain(text_format.Parse(text, model_config_pb2.ModelConfig()))
        except (text_format.ParseError, ValueError):
            return None


def ours(text: str) -> dict[str, Any] | None:
    try:
        return reduced(parse(text, SCHEMA), SCHEMA.root)
    except TextFormatError:
        return None


def plain(message: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for field, value in message.ListFields():
        if field.message_type and field.message_type.GetOptions().map_entry:
            found[field.name] = {
                key: plain(each) if hasattr(each, "ListFields") else each for key, each in value.items()
            }
        else:
            values = list(value) if field.is_repeated else [value]
            found[field.name] = [of(field, each) for each in values]
    return found


def of(field: FieldDescriptor, value: Any) -> Any:
    if field.message_type:
        return plain(value)
    return comparable(value)


def comparable(value: Any) -> Any:
    return "nan" if isinstance(value, float) and math.isnan(value) else value


def reduced(message: dict[str, Any], kind: str) -> dict[str, Any]:
    """Return ours as protobuf tells it: without default values of fields without presence, maps as dictionaries."""
    found: dict[str, Any] = {}
    for name, values in message.items():
        field = SCHEMA.messages[kind][name]
        if field.of.endswith("Entry"):
            entries = [reduced(each, field.of) for each in values]
            simple = SCHEMA.messages[field.of]["value"].kind != "message"
            absent: Any = [""] if simple else [{}]
            key_absent: Any = "" if SCHEMA.messages[field.of]["key"].kind == "string" else 0
            got = {each.get("key", [key_absent])[0]: each.get("value", absent)[0] for each in entries}
            if got:
                found[name] = got
            continue
        told = [_told(each, field) for each in values]
        scalar = field.kind != "message" and not field.repeated and not field.oneof
        if told and not (scalar and not told[0] and str(told[0]) != "-0.0"):
            found[name] = told
    return found


def _told(value: Any, field: Field) -> Any:
    if field.kind == "message":
        return reduced(value, field.of)
    if field.kind == "enum":
        return SCHEMA.enums[field.of].get(value, value)
    return as_float32(value) if field.kind == "float" else comparable(value)


def as_float32(value: float) -> Any:
    import numpy as np

    with np.errstate(over="ignore"):
        return comparable(float(np.float32(value)))


@pytest.mark.parametrize("text", SEEDS)
def test_the_seeds_are_read_alike(text: str) -> None:
    assert theirs(text) is not None
    assert ours(text) == theirs(text)


@pytest.mark.parametrize("seed", range(20))
def test_mutated_texts_are_accepted_and_refused_alike(seed: int) -> None:
    random_ = random.Random(seed)
    texts = [mutated(random_.choice(SEEDS), random_) for _ in range(100)]
    assert [text for text in texts if ours(text) != theirs(text) and not CORNER.search(text)] == []
    taken = sum(ours(text) is not None for text in texts)
    assert 10 <= taken <= 90


LEGAL = (
    "max_batch_size: 0x4",
    "max_batch_size: 010",
    "input { data_type: 11 }",
    "input { data_type: 99 }",
    "",
    "# nothing",
    "max_batch_size: 0 max_batch_size: 4",
    'name: "a" ; platform: "b",',
    "input: [ ]",
    "input: []; input {}",
    "version_policy { all { } }",
    'name: "a" \'b\'\n"c"',
    "input < dims: [] >",
    "input { dims: 1, dims: 2; }",
    "dynamic_batching: { }",
    "sequence_batching { direct { minimum_slot_utilization: 5 } }",
)
ILLEGAL = (
    "max_queue_delay_microseconds: 100",
    'name "a"',
    "max_batch_size: 4 max_batch_size: 4",
    "input { dims: [1, 2,] }",
    "input { dims: [1 2] }",
    "input [ { } { } ]",
    'max_batch_size: "4"',
    "max_batch_size: 4.0",
    "max_batch_size: 3000000000",
    "name: seg",
    "input { data_type: TYPE_FP31 }",
    "input { data_type: 3000000000 }",
    "[ext]: 1",
    "[a.b/c.d] { }",
    "version_policy { latest { } latest { } }",
    "version_policy { latest { } all { } }",
    'name: "a',
    "input {",
    "input { >",
    "max_batch_size: [4]",
    "instance_group { count: -2147483649 }",
    "input { is_shape_tensor: yes }",
    '; name: "a"',
    'name: "a",,',
    "dynamic_batching { } sequence_batching { }",
    '\ufeffname: "a"',
    'Name: "a"',
    'name: "\\xZZ"',
)


CORNERS = {
    "max_batch_size: - 4": -4,
    "max_batch_size: +4": None,
    "max_batch_size: 0_4": None,
    "max_batch_size:\u00a04": None,
    "max_batch_size: 4 \u3000": None,
    "max_batch_size: 4 \x1c": None,
    "max_batch_size: 4 # \udce9": 4,
    "input { optional: 0x1 }": True,
    "input { optional: 02 }": None,
    "input { data_type: 013 }": "TYPE_FP32",
    "sequence_batching { direct { minimum_slot_utilization: - .5f } }": -0.5,
    "sequence_batching { direct { minimum_slot_utilization: infinityf } }": None,
    r'name: "\d"': None,
    r'name: "\8"': None,
    r'name: "\?\u00e9\x41\400"': "?\u00e9A\0",
    'name: "\0"': None,
    r'name: "\xe9"': "\udce9",
}


@pytest.mark.parametrize("text", CORNERS)
def test_corners_are_read_as_by_the_library_that_triton_has(text: str) -> None:
    """The first value that is no message, or None where the text is refused."""
    try:
        found: Any = parse(text, SCHEMA)
    except TextFormatError:
        found = None
    while isinstance(found, dict):
        (found,) = next(iter(found.values()))
    assert (found, type(found)) == (CORNERS[text], type(CORNERS[text]))


@pytest.mark.parametrize("text", LEGAL)
def test_what_is_legal_is_read(text: str) -> None:
    assert ours(text) == theirs(text)
    assert ours(text) is not None


@pytest.mark.parametrize("text", ILLEGAL)
def test_what_protobuf_refuses_is_refused_with_its_place(text: str) -> None:
    assert theirs(text) is None
    with pytest.raises(TextFormatError, match=r"^line \d+, column \d+: "):
        parse(text, SCHEMA)


def test_the_table_is_that_of_the_descriptors(tmp_path: Path) -> None:
    import subprocess
    import sys

    root = Path(__file__).parents[2]
    target = tmp_path / "fields.json"
    subprocess.run([sys.executable, str(root / ".ci" / "triton_fields.py"), str(target)], check=True)
    assert Schema.read(target) == SCHEMA
