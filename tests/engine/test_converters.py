"""trtexec and tao-converter, driven: strict doubles of the programs around a real codec and real engines."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest

from prepare_models_entrypoint.contract.converters import TAO_LINK, TAO_PATHS, TRTEXEC_PATHS, find
from prepare_models_entrypoint.onnx_graph import calibration_cache
from tests import networks
from tests.command import Workplace
from tests.defects import KEY, encrypt
from tests.doubles import programs
from tests.engine.caches import measured
from tests.engine.quickstart import MODEL


def trtexec(place: Workplace) -> str:
    return str(programs.install("trtexec", place.folder / "bin" / "trtexec"))


def run(place: Workplace, model: dict[str, Any], **variables: str) -> dict[str, Any]:
    place.write({"name": "model", **model})
    result = place.run("-v", **variables)
    assert KEY not in result.stdout + result.stderr, "no output holds the key"
    return result.model("model")


def by_trtexec(place: Workplace, model: dict[str, Any], version: str = "8.6.1", **variables: str) -> dict[str, Any]:
    return run(
        place, {"converter": "trtexec", **model},
        PREPARE_MODELS_TRTEXEC=trtexec(place), TRT_DOUBLE_TRT_VERSION=version,
        TRT_DOUBLE_ARGV=str(place.folder / "argv.json"), **variables,
    )  # fmt: skip


def argv(place: Workplace) -> list[str]:
    arguments: list[str] = json.loads((place.folder / "argv.json").read_text(encoding="utf-8"))
    return arguments


def test_trtexec_gets_what_the_documentation_shows_and_what_this_tool_adds(place: Workplace) -> None:
    source = networks.conv(place.folder / "model.onnx")
    report = by_trtexec(place, {"source": "model.onnx", "builder": {"timing_cache": False}})
    assert report["status"] == "built", report["error"]
    onnx, plan, *added = argv(place)
    assert onnx == f"--onnx={source}"
    assert plan.startswith(f"--saveEngine={place.models_dir}/model/1/.model.plan.")
    assert added == ["--skipInference"]
    assert report["converter"] == "trtexec"
    assert report["converter_reason"] == "the manifest says so"
    assert f"--saveEngine={place.models_dir}/model/1/model.plan" in report["trtexec_command"]
    assert (place.models_dir / "model/1/model.plan").read_bytes()[:4] == b"vtrt"


@pytest.mark.parametrize(
    ("version", "flags", "last"),
    [
        ("8.5.2", ["--int8", "--fp16"], "--buildOnly"),
        ("8.6.1", ["--int8", "--fp16"], "--skipInference"),
        ("10.3.0", ["--int8", "--fp16"], "--skipInference"),
        ("11.1.0", [], "--skipInference"),
    ],
)
def test_int8_means_the_same_on_every_generation(place: Workplace, version: str, flags: list[str], last: str) -> None:
    measured(networks.conv(place.folder / "model.onnx"), place.folder / "cal.bin")
    model = {"source": "model.onnx", "precision": "int8", "calibration_cache": "cal.bin"}
    report = by_trtexec(place, model, version)
    assert report["status"] == "built", report["error"]
    given = argv(place)
    assert [argument for argument in given if argument in ("--int8", "--fp16")] == flags
    assert (f"--calib={place.folder}/cal.bin" in given) == bool(flags)
    assert given[-1] == last
    assert report["precision_proof"]["delivered"] == "int8"
    assert report["precision_proof"]["source"] == ("engine" if flags else "graph")


def test_trtexec_works_on_timings_of_its_own_that_are_kept_by_version_and_device(place: Workplace) -> None:
    for name in ("one", "two"):
        networks.conv(place.folder / f"{name}.onnx", channels=len(name) + ord(name[0]))
        report = by_trtexec(place, {"source": f"{name}.onnx"}, "10.3.0")
        assert report["status"] == "built", report["error"]
        assert not any(str(place.cache_dir / "timing") in argument for argument in argv(place))
        assert "--timingCacheFile=timing.cache" in report["trtexec_command"]
    (kept,) = (place.cache_dir / "timing").glob("*.cache")
    assert kept.name.startswith("trtexec-10.3.0-")
    assert kept.read_text(encoding="ascii").split() == ["one.onnx", "two.onnx"]


def test_an_engine_without_the_precision_that_was_asked_fails(place: Workplace) -> None:
    measured(networks.conv(place.folder / "model.onnx"), place.folder / "cal.bin")
    model = {"source": "model.onnx", "precision": "int8", "calibration_cache": "cal.bin"}
    report = by_trtexec(place, model, TRT_DOUBLE_NO_INT8="1")
    assert report["error"]["code"] == "precision-not-delivered"
    assert not (place.models_dir / "model").exists()
    fallback = by_trtexec(place, {**model, "allow_fallback": True}, TRT_DOUBLE_NO_INT8="1")
    assert (fallback["status"], fallback["precision_proof"]["delivered"]) == ("built", "fp16")


@pytest.mark.parametrize(
    ("version", "builder"),
    [("8.5.2", {"optimization_level": 5}), ("8.6.1", {"strip_weights": True}), ("11.1.0", {"strict_types": True})],
)
def test_an_option_that_the_version_lacks_is_refused_before_it_runs(
    place: Workplace, version: str, builder: dict[str, Any]
) -> None:
    networks.conv(place.folder / "model.onnx")
    report = by_trtexec(place, {"source": "model.onnx", "builder": builder}, version)
    assert report["error"]["code"] == "builder-option-unavailable"
    assert version in report["error"]["message"]
    assert not (place.folder / "argv.json").exists()


def test_memory_that_runs_out_leads_down_a_ladder_that_is_recorded(place: Workplace) -> None:
    networks.conv(place.folder / "model.onnx")
    report = by_trtexec(place, {"source": "model.onnx"}, TRT_DOUBLE_MEMORY_MIB="512")
    assert report["status"] == "built", report["error"]
    assert [attempt["changed"]["workspace_bytes"] >> 20 for attempt in report["attempts"]] == [1024, 512]
    assert {attempt["code"] for attempt in report["attempts"]} == {"out-of-memory"}


def test_memory_that_never_suffices_is_told_with_every_rung(place: Workplace) -> None:
    networks.conv(place.folder / "model.onnx")
    report = by_trtexec(place, {"source": "model.onnx"}, TRT_DOUBLE_MEMORY_MIB="1")
    assert report["error"]["code"] == "out-of-memory"
    assert len(report["attempts"]) == 4


def test_a_program_that_tells_no_progress_gets_elapsed_time_and_an_estimate(place: Workplace) -> None:
    networks.conv(place.folder / "model.onnx")
    place.write({"name": "model", "source": "model.onnx", "converter": "trtexec"})
    variables = {"PREPARE_MODELS_TRTEXEC": trtexec(place), "TRT_DOUBLE_SECONDS": "1.5"}
    told = []
    for _ in range(2):
        result = place.run("-v", "--log-format", "json", "--force", **variables)
        assert result.model("model")["status"] == "built", result.stderr
        lines = [json.loads(line) for line in result.stderr.splitlines() if line.startswith("{")]
        told.append([(line["done"], line["total"]) for line in lines if line.get("phase") == "elapsed"])
    assert told[0][0] == (1, 0), "the first build has nothing to compare with"
    assert told[1][0][0] == 1
    assert told[1][0][1] >= 2


def encrypted(place: Workplace) -> Path:
    return encrypt(networks.conv(place.folder / "plain.onnx", ("batch", 3, 32, 32)), place.folder / "model.etlt")


TAO = {
    "source": "model.etlt",
    "converter": "tao-converter",
    "inputs": {"input": {"min": "1x3x32x32", "opt": "2x3x32x32", "max": "4x3x32x32"}},
    "outputs": ["output"],
    "tao": {"dims": "3,32,32", "max_batch": 4, "batch": 8, "input_order": "nchw"},
    "builder": {"workspace": "1GiB", "strict_types": True},
    "key": {"env": "MODEL_KEY"},
}


def by_tao(place: Workplace, model: dict[str, Any], key: str = KEY) -> dict[str, Any]:
    program = programs.install("tao_converter", place.folder / "bin" / "tao-converter")
    return run(
        place, {**TAO, **model},
        PREPARE_MODELS_TAO_CONVERTER=str(program), MODEL_KEY=key, TRT_DOUBLE_ARGV=str(place.folder / "argv.json"),
    )  # fmt: skip


def test_tao_converter_gets_every_option_and_the_key_stays_secret(place: Workplace) -> None:
    etlt = encrypted(place)
    measured(place.folder / "plain.onnx", place.folder / "cal.bin")
    report = by_tao(place, {"precision": "int8", "calibration_cache": "cal.bin"})
    assert report["status"] == "built", report["error"]
    given = argv(place)
    engine = given[given.index("-e") + 1]
    assert given == [
        "-k", KEY, "-d", "3,32,32", "-p", "input,1x3x32x32,2x3x32x32,4x3x32x32", "-t", "int8",
        "-c", str(place.folder / "cal.bin"), "-e", engine, "-o", "output", "-b", "8", "-m", "4", "-i", "nchw",
        "-w", str(1 << 30), "-s", str(etlt),
    ]  # fmt: skip
    assert "-k '***'" in report["trtexec_command"]
    for folder in (place.models_dir, place.cache_dir):
        for file in filter(Path.is_file, folder.rglob("*")):
            assert KEY.encode() not in file.read_bytes(), file
    assert report["precision_proof"]["delivered"] is None
    assert report["precision_proof"]["how"].startswith("tao-converter -t int8; unproven: nothing reports the precision")
    codes = [warning["code"] for warning in report["warnings"]]
    assert "precision-unproven" in codes
    assert "isaac-ros-no-inputs" not in codes, "the outputs are only not known here"


def test_an_engine_of_tao_converter_is_not_said_to_come_from_a_rewritten_graph(place: Workplace) -> None:
    encrypted(place)
    report = by_tao(place, {"precision": "fp16", "verify": {}})
    assert report["status"] == "built", report["error"]
    assert report["verification"]["verdict"] == "not-compared"
    assert "chosen by TensorRT's builder" in report["verification"]["statement"]


SEED = "-k tlt_encode -d 3,544,960 -p input_2:0,1x3x544x960,1x3x544x960,1x3x544x960 -t {} -e {} -o argmax_1 {}"
SEED_ETLT = "peoplesemsegnet_shuffleseg_etlt.etlt"
SEED_CACHE = "peoplesemsegnet_shuffleseg_cache.txt"


@pytest.mark.parametrize("installed", [*TAO_PATHS.values(), TAO_LINK])
@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_the_documented_commands_arrive_at_the_program_argument_by_argument(
    place: Workplace, precision: str, installed: str
) -> None:
    encrypt(MODEL, place.folder / SEED_ETLT, key="tlt_encode")
    (place.folder / SEED_CACHE).write_bytes(calibration_cache.write({"input_2:0": 0.01}))
    program = programs.install("tao_converter", place.folder / installed.lstrip("/"))
    model = {
        "source": SEED_ETLT, "key": "tlt_encode", "converter": "tao-converter", "precision": precision,
        "inputs": {"input_2:0": "1x3x544x960"}, "outputs": ["argmax_1"], "tao": {"dims": "3,544,960"},
        **({"calibration_cache": SEED_CACHE} if precision == "int8" else {}),
    }  # fmt: skip
    report = run(
        place, model, PREPARE_MODELS_TAO_CONVERTER=str(program), TRT_DOUBLE_ARGV=str(place.folder / "argv.json")
    )  # fmt: skip
    assert report["status"] == "built", report["error"]
    given = argv(place)
    engine = given[given.index("-e") + 1]
    scales = f"int8 -c {place.folder / SEED_CACHE}"
    expected = SEED.format(scales if precision == "int8" else "fp16", engine, place.folder / SEED_ETLT)
    assert given == expected.split()
    assert report["trtexec_command"].split()[0] == str(program)


def test_a_wrong_key_is_understood_from_tao_converters_words_without_repeating_it(place: Workplace) -> None:
    encrypted(place)
    wrong = "canary_wrong_key"
    report = by_tao(place, {}, key=wrong)
    assert report["error"]["code"] == "etlt-key-wrong"
    assert wrong not in json.dumps(report)
    assert wrong not in Path(report["log"]).read_text(encoding="utf-8")


def test_tao_converter_is_chosen_where_only_it_can_read_the_model(place: Workplace) -> None:
    name = b"input_1"
    (place.folder / "model.etlt").write_bytes(struct.pack("<i", len(name)) + name + bytes(64))
    report = by_tao(place, {"converter": "auto"})
    assert argv(place)[:2] == ["-k", KEY], "it was asked"
    assert report["error"]["code"] == "converter-failed"
    assert "UFF" in report["error"]["message"]


@pytest.mark.parametrize(
    "model",
    [{"builder": {"optimization_level": 3}}, {"keep_fp32": ["*"]}, {"precision": "bf16"}, {"precision": "int8"}],
    ids=["builder", "keep_fp32", "bf16", "int8 without a cache"],
)
def test_what_tao_converter_can_not_do_is_refused(place: Workplace, model: dict[str, Any]) -> None:
    encrypted(place)
    code = by_tao(place, model)["error"]["code"]
    assert code in ("builder-option-unavailable", "precision-unavailable", "calibration-missing")
    assert not (place.folder / "argv.json").exists()


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_programs_are_found_where_each_platform_has_them(
    tmp_path: Path, machine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    assert find(root=tmp_path, machine=machine).programs.get("tao-converter") is None
    own = programs.install("tao_converter", tmp_path / TAO_PATHS[machine].lstrip("/"))
    assert find(root=tmp_path, machine=machine).programs["tao-converter"] == str(own)
    link = programs.install("tao_converter", tmp_path / TAO_LINK.lstrip("/"))
    assert find(root=tmp_path, machine=machine).programs["tao-converter"] == str(link)
    trtexec = programs.install("trtexec", tmp_path / TRTEXEC_PATHS[0].lstrip("/"))
    assert find(root=tmp_path, machine=machine).programs["trtexec"] == str(trtexec)
