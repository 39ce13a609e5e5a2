"""A manifest that is wrong: every problem at once, each with its line, its path and what was expected."""

from __future__ import annotations

from pathlib import Path

import pytest

from prepare_models.errors import EXIT_USAGE, ManifestError, UsageError
from prepare_models.manifest.load import load
from prepare_models_entrypoint.contract.source import EXPECTED
from tests import networks

from .conftest import Refusals

NAME = "at most 128 of a-z, 0-9, '.', '_' and '-', a letter or digit first"
SOURCE = EXPECTED
NGC = (
    "ngc://org[/team]/model:version/file, such as "
    "ngc://nvidia/tao/peoplesemsegnet:deployable_shuffleseg_unet_v1.0/peoplesemsegnet_shuffleseg_etlt.etlt"
)
SHAPE = "a shape such as 1x3x544x960, or {min:, opt:, max:}"
SIZE = "a size with its unit, such as 512MiB or 2GiB"
KEY = "expected the key, {env: NAME} or {file: PATH}"
NGC_WITHOUT_VERSION = f"{NGC}; add a version and a file; its versions: prepare-models ngc versions nvidia/model"


def expected(line: int, path: str, what: str, found: str) -> str:
    return f"{line}: {path}: expected {what}, found {found}"


@pytest.mark.parametrize(
    ("text", "problems"),
    [
        ("", ["1: is empty; expected version: 1 and models:"]),
        ("# nothing\n", ["1: is empty; expected version: 1 and models:"]),
        ("hello\n", ["1: expected version: 1 and models:, found 'hello'"]),
        ("- 1\n", ["1: expected version: 1 and models:, found a list"]),
        ("{}\n", ["1: key 'version' is missing", "1: key 'models' is missing"]),
        ("version: 1\n", ["1: key 'models' is missing"]),
        (
            "version: 2\nmodels: []\n",
            [
                expected(1, "version", "1, the version that this tool reads", "'2'"),
                expected(2, "models", "at least one model", "an empty list"),
            ],
        ),
        ("version: 1\nmodels:\n", [expected(2, "models", "a list of models", "nothing")]),
        ("version: 1\nmodels: {}\n", [expected(2, "models", "a list of models", "a mapping")]),
        ("version: 1\nmodels:\n- seg\n", [expected(3, "models[0]", "a model with name: and source:", "'seg'")]),
        ("version: 1\nmodels:\n- name: a\n", ["3: models[0]: key 'source' is missing"]),
        ("version: 1\nmodels:\n- source: a\n", ["3: models[0]: key 'name' is missing"]),
        (
            "version: 1\ndefaults: fp16\nmodels:\n- {name: a, source: a}\n",
            [expected(2, "defaults", "a mapping", "'fp16'")],
        ),
        (
            "version: 1\ndefaults: {inputs: {}}\nmodels:\n- {name: a, source: a}\n",
            [
                (
                    "2: defaults.inputs: unknown key 'inputs'; "
                    "known keys: precision, key, builder, converter, allow_fallback, headers_file, ngc"
                )
            ],
        ),
        (
            "version: 1\nmodels:\n- {name: a, source: a}\n- {name: b, source: b}\n- {name: a, source: c}\n",
            ["5: models[2].name: the name 'a' is taken by the model in line 3"],
        ),
    ],
)
def test_the_frame(refusals: Refusals, text: str, problems: list[str]) -> None:
    assert refusals(text) == problems


@pytest.mark.parametrize(
    ("key", "value", "what", "found"),
    [
        ("name", "Seg", NAME, "'Seg'"),
        ("name", "-seg", NAME, "'-seg'"),
        ("name", "a/b", NAME, "'a/b'"),
        ("name", "", NAME, "nothing"),
        ("name", "[a]", NAME, "a list"),
        ("source", "", SOURCE, "nothing"),
        ("source", "''", SOURCE, "''"),
        ("source", "{url: a}", SOURCE, "a mapping"),
        ("source", "ftp://example.com/a.onnx", SOURCE, "'ftp://example.com/a.onnx'"),
        ("source", "ngc://nvidia/model", NGC_WITHOUT_VERSION, "'ngc://nvidia/model'"),
        ("source", "ngc://nvidia/tao/extra/model:1/f", NGC, "'ngc://nvidia/tao/extra/model:1/f'"),
        ("source", "file://seg.onnx", "file:/// and an absolute path", "'file://seg.onnx'"),
        ("calibration_cache", "gopher://a/b", SOURCE, "'gopher://a/b'"),
        ("sha256", "abc", "64 hexadecimal digits", "'abc'"),
        ("sha256", "g" * 64, "64 hexadecimal digits", repr("g" * 64)),
        ("precision", "FP16", "one of fp32, fp16, int8, bf16, fp8, auto", "'FP16'; did you mean fp16?"),
        ("precision", "half", "one of fp32, fp16, int8, bf16, fp8, auto", "'half'; did you mean fp16?"),
        ("precision", "fp6", "one of fp32, fp16, int8, bf16, fp8, auto", "'fp6'; did you mean fp16?"),
        ("precision", "int4", "one of fp32, fp16, int8, bf16, fp8, auto", "'int4'"),
        ("converter", "docker", "one of auto, api, trtexec, tao-converter", "'docker'"),
        ("inputs", "1x3", "input names with their shapes, such as {NAME: 1x3x48x192}", "'1x3'"),
        ("inputs", "", "input names with their shapes, such as {NAME: 1x3x48x192}", "nothing"),
        ("outputs", "argmax_1", "a list of output names", "'argmax_1'"),
        ("builder", "fast", "builder options", "'fast'"),
    ],
)
def test_values(refusals: Refusals, key: str, value: str, what: str, found: str) -> None:
    entries = {"name": "seg", "source": "seg.onnx", key: value}
    text = "version: 1\nmodels:\n-\n" + "".join(f"  {name}: {entry}\n" for name, entry in entries.items())
    line = 4 + list(entries).index(key)
    assert refusals(text) == [expected(line, f"models[0].{key}", what, found)]


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        ("inputs: {x: 1x}", expected(4, "models[0].inputs.x", SHAPE, "'1x'")),
        ("inputs: {x: -1x3}", expected(4, "models[0].inputs.x", SHAPE, "'-1x3'")),
        ("inputs: {x: [1, -3]}", expected(4, "models[0].inputs.x", SHAPE, "a list")),
        ("inputs: {x: []}", expected(4, "models[0].inputs.x", SHAPE, "an empty list")),
        ("inputs: {x: '1, 3,48'}", expected(4, "models[0].inputs.x", SHAPE, "'1, 3,48'; did you mean 1x3x48?")),
        (
            "inputs: {x: 1,3,48}",
            "4: models[0].inputs: a comma ends an entry here; write shapes such as 1x3x48x192 or [1, 3, 48, 192]",
        ),
        ("builder: {workspace: 2G}", expected(4, "models[0].builder.workspace", SIZE, "'2G'; did you mean 2GiB?")),
        (
            "builder: {workspace: 512 mb}",
            expected(4, "models[0].builder.workspace", SIZE, "'512 mb'; did you mean 512MB?"),
        ),
        (
            "inputs: {x: {values: 1x3}}",
            expected(4, "models[0].inputs.x.values", "a whole number, or a list of them", "'1x3'"),
        ),
        (
            "inputs: {x: {values: {min: [1, 2], opt: [1, 0], max: [1, 4]}}}",
            "4: models[0].inputs.x.values: value 1: expected min <= opt <= max, found 2, 0, 4",
        ),
        (
            "onnx: {constants: {sr: high}}",
            expected(4, "models[0].onnx.constants.sr", "a number, true or false, or a list of them", "'high'"),
        ),
        ("inputs: {x: {min: 1, opt: 2}}", "4: models[0].inputs.x: key 'max' is missing"),
        (
            "inputs: {x: {min: 1, opt: 2, max: 3, mid: 2}}",
            "4: models[0].inputs.x.mid: unknown key 'mid'; did you mean 'min'?",
        ),
        (
            "inputs: {x: {min: 1x3, opt: 8x3, max: 4x3}}",
            "4: models[0].inputs.x: axis 0: expected 0 <= min <= opt <= max, found 1, 8, 4",
        ),
        (
            "inputs: {x: {min: 1x3, opt: 1x3, max: 3}}",
            "4: models[0].inputs.x: min, opt and max differ in rank (2, 2, 1)",
        ),
        ("outputs: [[a]]", expected(4, "models[0].outputs[0]", "the name of an output", "a list")),
        ("outputs: [a, '']", expected(4, "models[0].outputs[1]", "the name of an output", "''")),
        ("builder: {workspace: 512}", expected(4, "models[0].builder.workspace", SIZE, "'512'")),
        ("builder: {workspace: 1TB}", expected(4, "models[0].builder.workspace", SIZE, "'1TB'")),
        ("builder: {workspace: -1GiB}", expected(4, "models[0].builder.workspace", SIZE, "'-1GiB'")),
        (
            "builder: {optimization_level: 6}",
            expected(4, "models[0].builder.optimization_level", "a level from 0 (quick) to 5 (thorough)", "'6'"),
        ),
        ("builder: {tf32: 1}", expected(4, "models[0].builder.tf32", "true or false", "'1'")),
        (
            "builder: {workspce: 1GiB}",
            "4: models[0].builder.workspce: unknown key 'workspce'; did you mean 'workspace'?",
        ),
    ],
)
def test_values_inside(refusals: Refusals, entry: str, problem: str) -> None:
    assert refusals(f"version: 1\nmodels:\n- {{name: seg, source: seg.onnx}}\n- {{name: b, source: b, {entry}}}\n") == [
        problem.replace("models[0]", "models[1]")
    ]


@pytest.mark.parametrize(
    ("entries", "problem"),
    [
        (
            "calibration_cache: c, calibration: {images: d}",
            "calibration: give calibration: or calibration_cache:, not both",
        ),
        ("inputs: {x: 1x3}, profiles: [{x: 1x3}]", "profiles: give inputs: or profiles:, not both"),
        (
            "converter: trtexec, tao: {batch: 1}",
            "tao: these are options of tao-converter, not of converter: trtexec",
        ),
    ],
)
def test_what_can_not_stand_together(refusals: Refusals, entries: str, problem: str) -> None:
    text = f"version: 1\nmodels:\n- {{name: a, source: a.onnx, {entries}}}\n"
    path, _, what = problem.partition(": ")
    assert refusals(text) == [f"3: models[0].{path}: {what}"]


@pytest.mark.parametrize(
    ("written", "nearest"), [("input", "inputs"), ("presicion", "precision"), ("sha-256", "sha256"), ("src", "source")]
)
def test_an_unknown_key_names_the_nearest(refusals: Refusals, written: str, nearest: str) -> None:
    (problem,) = refusals(f"version: 1\nmodels:\n- name: seg\n  source: a.onnx\n  {written}: x\n")
    assert problem == f"5: models[0].{written}: unknown key {written!r}; did you mean {nearest!r}?"


def test_an_unknown_key_like_no_other_gets_the_list(refusals: Refusals) -> None:
    assert refusals("version: 1\nmodels: [{name: a, source: a}]\nzzz: 1\n") == [
        "3: zzz: unknown key 'zzz'; known keys: version, defaults, models, deploy_dir, consumers, targets"
    ]


def test_all_problems_come_at_once_in_the_order_of_lines(refusals: Refusals) -> None:
    text = (
        "version: 3\nmodel: []\ndefaults:\n  precision: int4\nmodels:\n"
        "- name: A\n  source: a.onnx\n- name: b\n  source: b.onnx\n  outputs: x\n"
    )
    assert [problem.split(": ")[0:2] for problem in refusals(text)] == [
        ["1", "version"],
        ["2", "model"],
        ["4", "defaults.precision"],
        ["6", "models[0].name"],
        ["10", "models[1].outputs"],
    ]


@pytest.mark.parametrize("value", ["[s3cr3t]", "{s3cr3t: x}", "{env: [s3cr3t]}", "''", "{env: A, file: b}", ""])
def test_a_wrong_key_is_told_without_repeating_it(refusals: Refusals, value: str) -> None:
    (problem,) = refusals(f"version: 1\nmodels:\n- name: seg\n  source: a.etlt\n  key: {value}\n")
    assert problem.startswith("5: models[0].key")
    assert KEY in problem or "expected the name of a variable" in problem
    assert "s3cr3t" not in problem


@pytest.mark.parametrize(
    "entry", ["key: s3cr3t", "kye: s3cr3t", "key: 's3cr3t\n  name: x'", "key: s3cr3t: x", "key: *s3cr3t"]
)
def test_no_problem_beside_a_key_shows_it(refusals: Refusals, entry: str) -> None:
    problems = refusals(f"version: 1\nmodels:\n- name: A\n  source: ftp://x\n  {entry}\n")
    assert problems
    assert "s3cr3t" not in "\n".join(problems)


@pytest.mark.parametrize(
    ("source", "hint"),
    [
        ("seg.pth", "a .pth file can't be converted: export it to ONNX first"),
        ("https://example.com/seg.PT?v=1", "a .pt file can't be converted: export it to ONNX first"),
        ("seg.tlt", "a .tlt file can't be converted: export it to ONNX first"),
        (
            "seg.engine",
            "a .engine file can't be converted: it is an engine already; give the model that it was built from",
        ),
        ("seg.uff", "a .uff file can't be converted: UFF ended with TensorRT 8; use the model's ONNX release"),
        ("seg.caffemodel", "a .caffemodel file can't be converted: use the model's ONNX release"),
    ],
)
def test_formats_that_can_not_be_converted_name_the_way_out(refusals: Refusals, source: str, hint: str) -> None:
    assert refusals(f"version: 1\nmodels:\n- name: seg\n  source: {source}\n") == [f"4: models[0].source: {hint}"]


@pytest.mark.parametrize("scheme", ["http", "HTTP"])
def test_an_http_source_needs_a_digest(refusals: Refusals, scheme: str) -> None:
    assert refusals(f"version: 1\nmodels:\n- {{name: seg, source: '{scheme}://example.com/seg.onnx'}}\n") == [
        "3: models[0].source: an http:// source needs sha256:, as anyone in between may change its bytes"
    ]


def test_a_calibration_cache_which_has_no_digest_is_never_fetched_by_http(refusals: Refusals) -> None:
    entry = "{name: seg, source: seg.onnx, calibration_cache: 'http://example.com/seg.cache'}"
    assert refusals(f"version: 1\nmodels:\n- {entry}\n") == [
        "3: models[0].calibration_cache: anyone in between may change the bytes of an http:// source; use https://"
    ]


def test_a_file_that_can_not_be_read(tmp_path: Path) -> None:
    for path, why in ((tmp_path / "none.yaml", "doesn't exist"), (tmp_path, "is a directory, not a manifest")):
        with pytest.raises(UsageError) as caught:
            load(path)
        assert caught.value.message == f"{path} {why}"
        assert caught.value.hint
        assert caught.value.exit_code == EXIT_USAGE


def test_a_model_in_the_place_of_a_manifest(tmp_path: Path) -> None:
    networks.conv(tmp_path / "model.onnx")
    (tmp_path / "network").write_bytes((tmp_path / "model.onnx").read_bytes())
    (tmp_path / "seg.etlt").write_bytes(b"\x00\x00\x00\x00\xff")
    for name in ("model.onnx", "network", "seg.etlt"):
        with pytest.raises(UsageError, match="is a model, not a manifest") as caught:
            load(tmp_path / name)
        assert f"prepare-models convert {tmp_path / name};" in caught.value.hint
        assert caught.value.hint.endswith(f"prepare-models init {tmp_path / name}")
    (tmp_path / "net.pt").write_bytes(b"PK\x03\x04\xff\xff")
    with pytest.raises(UsageError, match=r"net.pt is a zip archive .*, not a manifest") as caught:
        load(tmp_path / "net.pt")
    assert "export the model to ONNX" in caught.value.hint


def test_bytes_that_are_no_utf8(tmp_path: Path) -> None:
    file = tmp_path / "models.yaml"
    file.write_bytes("version: 1 # é\n".encode("latin-1"))
    with pytest.raises(ManifestError) as caught:
        load(file)
    assert caught.value.message == f"{file}:1: is not UTF-8: invalid continuation byte at byte 13"
