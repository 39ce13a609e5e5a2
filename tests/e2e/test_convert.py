"""``prepare-models convert``: one model without a manifest, and the manifest that repeats it."""

from __future__ import annotations

import shlex
from pathlib import Path

import numpy as np
import pytest
import yaml

from tests import networks
from tests.command import Result, Workplace


def convert(place: Workplace, *arguments: str, **variables: str) -> Result:
    return place.call("convert", *arguments, "--executor", "local", **variables)


def samples(folder: Path, shape: tuple[int, ...]) -> Path:
    folder.mkdir()
    for index in range(8):
        np.save(folder / f"{index}.npy", np.random.default_rng(index).random(shape, dtype=np.float32))
    return folder


def test_one_command_gives_engine_bindings_precision_and_manifest(place: Workplace) -> None:
    networks.conv(place.folder / "My Model.onnx")
    result = convert(place, "My Model.onnx", "--precision", "fp16")
    assert result.status == 0, result.stderr
    assert (place.models_dir / "my-model/1/model.plan").is_file()
    words = [line.split() for line in result.stdout.splitlines()]
    assert ["input", "input", "float32", "1x3x32x32"] in words
    assert ["output", "output", "float32", "1x4x32x32"] in words
    assert ["engine", str(place.models_dir / "my-model/1/model.plan")] in words
    assert any(line[:2] == ["precision", "fp16"] for line in words)
    shown = yaml.safe_load(result.stdout.partition("the same as a manifest:")[2])
    assert shown == {"version": 1, "models": [{"name": "my-model", "source": "My Model.onnx", "precision": "fp16"}]}


def test_the_manifest_that_is_written_repeats_it(place: Workplace) -> None:
    networks.conv(place.folder / "model.onnx", (1, 3, "height", "width"))
    samples(place.folder / "samples", (3, 48, 64))
    asked = ("--precision", "int8", "--images", "samples", "--shape", "input=1x3x48x64", "--name", "net")
    result = convert(place, "model.onnx", *asked, "--json", "--write-manifest", "models.yaml")
    assert result.status in (0, 1), result.stderr
    report = result.report
    assert (report["manifest"], report["models"][0]["name"]) == ("models.yaml", "net")
    assert report == yaml.safe_load((place.models_dir / "report.json").read_text(encoding="utf-8"))
    assert place.manifest.read_text(encoding="utf-8").startswith("# models.yaml")
    (model,) = yaml.safe_load(place.manifest.read_text(encoding="utf-8"))["models"]
    assert model == {
        "name": "net", "source": "model.onnx", "precision": "int8", "inputs": {"input": "1x3x48x64"},
        "calibration": {"images": "samples"},
    }  # fmt: skip
    again = place.call("run", "--executor", "local", "--json")
    assert again.status == result.status
    expected = {"built": "up-to-date"}.get(report["models"][0]["status"], "failed")
    assert again.model("net")["status"] == expected
    assert again.model("net")["build_key"] == report["models"][0]["build_key"]


def test_samples_verify_what_needs_no_calibration(place: Workplace) -> None:
    networks.conv(place.folder / "model.onnx")
    samples(place.folder / "samples", (3, 32, 32))
    result = convert(place, "model.onnx", "--precision", "fp16", "--images", "samples", "--json")
    assert result.status == 0, result.stderr
    assert result.model("model")["verification"]["verdict"] == "passed"


def test_it_shares_cache_and_statuses_with_run(place: Workplace) -> None:
    networks.conv(place.folder / "model.onnx")
    assert convert(place, "model.onnx", "--json").model("model")["status"] == "built"
    assert convert(place, "model.onnx", "--json").model("model")["status"] == "up-to-date"
    assert convert(place, "model.onnx", "-o", "elsewhere", "--json").model("model")["status"] == "restored"
    missing = convert(place, "missing.onnx", "--json")
    assert missing.status == 1
    error = missing.model("missing")["error"]
    assert (error["code"], error["message"]) == ("source-not-found", f"{place.folder / 'missing.onnx'} does not exist")
    assert "on a command line at the current one" in error["hint"]


def test_a_range_of_shapes(place: Workplace) -> None:
    networks.conv(place.folder / "model.onnx", ("batch", 3, 32, 32))
    result = convert(place, "model.onnx", "--shape", "input=1x3x32x32:2x3x32x32:4x3x32x32", "--json")
    (profile,) = next(b for b in result.model("model")["io"] if b["mode"] == "input")["profiles"]
    assert (profile["min"], profile["opt"], profile["max"]) == ([1, 3, 32, 32], [2, 3, 32, 32], [4, 3, 32, 32])


@pytest.mark.parametrize(
    ("shape", "sizes"), [(("batch", 3, 32, 32), {}), ((1, 3, "height", "width"), {"HEIGHT": "48", "WIDTH": "64"})]
)
def test_the_hint_of_a_dynamic_model_followed_to_the_letter_works(
    place: Workplace, shape: tuple[str | int, ...], sizes: dict[str, str]
) -> None:
    networks.conv(place.folder / "model.onnx", shape)
    failed = convert(place, "model.onnx", "--json").model("model")["error"]
    assert failed["code"] == "inputs-missing"
    flag, value = shlex.split(failed["hint"].partition("or to convert  ")[2])[:2]
    for placeholder, size in sizes.items():
        value = value.replace(placeholder, size)
    assert convert(place, "model.onnx", flag, value).status == 0


def test_a_model_with_a_key_of_a_variable(place: Workplace) -> None:
    (place.folder / "model.etlt").write_bytes(b"\x00\x00\x00\x00" + bytes(64))
    result = convert(place, "model.etlt", "--key-env", "MY_KEY", "--write-manifest", "models.yaml", "--json")
    assert result.status == 1
    assert result.model("model")["error"]["code"] == "etlt-key-missing"
    assert "MY_KEY" in result.model("model")["error"]["message"]
    assert yaml.safe_load(place.manifest.read_text(encoding="utf-8"))["models"][0]["key"] == {"env": "MY_KEY"}


def test_names_and_paths_that_yaml_would_read_otherwise(place: Workplace) -> None:
    folder = place.folder / "a: b, {c} # ${HOME}"
    folder.mkdir()
    networks.named(folder / "null.onnx", ["in: {put} #1"], ["out"])
    result = convert(place, str(folder / "null.onnx"), "--write-manifest", "models.yaml", "--json")
    assert result.status == 0, result.stderr
    assert place.call("run", "--executor", "local", "--json").model("null")["status"] == "up-to-date"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("model.onnx", "--precision", "FP16"), "found 'FP16'; did you mean fp16?"),
        (("model.onnx", "--precision", "half"), "found 'half'; did you mean fp16?"),
        (("model.onnx", "--shape", "1x3x32x32"), "expected NAME=1x3x640x640 or NAME=MIN:OPT:MAX, found '1x3x32x32'"),
        (("model.onnx", "--shape", "x=1x3x-1"), "--shape: expected a shape such as"),
        (("model.onnx", "--name", "My Net"), "--name: expected at most 128"),
        (("catalog:peoplesemsegnt",), "peoplesemsegnet"),
        (("http://example.com/model.onnx",), "#sha256=DIGEST"),
        (("model.pt",), "export it to ONNX first"),
        (("ngc://nvidia/tao/peoplesemsegnet",), "prepare-models ngc versions nvidia/tao/peoplesemsegnet"),
        (("model.onnx", "--images", "nowhere"), "nowhere is not a directory"),
        (("model.onnx", "--memory", "2G"), "did you mean 2GiB?"),
    ],
)
def test_a_command_line_that_can_not_be_followed(place: Workplace, arguments: tuple[str, ...], said: str) -> None:
    result = convert(place, *arguments)
    assert (result.status, result.stdout) == (2, "")
    assert said in result.stderr
    assert "models[0]" not in result.stderr
    assert not place.models_dir.exists()


def test_a_manifest_that_says_something_else_stays(place: Workplace) -> None:
    place.manifest.write_text("mine", encoding="utf-8")
    networks.conv(place.folder / "model.onnx")
    result = convert(place, "model.onnx", "--write-manifest", "models.yaml")
    assert result.status == 2
    assert "exists with other content" in result.stderr
    assert place.manifest.read_text(encoding="utf-8") == "mine"


def test_run_alone_takes_models_yaml(place: Workplace) -> None:
    bare = place.call("run", "--executor", "local")
    assert bare.status == 2
    assert "there is no models.yaml here" in bare.stderr
    assert "prepare-models convert MODEL" in bare.stderr
    networks.conv(place.folder / "model.onnx")
    place.write({"name": "model", "source": "model.onnx"})
    assert place.call("run", "--executor", "local", "--json").model("model")["status"] == "built"


def test_run_of_a_model_says_what_converts_it(place: Workplace) -> None:
    networks.conv(place.folder / "model.onnx")
    refused = place.call("run", "model.onnx")
    assert refused.status == 2
    assert "model.onnx is a model, not a manifest" in refused.stderr
    command = refused.stderr.partition("convert it: ")[2].partition(";")[0]
    assert place.call(*shlex.split(command)[1:], "--executor", "local").status == 0
    remote = place.call("run", "https://example.com/model.onnx")
    assert remote.status == 2
    assert "convert it: prepare-models convert https://example.com/model.onnx" in remote.stderr


def test_a_file_in_the_place_of_the_models_directory_is_told_before_the_build(place: Workplace) -> None:
    networks.conv(place.folder / "model.onnx")
    place.write({"name": "model", "source": "model.onnx"})
    place.models_dir.write_text("mine", encoding="utf-8")
    for command in (["convert", "model.onnx", "--executor", "local"], ["run", "--executor", "local"], ["plan"]):
        refused = place.call(*command)
        assert refused.status == 3, command
        assert "models can't be used as models directory: models is a file" in refused.stderr
        assert "choose another with --models-dir DIR" in refused.stderr


def test_samples_that_are_not_there_are_told_as_that(place: Workplace) -> None:
    networks.conv(place.folder / "model.onnx")
    error = place.build(source="model.onnx", precision="int8", calibration={"images": "nowhere"})["error"]
    assert error["code"] == "calibration-samples-unusable"
    assert error["message"].endswith("nowhere is not a directory")


def test_lint_after_a_failed_run_leads_to_the_reason(place: Workplace) -> None:
    assert "the same as a manifest" not in convert(place, "missing.onnx").stdout, "it would repeat the failure"
    refused = place.call("lint", "models")
    assert refused.status == 1
    assert "models holds no models: its last run built none" in refused.stderr
    command = shlex.split(refused.stderr.partition("why none was built: ")[2])
    rendered = place.call(*command[1:])
    assert rendered.status == 0
    assert "source-not-found" in rendered.stdout


def test_int8_without_images_names_the_option_that_gives_them(place: Workplace) -> None:
    networks.conv(place.folder / "model.onnx")
    done = place.call("convert", "model.onnx", "--precision", "int8", "--executor", "local")
    assert done.status == 1
    assert "[calibration-missing]" in done.stdout
    assert "--images DIR" in done.stdout
