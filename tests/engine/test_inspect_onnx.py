"""``inspect`` on every kind of ONNX file, and on what is none: an answer or a stable code, whatever the file is."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import onnx
import pytest
from polygraphy.backend.onnx.util import get_input_metadata, get_output_metadata

from prepare_models.reports import inspection, text
from tests import odd_models
from tests.command import Workplace

Documents = dict[str, dict[str, Any]]
QUICKSTART = Path(__file__).parents[2] / "examples" / "quickstart" / "model.onnx"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("odd")
    for name, write in odd_models.readable().items():
        write(folder / f"{name}.onnx")
    for name, (_, write) in odd_models.unreadable().items():
        write(folder / f"{name}.onnx")
    return folder


@pytest.fixture(scope="module")
def documents(folder: Path) -> Documents:
    names = [*odd_models.readable(), *odd_models.unreadable()]
    files = [str(folder / f"{name}.onnx") for name in names]
    done = Workplace(folder).call("inspect", "--json", "--layers", "--weights", *files)
    assert (done.status, done.stderr) == (1, "")
    return dict(zip(names, json.loads(done.stdout)["files"], strict=True))


@pytest.mark.parametrize("name", odd_models.readable())
def test_an_onnx_model_is_described(documents: Documents, name: str) -> None:
    document = documents[name]
    assert document["error"] is None
    assert document["io"]
    for value in document["io"]:
        assert value["dtype"]
        assert (value["shape"] is None) == (value["dims"] is None)


@pytest.mark.parametrize("name", odd_models.unreadable())
def test_what_is_no_model_is_refused_with_its_code(documents: Documents, name: str) -> None:
    error = documents[name]["error"]
    assert error["code"] == odd_models.unreadable()[name][0]
    assert error["message"]
    assert error["hint"]


@pytest.mark.parametrize("name", odd_models.readable())
def test_the_text_of_a_model_steers_no_terminal(
    documents: Documents, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = inspection.render(documents[name], layers=True, weights=True).count("\n")
    text.write(inspection.render(documents[name], layers=True, weights=True))
    told = capsys.readouterr().out
    assert all(char.isprintable() or char == "\n" for char in told)
    assert told.count("\n") == lines + 1


def io(documents: Documents, name: str) -> list[tuple[str, str, Any]]:
    return [(value["name"], value["dtype"], value["dims"]) for value in documents[name]["io"]]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("scalar", [("x", "float32", []), ("y", "float32", [])]),
        ("zero-dimension", [("x", "float32", [0, 3]), ("y", "float32", [0, 3])]),
        ("input-without-rank", [("x", "float32", None), ("y", "float32", None)]),
        ("output-without-type", [("x", "float32", ["batch", 3]), ("y", "float32", ["batch", 3])]),
        ("output-without-type-of-own-operator", [("x", "float32", ["batch", 3]), ("y", "unknown", None)]),
        ("sequence", [(name, "sequence(float32(2, 'n'))", None) for name in "xy"]),
        ("ai.onnx.ml", [("x", "float32", [None, 3]), ("y", "sequence(map(int64, float32))", None)]),
        ("initialised-input", [("x", "float32", [1, 3]), ("y", "float32", [1, 3])]),
        ("type-of-the-future", [("x", "type 99", [1, 3]), ("y", "float32", [1, 3])]),
        ("names-not-utf8", [("\\xff\\xfe", "float32", [1, 3]), ("y", "float32", [1, 3])]),
        ("no-inputs", [("y", "float32", [2])]),
    ],
)
def test_inputs_and_outputs_are_what_is_true(documents: Documents, name: str, expected: Any) -> None:
    assert io(documents, name) == expected


def test_a_shape_that_was_inferred_says_so(documents: Documents) -> None:
    told = inspection.render(documents["output-without-type"], layers=False, weights=False)
    assert "{y [dtype=float32, shape=('batch', 3), inferred]}" in told
    assert "{x [dtype=float32, shape=('batch', 3)]}" in told
    unknown = inspection.render(documents["output-without-type-of-own-operator"], layers=False, weights=False)
    assert "{y [dtype=unknown, shape=unknown]}" in unknown
    assert "note: types that the file leaves open: y" in unknown


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("external-present", None),
        ("external-huge", None),
        ("external-missing", "'missing.bin' can't be found"),
        ("external-short", "'short.bin' has 399 of the 400 bytes"),
        ("external-outside", "'../../etc/passwd' is outside"),
    ],
)
def test_weights_in_other_files_are_looked_for_and_not_read(documents: Documents, name: str, told: str | None) -> None:
    found = [warning["message"] for warning in documents[name]["warnings"]]
    assert [told in message for message in found if told] == ([True] if told else [])
    assert bool(found) == (told is not None)


def test_what_else_a_file_holds(documents: Documents) -> None:
    assert documents["function"]["functions"] == ["own::twice"]
    assert documents["training"]["training"] is True
    assert documents["own-domain"]["operators"] == {"com.acme::Magic": 1}
    assert documents["quantised"]["operators"] == {"DequantizeLinear": 1, "QuantizeLinear": 1}
    assert documents["subgraphs"]["operators"] == {"Identity": 1, "If": 9}
    (weight,) = documents["sparse-initialiser"]["weights"]["tensors"]
    assert (weight["name"], weight["dtype"], weight["bytes"]) == ("w", "sparse_tensor(float32)", 8)


def test_the_quickstart_model_reads_as_polygraphy_prints_it(place: Workplace) -> None:
    done = place.call("inspect", str(QUICKSTART), "--layers")
    assert done.status == 0
    assert "  ---- 1 Graph Input(s) ----\n  {input_2:0 [dtype=float32, shape=(1, 3, 544, 960)]}\n" in done.stdout
    assert "  ---- 1 Graph Output(s) ----\n  {argmax_1 [dtype=int32, shape=(1, 544, 960, 1)]}\n" in done.stdout
    assert "  ---- 32 Node(s) ----\n  0: input/shrink [AveragePool] {input_2:0} -> {input/shrink}\n" in done.stdout


# Types that Polygraphy knows by ONNX's numbers; for others it asks TensorRT's module, which it does not find in RTX.
COMMON = (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13)


def node_models() -> list[onnx.ModelProto]:
    """Return ONNX's own models of single operators, a third of them, whose types Polygraphy knows."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from onnx.backend.test.case.node import collect_testcases

        models = [case.model for case in collect_testcases(None)[::3] if case.model is not None]
    return [
        model
        for model in models
        if all(v.type.tensor_type.elem_type in COMMON for v in (*model.graph.input, *model.graph.output))
    ]


def test_onnx_own_models_have_the_names_types_and_shapes_that_polygraphy_tells(tmp_path: Path) -> None:
    from prepare_models_entrypoint.inspect import onnx_model

    compared = 0
    for model in node_models():
        path = tmp_path / "model.onnx"
        path.write_bytes(model.SerializeToString())
        told: list[dict[str, Any]] = []
        onnx_model.read(path, told.append, layers=False, weights=False)
        theirs = {**get_input_metadata(model.graph), **get_output_metadata(model.graph)}
        for value in told[-1]["io"]:
            meta = theirs[value["name"]]
            if meta.dtype is None or meta.shape is None:
                continue
            assert [-1 if dim is None else dim for dim in value["dims"]] == list(meta.shape)
            assert value["dtype"] == str(meta.dtype.name)
            compared += 1
    assert compared > 1000
