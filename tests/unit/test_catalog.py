"""The catalog: every entry in a manifest and planned; the publishers' own commands come out of manifests."""

from __future__ import annotations

import json
import re
import shlex
from collections import Counter
from itertools import zip_longest
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from prepare_models import catalog
from prepare_models.__main__ import main
from prepare_models.catalog import Entry
from prepare_models.manifest.draft import manifest, of_entry
from prepare_models.manifest.load import load
from prepare_models.manifest.model import ModelSpec
from prepare_models.manifest.schema import manifest_schema
from prepare_models.planning import planner
from prepare_models.store.local import open_store
from prepare_models.support.file_digests import Digests
from prepare_models_entrypoint.contract.builder import BuilderConfig
from prepare_models_entrypoint.contract.environment import BackendInfo, GpuInfo, RuntimeInfo
from prepare_models_entrypoint.contract.identity import converter_of
from prepare_models_entrypoint.contract.report import ProfileShapes
from prepare_models_entrypoint.contract.source import Source, ngc_file
from prepare_models_entrypoint.converters import by_tao_converter, trtexec
from prepare_models_entrypoint.converters.precision import check_flags

ROOT = Path(__file__).parents[2]
ENTRIES = list(catalog.entries().values())
VALIDATOR = jsonschema.Draft202012Validator(manifest_schema())
DOCUMENTED: dict[str, list[str]] = json.loads((ROOT / "tests/data/commands.json").read_text(encoding="utf-8"))
COMMANDS = [(model, command) for model, commands in DOCUMENTED.items() for command in commands]


def gpu(name: str, capability: str) -> GpuInfo:
    return GpuInfo(name=name, compute_capability=capability, driver="580", cuda_version="13.0")


MACHINES = {
    "x86_64": RuntimeInfo(
        python="3.12.3", machine="x86_64", backend=BackendInfo(name="tensorrt", version="10.13.3"),
        gpu=gpu("NVIDIA RTX 4090", "8.9"), gpu_reason=None,
    ),
    "aarch64": RuntimeInfo(
        python="3.10.12", machine="aarch64", backend=BackendInfo(name="tensorrt", version="10.3.0"),
        gpu=gpu("Orin", "8.7"), gpu_reason=None,
    ),
}  # fmt: skip


def loaded(tmp_path: Path, models: list[dict[str, Any]]) -> tuple[ModelSpec, ...]:
    file = tmp_path / "models.yaml"
    file.write_text(yaml.safe_dump({"version": 1, "models": models}), encoding="utf-8")
    return load(file).models


def assert_plans_cleanly(specs: tuple[ModelSpec, ...], folder: Path) -> None:
    for runtime in MACHINES.values():
        for spec in specs:
            planned = planner.Planner(folder / "models", runtime, open_store(), Digests()).plan(spec)
            assert (planned.action, planned.reason) == ("build", "no engine yet")
            assert converter_of(spec.job(Path()), runtime).converter == "api"


def test_the_catalog_has_every_published_model() -> None:
    assert len(ENTRIES) == 79
    assert len(catalog.unusable()) == 13


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_an_entry_fits_schema_url_form_and_plan(entry: Entry, tmp_path: Path) -> None:
    document = {"version": 1, "models": [{"name": entry.name, **entry.manifest}]}
    VALIDATOR.validate(document)
    sources = [str(entry.manifest[key]) for key in ("source", "calibration_cache") if key in entry.manifest]
    for source in sources:
        assert Source.of(source).problem is None
        assert ngc_file(Source.of(source).outer.text), source
    specs = loaded(tmp_path, [{"name": entry.name, "source": f"catalog:{entry.name}"}])
    assert_plans_cleanly(specs, tmp_path)
    by_hand = {"name": entry.name, **entry.manifest}
    if entry.manifest["precision"] != "int8":
        by_hand.pop("calibration_cache", None)
    (written_out,) = loaded(tmp_path, [by_hand])
    assert {**vars(specs[0]), "line": 0} == {**vars(written_out), "line": 0}


def assert_init_plans(names: list[str], folder: Path) -> None:
    file = folder / "models.yaml"
    assert main(["init", *names, "--output", str(file), "--force"]) == 0
    specs = load(file).models
    assert [spec.name for spec in specs] == list(dict.fromkeys(names))
    assert_plans_cleanly(specs, folder)


def test_init_of_every_entry_plans_cleanly(tmp_path: Path) -> None:
    names = [entry.name for entry in ENTRIES]
    for three in zip_longest(*[iter(names)] * 3, fillvalue=names[0]):
        assert_init_plans(list(three), tmp_path)


@given(st.lists(st.sampled_from([entry.name for entry in ENTRIES]), min_size=3, max_size=3, unique=True))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_init_of_any_three_entries_plans_cleanly(tmp_path: Path, names: list[str]) -> None:
    assert_init_plans(names, tmp_path)


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_the_comments_of_init_say_what_the_catalog_says(entry: Entry) -> None:
    lines = manifest([of_entry(entry)]).partition("models:\n")[2].splitlines()
    uncommented = [line.replace("    # ", "    ", 1) if line.startswith("    # ") else line for line in lines]
    (model,) = yaml.safe_load("\n".join(uncommented))
    assert model.pop("name") == entry.name
    assert model.pop("source") == f"catalog:{entry.name}"
    assert model == {key: value for key, value in entry.manifest.items() if key != "source"}


def test_a_model_says_otherwise_than_the_catalog(tmp_path: Path) -> None:
    model = {"name": "a", "source": "catalog:peoplesemsegnet-shuffleseg-etlt"}
    own: dict[str, Any] = {"precision": "fp32", "key": "mine", "outputs": ["x"], "sha256": "0" * 64}
    as_is, changed = loaded(tmp_path, [model, {**model, **own, "name": "b", "profiles": [{"i": 1}, {"i": 2}]}])
    assert (as_is.precision, as_is.outputs, bool(as_is.calibration_cache)) == ("int8", ("argmax_1",), True)
    assert (changed.precision, changed.outputs, changed.sha256) == ("fp32", ("x",), "0" * 64)
    assert changed.source == as_is.source
    assert (changed.calibration_cache, dict(changed.inputs), len(changed.profiles)) == (None, {}, 2)


def test_the_catalog_comes_before_the_defaults(tmp_path: Path) -> None:
    file = tmp_path / "models.yaml"
    file.write_text(
        "version: 1\ndefaults: {precision: fp32, converter: trtexec}\n"
        "models: [{name: a, source: 'catalog:peoplesemsegnet-shuffleseg-onnx'}]\n"
    )
    (spec,) = load(file).models
    assert (spec.precision, spec.converter) == ("fp16", "trtexec")


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("peoplesemsegnet-shuffleseg", "did you mean peoplesemsegnet-shuffleseg-"),
        ("segment_anything-vit_b", "export them to ONNX first"),
        ("yolov4-ds", "https://nvidia.box.com/"),
        ("", "prepare-models catalog list"),
    ],
)
def test_what_the_catalog_does_not_have_is_told_with_its_line(
    tmp_path: Path, name: str, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "models.yaml"
    file.write_text(f"version: 1\nmodels:\n- name: a\n  source: 'catalog:{name}'\n")
    assert main(["plan", str(file)]) == 2
    message = capsys.readouterr().err
    assert f"{file}:4: models[0].source: " in message
    assert told in message


def test_what_the_command_prints(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["catalog", "list", "--json"]) == 0
    assert [row["name"] for row in json.loads(capsys.readouterr().out)] == [entry.name for entry in ENTRIES]
    assert main(["catalog", "search", "PeopleSem", "onnx"]) == 0
    names = [line.split()[0] for line in capsys.readouterr().out.splitlines()[1:]]
    assert "peoplesemsegnet-shuffleseg-onnx" in names
    assert main(["catalog", "search", "no-such-word"]) == 1
    capsys.readouterr()
    assert main(["catalog", "show", "bi3d-featnet-2.0.0"]) == 0
    shown = capsys.readouterr().out
    assert "ngc://nvidia/isaac/bi3d_proximity_segmentation:2.0.0/featnet.onnx" in shown
    assert "isaac_ros_bi3d" in shown


def test_init_replaces_nothing_unasked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "models.yaml"
    file.write_text("mine")
    assert main(["init", "-o", str(file)]) == 2
    assert file.read_text() == "mine"
    assert "--force" in capsys.readouterr().err


def shapes_of(pairs: str) -> dict[str, str]:
    return {name.strip("\"'"): dims for name, _, dims in (pair.rpartition(":") for pair in pairs.split(","))}


def from_trtexec(words: list[str]) -> dict[str, Any]:
    """Return the manifest entry that says what a trtexec command line says."""
    options = {word[2:].partition("=")[0]: word.partition("=")[2] for word in words[1:]}
    model: dict[str, Any] = {"name": "model", "source": options["onnx"], "builder": {"int8_remainder": "fp32"}}
    model["precision"] = "int8" if "int8" in options else "fp16" if "fp16" in options else "fp32"
    if "minShapes" in options:
        low, mid, high = (shapes_of(options[f"{side}Shapes"]) for side in ("min", "opt", "max"))
        model["inputs"] = {name: {"min": low[name], "opt": mid[name], "max": high[name]} for name in low}
    if "calib" in options:
        model["calibration_cache"] = options["calib"]
    if "useDLACore" in options:
        model["builder"] |= {"dla_core": int(options["useDLACore"]), "dla_gpu_fallback": "allowGPUFallback" in options}
    if "sparsity" in options:
        model["builder"] |= {"sparsity": True}
    if "noTF32" in options:
        model["builder"] |= {"tf32": False}
    if "staticPlugins" in options:
        model["plugins"] = [{"file": f"/{options['staticPlugins']}", "sha256": "0" * 64}]
    return model


def trtexec_vector(spec: ModelSpec, words: list[str]) -> list[str]:
    profiles = [{n: ProfileShapes(min=list(s.min), opt=list(s.opt), max=list(s.max)) for n, s in spec.inputs.items()}]
    plan_file = next((word for word in words if word.startswith("--saveEngine")), "=model.plan").partition("=")[2]
    calibration = [word.partition("=")[2] for word in words if word.startswith("--calib=")]
    of_precision = check_flags(spec.precision, trtexec.builder_flags((10, 3, 0)) or (), spec.builder.int8_remainder)
    flags = trtexec.precision_flags(of_precision, calibration[0] if calibration else None)
    onnx = next(word for word in words if word.startswith("--onnx")).partition("=")[2]
    return trtexec.command(
        onnx, plan_file, profiles=profiles, builder=spec.builder, precision_flags=flags, program=words[0],
        explicit_shapes=bool(spec.inputs), plugins=[plugin.file.lstrip("/") for plugin in spec.plugins],
    )  # fmt: skip


def from_tao(words: list[str]) -> dict[str, Any]:
    """Return the manifest entry that says what a tao-converter command line says."""
    source, options = "", {"-p": ""}
    rest = words[1:]
    while rest:
        word = rest.pop(0)
        if not word.startswith("-"):
            source = word
        elif word == "-p":
            options["-p"] += f" {rest.pop(0)}"
        else:
            options[word] = rest.pop(0)
    model: dict[str, Any] = {"name": "model", "source": source, "key": options["-k"], "converter": "tao-converter"}
    model["precision"] = options.get("-t", "fp32")
    profiles = [profile.split(",") for profile in options["-p"].split()]
    if profiles:
        model["inputs"] = {name: {"min": low, "opt": mid, "max": high} for name, low, mid, high in profiles}
    if "-o" in options:
        model["outputs"] = options["-o"].split(",")
    if "-c" in options:
        model["calibration_cache"] = options["-c"]
    keys = {"-d": "dims", "-b": "batch", "-m": "max_batch"}
    model["tao"] = {keys[option]: value for option, value in options.items() if option in keys}
    return model


def tao_vector(spec: ModelSpec, words: list[str]) -> list[str]:
    engine = words[words.index("-e") + 1]
    source = next(word for word in words[1:] if word.endswith(".etlt"))
    cache = words[words.index("-c") + 1] if "-c" in words else None
    job = spec.job(Path("out"))
    key = words[words.index("-k") + 1]
    return by_tao_converter.command(job, program=words[0], key=key, etlt=source, engine=engine, cache=cache)


def options(words: list[str]) -> Counter[str]:
    """Return the arguments without their order; quotes around names, -t fp32 and a mere engine name say nothing."""
    unsaid = ("--skipInference", "--saveEngine=model.plan")
    joined = [word.replace('"', "").replace("'", "") for word in words if word not in unsaid]
    pairs = [f"{word} {joined[i + 1]}" for i, word in enumerate(joined) if re.fullmatch("-[a-z]", word)]
    long = [word for word in joined if word.startswith("--")]
    return Counter(pair for pair in (*pairs, *long, joined[0]) if pair != "-t fp32")


def test_there_are_enough_commands_to_compare() -> None:
    assert len(COMMANDS) > 95


@pytest.mark.parametrize(("model", "command"), COMMANDS, ids=[f"{model}-{i}" for i, (model, _) in enumerate(COMMANDS)])
@pytest.mark.parametrize("machine", MACHINES)
def test_a_documented_command_comes_out_of_its_manifest(tmp_path: Path, model: str, command: str, machine: str) -> None:
    command = command.replace("$(uname -m)", machine)
    words = [word.replace('"', "") for word in shlex.split(command, posix=False)]
    if "trtexec" in words[0]:
        (spec,) = loaded(tmp_path, [from_trtexec(words)])
        found = trtexec_vector(spec, words)
    else:
        (spec,) = loaded(tmp_path, [from_tao(words)])
        found = tao_vector(spec, words)
    assert options(found) == options(words)


def test_the_settings_of_the_manifest_reach_the_job(tmp_path: Path) -> None:
    builder = {"workspace": "1GiB", "dla_core": 1, "io_formats": {"x": "fp16:chw"}, "compute_capabilities": ["8.6"]}
    (spec,) = loaded(tmp_path, [{"name": "model", "source": "m.onnx", "builder": builder}])
    assert spec.job(Path("out")).builder == BuilderConfig(
        workspace_bytes=1 << 30, dla_core=1, io_formats={"x": "fp16:chw"}, compute_capabilities=("8.6",)
    )
