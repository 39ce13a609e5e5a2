"""Every model that Isaac ROS and its peers document: in a manifest, planned, and turned into their commands."""

from __future__ import annotations

import json
import re
import shlex
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from prepare_models import plan
from prepare_models.manifest import ModelSpec, load
from prepare_models_entrypoint.contract import BuilderConfig
from prepare_models_entrypoint.contract.report import BackendInfo, GpuInfo, ProfileShapes, RuntimeInfo
from prepare_models_entrypoint.convert import tao_converter, trtexec

CATALOG: list[dict[str, Any]] = json.loads(
    (Path(__file__).parents[1] / "data" / "catalog.json").read_text(encoding="utf-8")
)
CONVERTIBLE = [model for model in CATALOG if model["file"] and re.fullmatch(r"onnx|etlt|onnx\+plugin", model["format"])]
COMMANDS = [(model["id"], command) for model in CATALOG for command in model["commands"]]


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


def name_of(identifier: str) -> str:
    return re.sub(r"[^a-z0-9._-]", "-", identifier.lower())


def text(shape: Sequence[int]) -> str:
    return "x".join(str(1 if size < 0 else size) for size in shape)


def entry(model: dict[str, Any]) -> dict[str, Any]:
    """Return a manifest entry from a catalog entry's facts."""
    suffix = ".etlt" if model["format"] == "etlt" else ".onnx"
    precision = next((word for word in ("int8", "fp16") if word in "".join(model["precision"])), "fp32")
    inputs = {
        value["name"]: value.get("profile") or text(value["shape"]) for value in model["inputs"] if value.get("shape")
    }
    return {
        "name": name_of(model["id"]),
        "source": f"{Path(model['file']).stem}{suffix}",
        "precision": precision,
        **({"key": str(model["key"]).split(" ")[0]} if model["key"] else {}),
        **({"calibration_cache": "cache.txt"} if precision == "int8" else {}),
        **({"inputs": inputs} if inputs else {}),
        **({"outputs": model["outputs"]} if model["outputs"] else {}),
    }


def loaded(tmp_path: Path, models: list[dict[str, Any]]) -> tuple[ModelSpec, ...]:
    file = tmp_path / "models.yaml"
    file.write_text(yaml.safe_dump({"version": 1, "models": models}), encoding="utf-8")
    return load(file).models


@pytest.mark.parametrize("machine", MACHINES)
def test_every_convertible_model_gives_a_valid_manifest_and_plan(tmp_path: Path, machine: str) -> None:
    specs = loaded(tmp_path, [entry(model) for model in CONVERTIBLE])
    assert len(specs) == len(CONVERTIBLE) > 90
    for spec in specs:
        planned = plan.make(spec, models_dir=tmp_path / "models", runtime=MACHINES[machine], force=False)
        assert (planned.action, planned.reason) == ("build", "no engine yet")
        assert plan.converter(spec, MACHINES[machine]).converter == "api"


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
    return model


def trtexec_vector(spec: ModelSpec, words: list[str]) -> list[str]:
    profiles = [{n: ProfileShapes(min=list(s.min), opt=list(s.opt), max=list(s.max)) for n, s in spec.inputs.items()}]
    plan_file = next(word for word in words if word.startswith("--saveEngine")).partition("=")[2]
    calibration = [word.partition("=")[2] for word in words if word.startswith("--calib=")]
    flags = trtexec.precision_flags(
        spec.precision, (10, 3, 0), cache=calibration[0] if calibration else None,
        remainder=spec.builder.int8_remainder,
    )  # fmt: skip
    onnx = next(word for word in words if word.startswith("--onnx")).partition("=")[2]
    return trtexec.command(
        onnx, plan_file, profiles=profiles, builder=spec.builder, precision_flags=flags, program=words[0],
        explicit_shapes=bool(spec.inputs),
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
    job = plan.model_job(spec, output_dir=Path("out"))
    key = words[words.index("-k") + 1]
    return tao_converter.command(job, program=words[0], key=key, etlt=source, engine=engine, cache=cache)


def options(words: list[str]) -> Counter[str]:
    """Return the arguments without their order; quotes around names and -t fp32 say nothing."""
    joined = [word.replace('"', "").replace("'", "") for word in words if word != "--skipInference"]
    pairs = [f"{word} {joined[i + 1]}" for i, word in enumerate(joined) if re.fullmatch("-[a-z]", word)]
    long = [word for word in joined if word.startswith("--")]
    return Counter(pair for pair in (*pairs, *long, joined[0]) if pair != "-t fp32")


def test_there_are_enough_commands_to_compare() -> None:
    assert len(COMMANDS) > 55


@pytest.mark.parametrize(("model", "command"), COMMANDS, ids=[f"{model}-{i}" for i, (model, _) in enumerate(COMMANDS)])
def test_a_documented_command_comes_out_of_its_manifest(tmp_path: Path, model: str, command: str) -> None:
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
    assert plan.model_job(spec, output_dir=Path("out")).builder == BuilderConfig(
        workspace_bytes=1 << 30, dla_core=1, io_formats={"x": "fp16:chw"}, compute_capabilities=("8.6",)
    )
