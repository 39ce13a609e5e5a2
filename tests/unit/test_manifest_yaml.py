"""YAML itself and the environment: syntax, duplicates, aliases, variables."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prepare_models.errors import ManifestError
from prepare_models.manifest.load import load
from prepare_models.manifest.variables import substitute

from .conftest import Load, Refusals


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("version: 1\nmodels: [\n", "3: is not YAML: did not find expected node content"),
        (
            "version: 1\n\tmodels: []\n",
            "2: a tab indents this line, and YAML accepts only spaces: replace it with spaces",
        ),
        (
            "version: 1\nmodels:\n\t- name: a\n",
            "3: a tab indents this line, and YAML accepts only spaces: replace it with spaces",
        ),
        (
            "version: 1\nmodels:\n  - name: a\n  \tsource: b\n",
            "4: a tab indents this line, and YAML accepts only spaces: replace it with spaces",
        ),
        ("version: 1\nmodels: *base\n", "2: is not YAML: found undefined alias"),
        ("version: 1\n---\nversion: 1\n", "2: is not YAML: but found another document"),
        ("a: 'b\n", "2: is not YAML: found unexpected end of stream"),
    ],
)
def test_a_syntax_error_has_its_line(refusals: Refusals, text: str, problem: str) -> None:
    assert refusals(text) == [problem]


def test_a_control_character_is_told(refusals: Refusals) -> None:
    (problem,) = refusals("version: 1 # \x07\n")
    assert problem.startswith("1: is not YAML: ")
    assert "control characters are not allowed" in problem


def test_keys_must_be_plain_text(refusals: Refusals) -> None:
    assert refusals("version: 1\nmodels:\n- ? [a]\n  : 1\n  name: a\n  source: a\n") == [
        "3: models[0]: keys must be plain text"
    ]


def test_a_key_that_stands_twice(refusals: Refusals) -> None:
    assert refusals("version: 1\nmodels:\n- name: a\n  source: a.onnx\n  source: b.onnx\n") == [
        "5: models[0].source: key 'source' is given twice"
    ]


def test_anchors_carry_values_on(load_text: Load) -> None:
    first, second = load_text(
        "version: 1\nmodels:\n"
        "- {name: a, source: a.onnx, inputs: &in {x: 1x3}}\n"
        "- {name: b, source: b.onnx, inputs: *in}\n"
    ).models
    assert first.inputs == second.inputs
    assert list(second.inputs) == ["x"]


def test_an_alias_to_what_holds_it(refusals: Refusals) -> None:
    problems = refusals("version: 1\nmodels: &all\n- name: a\n  source: a.onnx\n- *all\n")
    assert "2: models[1]: an alias refers to a value that holds it" in problems


def test_merge_keys_fill_up_what_a_model_does_not_say(load_text: Load) -> None:
    first, second, third = load_text(
        "version: 1\n"
        "x-base: &base {precision: fp16, builder: {workspace: 1GiB}, source: '${NOBODY_SET_THIS}'}\n"
        "x-small: &small\n  precision: int8\n  inputs: {x: 1x3}\n"
        "models:\n"
        "- <<: *base\n  name: a\n  source: a.onnx\n"
        "- {name: b, <<: [*small, *base], source: b.onnx, builder: {optimization_level: 2}}\n"
        "- {<<: *small, name: c, source: c.onnx, precision: fp32, x-owner: me}\n"
    ).models
    assert (first.precision, first.builder.workspace_bytes) == ("fp16", 1 << 30)
    assert (second.precision, list(second.inputs)) == ("int8", ["x"])
    assert (second.builder.workspace_bytes, second.builder.optimization_level) == (None, 2)
    assert (third.precision, list(third.inputs)) == ("fp32", ["x"])


def test_problems_of_what_was_merged_have_the_line_where_it_stands(refusals: Refusals) -> None:
    assert refusals(
        "version: 1\nx-base: &base\n  precision: int4\nmodels:\n- {<<: *base, name: a, source: a}\n"
        "- {<<: here, name: b, source: b}\n- &loop {<<: *loop, name: c, source: c}\n"
    ) == [
        "3: models[0].precision: expected one of fp32, fp16, int8, bf16, fp8, auto, found 'int4'",
        "6: models[1]: << takes mappings, such as *base",
        "7: models[2]: an alias refers to a value that holds it",
    ]


def test_merges_beyond_all_measure_are_refused(refusals: Refusals) -> None:
    layers = "".join(f"x-{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 9)}]}}\n" for n in range(1, 10))
    (problem,) = refusals(f"version: 1\nx-0: &a0 {{name: a}}\n{layers}models:\n- {{<<: *a9, source: a}}\n")
    assert problem.endswith(": holds too many or too deeply nested values for a manifest")


@pytest.mark.parametrize(
    "tag", ["!env", "!include", "!!binary", "!!python/name:os.system", "!<tag:example.com,2020:x>"]
)
def test_a_tag_that_nobody_knows_is_refused(refusals: Refusals, tag: str) -> None:
    problems = refusals(f"version: 1\nmodels:\n- name: a\n  source: {tag} model.onnx\n")
    assert problems[0].startswith("4: models[0].source: the tag '")
    assert problems[0].endswith("the form for a variable is ${NAME}")
    assert refusals(f"version: 1\nmodels: {tag} []\n")[0].startswith("2: models: the tag '")


def test_tags_of_plain_values_change_nothing(load_text: Load) -> None:
    model = "!!map {name: !!str 2020-01-01, source: a}"
    (spec,) = load_text(f"version: !!int 1\nmodels: !!seq\n- {model}\n").models
    assert spec.name == "2020-01-01"


@pytest.mark.parametrize(
    ("key", "meant"), [("url", "source"), ("path", "source"), ("shapes", "inputs"), ("fp16", "precision")]
)
def test_keys_that_people_know_from_elsewhere(refusals: Refusals, key: str, meant: str) -> None:
    problems = refusals(f"version: 1\nmodels:\n- name: a\n  source: a\n  {key}: b\n")
    assert problems == [f"5: models[0].{key}: unknown key '{key}'; did you mean '{meant}'?"]


def test_variables_are_replaced_in_values(load_text: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOST", "example.com")
    monkeypatch.setenv("EMPTY", "")
    monkeypatch.delenv("UNSET", raising=False)
    (spec,) = load_text(
        "version: 1\nmodels:\n"
        "- name: seg${UNSET:-}-1\n"
        "  source: https://${HOST}/${UNSET:-v1}/${EMPTY:-v2}/$${HOST}/$HOST/seg.onnx\n"
        "  precision: ${UNSET:-fp16}\n"
        "  inputs: {x: '1x${UNSET:-3}'}\n"
        "  outputs: ['${HOST}']\n"
    ).models
    assert spec.name == "seg-1"
    assert spec.source == "https://example.com/v1/v2/${HOST}/$HOST/seg.onnx"
    assert spec.precision == "fp16"
    assert spec.inputs["x"].max == (1, 3)
    assert spec.outputs == ("example.com",)


def test_a_variable_without_value_says_how_to_give_one(refusals: Refusals, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("UNSET", raising=False)
    (problem,) = refusals("version: 1\nmodels:\n- name: seg\n  source: ${UNSET}/seg.onnx\n")
    assert problem == ("4: models[0].source: environment variable UNSET is not set; ${UNSET:-default} gives a default")


def test_what_a_variable_brings_is_checked(refusals: Refusals, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRECISION", "int4")
    (problem,) = refusals("version: 1\nmodels:\n- name: seg\n  source: a\n  precision: ${PRECISION}\n")
    assert problem == "5: models[0].precision: expected one of fp32, fp16, int8, bf16, fp8, auto, found 'int4'"


@given(st.text().filter(lambda text: "${" not in text and "$$" not in text))
def test_text_without_variables_stays(text: str) -> None:
    assert substitute(text) == text


@given(st.text())
def test_doubled_dollars_are_the_way_to_write_any_text_literally(text: str) -> None:
    assert substitute(text.replace("$", "$$")) == text
    assert substitute(f"{text.replace('$', '$$')}$${{NAME}}") == f"{text}${{NAME}}"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("${SET:-x} ${SET-x} ${SET:?m} ${SET?m} ${SET:+x} ${SET+x}", "set set set set x x"),
        ("[${EMPTY:-x}] [${EMPTY-x}] [${EMPTY?m}] [${EMPTY:+x}] [${EMPTY+x}]", "[x] [] [] [] [x]"),
        ("[${UNSET:-x}] [${UNSET-x}] [${UNSET:+x}] [${UNSET+x}]", "[x] [x] [] []"),
        ("${UNSET:-${SET:-x}} ${UNSET:-${UNSET:-x}} ${UNSET-a${EMPTY:-b}c}", "set x abc"),
        ("${SET:-${UNSET:?unused}} ${UNSET:+${UNSET}}", "set "),
        ("${UNSET:-a:b-c?d+e{f} ${UNSET-}", "a:b-c?d+e{f "),
        ("$$ $$$$ $${SET} $$${SET} $SET $1 $", "$ $$ ${SET} $set $SET $1 $"),
        ("${UNSET:-$$x} ${UNSET:-$${SET}}", "$x ${SET}"),
    ],
)
def test_every_form_that_compose_has(text: str, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SET", "set")
    monkeypatch.setenv("EMPTY", "")
    monkeypatch.delenv("UNSET", raising=False)
    assert substitute(text) == expected


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("${UNSET?give a folder}", "environment variable UNSET is not set: give a folder"),
        ("${UNSET:?}", "environment variable UNSET is not set"),
        ("${EMPTY:?give a folder}", "environment variable EMPTY is empty: give a folder"),
        ("${UNSET:-${UNSET}}", "environment variable UNSET is not set; ${UNSET:-default} gives a default"),
        *[
            (text, "a ${ does not begin a variable here: write ${V}")
            for text in ("${", "${}", "${V", "${1}", "${V:x}", "${V/}")
        ],
        ("${A:-" * 50 + "x" + "}" * 50, "variables are nested too deeply"),
    ],
)
def test_what_is_no_variable_is_refused_rather_than_taken_literally(
    text: str, told: str, refusals: Refusals, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EMPTY", "")
    for name in ("UNSET", "A", "V"):
        monkeypatch.delenv(name, raising=False)
    (problem,) = refusals(f"version: 1\nmodels:\n- name: seg\n  source: '{text}'\n")
    assert problem.startswith(f"4: models[0].source: {told}")


@given(st.text(st.characters(exclude_characters="}$", codec="utf-8")))
def test_any_default_is_taken_as_it_stands(default: str) -> None:
    assert substitute(f"a${{PREPARE_MODELS_NO_SUCH:-{default}}}b") == f"a{default}b"


@pytest.mark.parametrize(
    "text",
    [
        "[" * 200_000 + "]" * 200_000,
        "- " * 50_000 + "x",
        "a0: &a0 []\n" + "".join(f"a{n}: &a{n} [*a{n - 1}]\n" for n in range(1, 2000)),
        "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 10)),
        "m: &m {"
        + ", ".join(f"k{n}: v" for n in range(1000))
        + "}\nmodels:\n- {<<: ["
        + ", ".join(["*m"] * 1000)
        + "]}\n",
    ],
    ids=["flow", "block", "alias chain", "alias bomb", "merge bomb"],
)
def test_a_manifest_beyond_all_measure_is_refused(refusals: Refusals, text: str) -> None:
    (problem,) = refusals(text)
    assert problem.endswith(": holds too many or too deeply nested values for a manifest")


def test_a_file_that_is_far_too_large_is_not_read_to_its_end(tmp_path: Path) -> None:
    with (tmp_path / "large.yaml").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(ManifestError, match="is larger than 16 MiB, so it is not a manifest"):
        load(tmp_path / "large.yaml")


def test_a_device_or_a_pipe_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for place in (Path("/dev/zero"), tmp_path / "pipe"):
        with pytest.raises(ManifestError, match="can't be read: not a regular file"):
            load(place)


def test_a_name_that_no_file_can_have_is_refused_and_not_repeated_in_full(refusals: Refusals) -> None:
    (problem,) = refusals(f"version: 1\nmodels:\n- name: {'n' * 300}\n  source: a\n")
    assert problem.endswith(f"a letter or digit first, found '{'n' * 80}...'")


@pytest.mark.parametrize("value", ["a\\0b", "${ODD}", "file:///a%00b", "a" * 256, "a/" * 2048 + "b", "${LONG}${LONG}"])
def test_a_path_that_no_file_can_have_is_refused(
    refusals: Refusals, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.environ", {**os.environ, "ODD": "a\udcffb", "LONG": "a" * (1 << 20)})
    settings = {"source": f'"{value}"'}
    if not value.startswith("file:"):
        settings |= {"headers_file": f'"{value}"', "calibration_cache": f'"{value}"', "key": f'{{file: "{value}"}}'}
    for key, written in settings.items():
        found = refusals(f"version: 1\nmodels:\n- {{name: n, {key}: {written}}}\n")
        of_key = [problem for problem in found if f"models[0].{key}" in problem]
        assert len(of_key) == 1, found
        assert len(of_key[0]) < 250


def test_home_of_a_user_that_is_not_known_stays_as_it_is(load_text: Load) -> None:
    model = "{name: seg, source: ~nobody-knows/seg.onnx, verify: {npz: ~/a}}"
    (spec,) = load_text(f"version: 1\nmodels:\n- {model}\n").models
    assert spec.source.endswith("/~nobody-knows/seg.onnx")
    assert spec.verify is not None
    assert spec.verify.npz == str(Path.home() / "a")
