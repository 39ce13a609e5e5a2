"""What a manifest says arrives as it was meant."""

from __future__ import annotations

from pathlib import Path

import pytest

from prepare_models.errors import KeyUnavailableError
from prepare_models.manifest.model import Key, ModelSpec
from prepare_models_entrypoint.contract.builder import BuilderConfig
from prepare_models_entrypoint.contract.shapes import ShapeRange

from .conftest import Load

DIGEST = "0123456789abcdef" * 4


def model(load_text: Load, *lines: str, defaults: str = "") -> ModelSpec:
    body = "".join(f"    {line}\n" for line in lines)
    (spec,) = load_text(
        f"version: 1\n{defaults}models:\n  - name: seg\n"
        + ("" if "source:" in body else "    source: seg.onnx\n")
        + body
    ).models
    return spec


def test_a_minimal_model_gets_the_documented_defaults(load_text: Load, tmp_path: Path) -> None:
    manifest = load_text("version: 1\nmodels:\n- name: seg\n  source: nets/seg.onnx\n")
    assert manifest.path == tmp_path / "models.yaml"
    assert manifest.models == (
        ModelSpec(
            name="seg",
            source=str(tmp_path / "nets/seg.onnx"),
            line=3,
            sha256=None,
            precision="fp32",
            key=None,
            calibration_cache=None,
            inputs={},
            outputs=(),
            builder=BuilderConfig(workspace_bytes=None, optimization_level=None, tf32=None),
            converter="auto",
        ),
    )


def test_every_key_arrives(load_text: Load, tmp_path: Path) -> None:
    spec = model(
        load_text,
        f"sha256: {DIGEST.upper()}",
        "precision: int8",
        "key: {env: SEG_KEY}",
        "calibration_cache: seg.cache",
        "inputs: {'input_2:0': 1x3x544x960}",
        "outputs: [argmax_1]",
        "builder: {workspace: 2GiB, optimization_level: 5, tf32: false}",
        "converter: trtexec",
    )
    shape = (1, 3, 544, 960)
    assert spec == ModelSpec(
        name="seg",
        source=str(tmp_path / "seg.onnx"),
        line=3,
        sha256=DIGEST,
        precision="int8",
        key=Key(env="SEG_KEY"),
        calibration_cache=str(tmp_path / "seg.cache"),
        inputs={"input_2:0": ShapeRange(min=shape, opt=shape, max=shape)},
        outputs=("argmax_1",),
        builder=BuilderConfig(workspace_bytes=2 << 30, optimization_level=5, tf32=False),
        converter="trtexec",
    )


@pytest.mark.parametrize(
    "source",
    [
        "/models/seg.onnx",
        "file:///models/seg.onnx",
        "https://example.com/seg.onnx?download=1",
        "ngc://nvidia/tao/peoplesemsegnet:deployable_v1.0/seg.etlt",
        "ngc://nvidia/peoplesemsegnet:deployable_v1.0/folder/seg.etlt",
    ],
)
def test_absolute_sources_stay_as_they_are(load_text: Load, source: str) -> None:
    assert model(load_text, f"source: {source}").source == source


def test_a_pinned_http_source_is_accepted(load_text: Load) -> None:
    spec = model(load_text, "source: http://example.com/seg.onnx", f"sha256: {DIGEST}")
    assert (spec.source, spec.sha256) == ("http://example.com/seg.onnx", DIGEST)


@pytest.mark.parametrize(
    ("text", "dims"),
    [("16", (16,)), ("1x3x544x960", (1, 3, 544, 960)), ("'7'", (7,)), ("01x2", (1, 2)), ("[1, 3, 48]", (1, 3, 48))],
)
def test_shapes(load_text: Load, text: str, dims: tuple[int, ...]) -> None:
    assert model(load_text, f"inputs: {{x: {text}}}").inputs == {"x": ShapeRange(min=dims, opt=dims, max=dims)}


def test_a_range_of_shapes(load_text: Load) -> None:
    spec = model(load_text, "inputs:", "  x: {min: 1x3, opt: 4x3, max: 16x3}", "  n: {min: 1, opt: 1, max: 8}")
    assert spec.inputs == {
        "x": ShapeRange(min=(1, 3), opt=(4, 3), max=(16, 3)),
        "n": ShapeRange(min=(1,), opt=(1,), max=(8,)),
    }


@pytest.mark.parametrize("name", ["input_2:0", "tower/conv_1/Relu:0", "x.1", "a b", "é"])
def test_binding_names_may_hold_what_frameworks_put_there(load_text: Load, name: str) -> None:
    spec = model(load_text, f"inputs: {{'{name}': 1x3}}", f"outputs: ['{name}']")
    assert list(spec.inputs) == [name]
    assert spec.outputs == (name,)


def test_unquoted_binding_names_with_a_colon(load_text: Load) -> None:
    assert list(model(load_text, "inputs:", "  input_2:0: 1x3x544x960").inputs) == ["input_2:0"]


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("512MiB", 512 << 20),
        ("2GiB", 2 << 30),
        ("64KiB", 64 << 10),
        ("2 GB", 2 * 10**9),
        ("1.5GiB", 3 << 29),
        ("300MB", 300 * 10**6),
        ("7KB", 7000),
    ],
)
def test_workspace_sizes(load_text: Load, text: str, size: int) -> None:
    assert model(load_text, f"builder: {{workspace: {text}}}").builder.workspace_bytes == size


def test_defaults_hold_for_models_that_say_nothing_else(load_text: Load) -> None:
    defaults = "defaults: {precision: fp16, converter: api, key: {env: K}, builder: {workspace: 1GiB, tf32: true}}\n"
    quiet = model(load_text, defaults=defaults)
    assert (quiet.precision, quiet.converter, quiet.key) == ("fp16", "api", Key(env="K"))
    loud = model(load_text, "precision: fp32", "builder: {workspace: 2GiB}", defaults=defaults)
    assert loud.precision == "fp32"
    assert loud.builder == BuilderConfig(workspace_bytes=2 << 30, tf32=True)


def test_the_key_comes_from_where_the_manifest_says(
    load_text: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEG_KEY", "from-the-environment")
    (tmp_path / "key.txt").write_text("from-a-file\n", encoding="utf-8")
    found = [model(load_text, f"key: {key}").key for key in ("plain", "{env: SEG_KEY}", "{file: key.txt}")]
    assert [key.read() for key in found if key] == ["plain", "from-the-environment", "from-a-file"]


def test_a_key_file_may_be_below_the_home_directory(
    load_text: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert model(load_text, "key: {file: ~/seg.key}").key == Key(file=tmp_path / "home" / "seg.key")


@pytest.mark.parametrize(
    ("key", "told"),
    [
        (Key(env="NO_SUCH_KEY"), "environment variable NO_SUCH_KEY is not set"),
        (Key(file=Path("/no/such.key")), "key file /no/such.key: No such file or directory"),
        (Key(file=Path("/")), "key file /: Is a directory"),
        (Key(file=Path("/dev/null")), "key file /dev/null: not a regular file"),
    ],
)
def test_a_key_that_is_not_there(key: Key, told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_SUCH_KEY", raising=False)
    with pytest.raises(KeyUnavailableError) as caught:
        key.read()
    assert caught.value.message == told
    assert caught.value.hint
    assert caught.value.code == "etlt-key-missing"


def test_a_key_file_below_the_home_of_nobody_is_just_not_there(load_text: Load, tmp_path: Path) -> None:
    key = model(load_text, "key: {file: ~no-such-user/seg.key}").key
    assert key == Key(file=tmp_path / "~no-such-user" / "seg.key")


def test_a_key_file_that_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(b"\xff\xfes3cr3t")
    with pytest.raises(KeyUnavailableError) as caught:
        Key(file=tmp_path / "key").read()
    assert caught.value.message == f"key file {tmp_path}/key is not UTF-8 text"


def test_a_literal_key_is_in_no_repr(load_text: Load) -> None:
    manifest = load_text("version: 1\nmodels:\n- {name: seg, source: a.etlt, key: s3cr3t}\n")
    assert "s3cr3t" not in repr(manifest) + str(manifest) + repr(manifest.models[0].key)


@pytest.mark.parametrize(("text", "flag"), [("true", True), ("True", True), ("FALSE", False), ("'false'", False)])
def test_every_spelling_that_yaml_has_for_a_truth_value(load_text: Load, text: str, flag: bool) -> None:
    assert model(load_text, f"builder: {{tf32: {text}}}").builder.tf32 is flag
