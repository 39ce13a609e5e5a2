"""The manifest's JSON Schema and the loader agree."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from prepare_models.__main__ import main
from prepare_models.errors import ManifestError
from prepare_models.manifest.load import load
from prepare_models.manifest.schema import manifest_schema

Document = dict[str, Any]

NAMES = st.from_regex(r"[a-z0-9][a-z0-9._-]{0,20}", fullmatch=True).filter(lambda name: name != "report.json")
WORDS = st.from_regex(r"[A-Za-z0-9_./:-]{1,20}", fullmatch=True)
DIGESTS = st.text("0123456789abcdefABCDEF", min_size=64, max_size=64)
SOURCES = st.one_of(
    st.from_regex(r"[a-z0-9_/]{1,20}\.(onnx|etlt)", fullmatch=True),
    st.just("file:///models/a.onnx"),
    st.from_regex(r"https://[a-z]{1,9}\.com/[a-z]{1,9}\.onnx", fullmatch=True),
    st.from_regex(r"ngc://[a-z]{1,9}(/[a-z]{1,9})?/[a-z]{1,9}:[a-z0-9._]{1,9}/[a-z]{1,9}\.etlt", fullmatch=True),
    st.just("${PREPARE_MODELS_NO_SUCH:-a}.onnx"),
)
DIMS = st.lists(st.integers(0, 4096), min_size=1, max_size=5)
WHOLE = st.integers(-(10**17), 10**17)
VALUES = st.one_of(WHOLE, st.lists(WHOLE, min_size=1, max_size=4))


def shape(dims: list[int]) -> str | int:
    return dims[0] if len(dims) == 1 else "x".join(map(str, dims))


def shape_range(dims: list[int]) -> Document:
    return {"min": shape([0] * len(dims)), "opt": shape(dims), "max": shape([size * 2 for size in dims])}


def value_range(values: Any) -> Document:
    return {"values": {"min": values, "opt": values, "max": values}}


INPUTS = st.dictionaries(
    WORDS,
    st.one_of(
        DIMS.map(shape), DIMS.map(shape_range), VALUES.map(value_range), VALUES.map(lambda each: {"values": each})
    ),
    max_size=3,
)
CONSTANTS = st.one_of(WHOLE, st.booleans(), st.floats(-1e9, 1e9), st.lists(WHOLE, min_size=1, max_size=3))
SETTINGS: dict[str, st.SearchStrategy[Any]] = {
    "precision": st.sampled_from(["fp32", "fp16", "int8", "${PREPARE_MODELS_NO_SUCH:-fp16}"]),
    "key": st.one_of(WORDS, st.fixed_dictionaries({"env": WORDS}), st.fixed_dictionaries({"file": WORDS})),
    "builder": st.fixed_dictionaries(
        {},
        optional={
            "workspace": st.from_regex(r"[0-9]{1,4}(\.[0-9]{1,2})? ?[KMG]i?B", fullmatch=True),
            "optimization_level": st.integers(0, 5),
            "tf32": st.booleans(),
        },
    ),
    "converter": st.sampled_from(["auto", "api", "trtexec", "tao-converter"]),
}
MODELS = st.fixed_dictionaries(
    {"name": NAMES, "source": SOURCES},
    optional={
        "sha256": DIGESTS,
        "calibration_cache": SOURCES,
        "inputs": INPUTS,
        "outputs": st.lists(WORDS, max_size=3),
        "onnx": st.fixed_dictionaries({"constants": st.dictionaries(WORDS, CONSTANTS, max_size=2)}),
        **SETTINGS,
    },
)
MANIFESTS = st.fixed_dictionaries(
    {
        "version": st.just(1),
        "models": st.lists(MODELS, min_size=1, max_size=3, unique_by=lambda model: str(model["name"])),
    },
    optional={"defaults": st.fixed_dictionaries({}, optional=SETTINGS)},
)


def schema() -> Document:
    document: Document = json.loads(json.dumps(manifest_schema()))
    return document


VALIDATOR = jsonschema.Draft202012Validator(schema())


def loads(document: Document) -> bool:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "models.yaml")
        file.write_text(yaml.safe_dump(document), encoding="utf-8")
        try:
            load(file)
        except ManifestError:
            return False
    return True


@given(MANIFESTS)
def test_what_the_schema_describes_loads(document: Document) -> None:
    assert VALIDATOR.is_valid(document)
    assert loads(document)


@given(MANIFESTS, st.data())
def test_an_unknown_key_fits_neither(document: Document, data: st.DataObject) -> None:
    key = data.draw(st.from_regex(r"[a-z]{1,12}_", fullmatch=True))
    model = document["models"][0]
    place = data.draw(st.sampled_from([document, model, model.setdefault("builder", {})]))
    place[key] = data.draw(st.sampled_from([1, "x", None, {}]))
    assert not VALIDATOR.is_valid(document)
    assert not loads(document)


@pytest.mark.parametrize(
    "change",
    [
        {"name": "A"},
        {"name": ""},
        {"source": ""},
        {"source": None},
        {"source": "ftp://a/b"},
        {"source": "file://b"},
        {"source": "ngc://nvidia/model"},
        {"source": "http://example.com/a.onnx"},
        {"sha256": "abc"},
        {"precision": "FP16"},
        {"precision": None},
        {"converter": "docker"},
        {"key": ""},
        {"key": {}},
        {"key": {"env": "A", "file": "b"}},
        {"key": {"name": "A"}},
        {"key": ["A"]},
        {"inputs": "1x3"},
        {"inputs": {"x": {"values": []}}},
        {"inputs": {"x": {"values": "1x3"}}},
        {"inputs": {"x": {"values": [1.5]}}},
        {"inputs": {"x": {"values": 1, "min": 1}}},
        {"inputs": {"x": {"values": {"min": 1, "opt": 1}}}},
        {"onnx": {"constants": {"sr": "high"}}},
        {"onnx": {"constants": {"sr": []}}},
        {"onnx": {"constants": [1]}},
        {"inputs": {"x": -1}},
        {"inputs": {"x": 1.5}},
        {"inputs": {"x": [1, -3]}},
        {"inputs": {"x": {"min": 1, "opt": 1}}},
        {"outputs": "a"},
        {"outputs": [""]},
        {"outputs": [["a"]]},
        {"builder": None},
        {"builder": {"workspace": 512}},
        {"builder": {"workspace": "1TB"}},
        {"builder": {"optimization_level": 6}},
        {"builder": {"tf32": "maybe"}},
        {"calibration_cache": "gopher://a/b"},
        {"source": "HTTP://example.com/a.onnx"},
        {"calibration_cache": "http://example.com/a.cache"},
    ],
)
def test_wrong_values_fit_neither(change: Document) -> None:
    document = {"version": 1, "models": [{"name": "a", "source": "a.onnx", **change}]}
    assert not VALIDATOR.is_valid(document)
    assert not loads(document)


@pytest.mark.parametrize(
    "document", [{}, {"version": 2}, {"version": 1, "models": []}, {"version": 1, "models": {}}, [], None, "x"]
)
def test_wrong_frames_fit_neither(document: Any) -> None:
    assert not VALIDATOR.is_valid(document)
    assert not loads(document)


def test_every_key_that_an_editor_offers_is_described_with_an_example_or_its_values() -> None:
    definitions = schema()["$defs"]
    for place in (schema(), definitions["model"], definitions["builder"]):
        for name, entry in place["properties"].items():
            told = {**definitions.get(entry.get("$ref", "").rpartition("/")[2], {}), **entry}
            assert told["description"], name
            assert told.get("examples") or "anyOf" in told, name


def examples(node: Any) -> list[tuple[Document, Any]]:
    if isinstance(node, list):
        return [found for item in node for found in examples(item)]
    if not isinstance(node, dict):
        return []
    own = [(node, example) for example in node.get("examples", [])]
    return own + [found for name, item in node.items() if name != "examples" for found in examples(item)]


@pytest.mark.parametrize("name", ["manifest", "report"])
def test_the_command_prints_a_schema_whose_examples_fit(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema", name]) == 0
    document = json.loads(capsys.readouterr().out)
    jsonschema.Draft202012Validator.check_schema(document)
    assert document["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    found = examples(document)
    assert found
    for node, example in found:
        validator = jsonschema.Draft202012Validator({**node, "$defs": document["$defs"]})
        assert list(validator.iter_errors(example)) == []
