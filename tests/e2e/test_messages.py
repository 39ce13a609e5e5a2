"""What people and programs are told: each thing once, in one layout, with a hint that works when it is followed."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import shlex
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from prepare_models.cli.parser import parser
from tests import networks
from tests.command import COMMAND, Result, Workplace

LAYOUT = re.compile(r"(error|warning|note) \[[a-z-]+\] [^:]+: .+")
NO_ENGINE = {"DOCKER_HOST": "unix:///nowhere/docker.sock"}
QUIET_NETWORK = {"NGC_CLI_API_URL": "http://127.0.0.1:9", "NGC_CLI_AUTH_URL": "http://127.0.0.1:9"}


def leaves(command: argparse.ArgumentParser, words: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], list[str]]]:
    """Yield each command that has ``--json``, with arguments that it can be followed with and that lead nowhere."""
    actions = [action for action in command._actions if isinstance(action, argparse._SubParsersAction)]
    for action in actions:
        for name, below in action.choices.items():
            yield from leaves(below, (*words, name))
    if not actions and "--json" in command._option_string_actions:
        wanted: list[str] = []
        for each in command._actions:
            value = next(iter(each.choices)) if each.choices else "nowhere.onnx"
            if each.option_strings and each.required:
                wanted += [each.option_strings[0], str(value)]
            elif not each.option_strings and each.nargs not in ("?", "*"):
                wanted.append(str(value))
        yield words, wanted


LEAVES = sorted(leaves(parser(), ()))


def document(result: Result) -> object:
    found: object = json.loads(result.stdout)
    return found


@pytest.mark.parametrize("words", [words for words, _ in LEAVES], ids=" ".join)
def test_a_command_line_that_can_not_be_followed_is_a_document(words: tuple[str, ...], place: Workplace) -> None:
    result = place.call(*words, "--json", "--nonsense")
    assert result.status == 2
    found = document(result)
    assert isinstance(found, dict)
    assert (found["error"]["code"], found["exit_status"]) == ("usage", 2)
    assert set(found["error"]) == {"code", "stage", "message", "hint", "retryable"}
    assert result.stderr.startswith(f"error [usage] prepare-models {words[0]}")


@pytest.mark.parametrize(("words", "wanted"), [each for each in LEAVES if each[0] != ("selftest",)], ids=str)
def test_what_is_not_there_is_a_document(words: tuple[str, ...], wanted: list[str], place: Workplace) -> None:
    result = place.call(*words, *wanted, "--json", **NO_ENGINE, **QUIET_NETWORK)
    found = document(result)
    if isinstance(found, dict) and "exit_status" in found:
        assert found["exit_status"] == result.status
    assert "Traceback" not in result.stderr


def test_an_interrupted_run_is_a_document(place: Workplace) -> None:
    networks.heavy(place.folder / "heavy.onnx")
    place.write({"name": "heavy", "source": "heavy.onnx"})
    command = place.command("--json", "--log-format", "json")
    run = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=place.environment(), cwd=place.folder
    )
    assert run.stderr is not None
    assert any("fetch done" in line for line in run.stderr)
    time.sleep(0.3)
    run.send_signal(signal.SIGINT)
    out, _ = run.communicate()
    assert run.returncode == 130
    assert json.loads(out)["error"]["code"] == "interrupted"


def test_a_message_stands_once_with_code_model_and_stage(place: Workplace) -> None:
    (place.folder / "broken.onnx").write_bytes(b"\x08\x08 this is no network")
    place.write({"name": "broken", "source": "broken.onnx"}, {"name": "gone", "source": "gone.onnx"})
    result = place.call(*place.command()[1:])
    messages = [line for line in result.stdout.splitlines() if line.startswith("error")]
    assert [line.partition(":")[0] for line in messages] == [
        "error [onnx-invalid] broken, convert",
        "error [source-not-found] gone, fetch",
    ]
    told = messages[1].partition(": ")[2]
    assert (result.stdout + result.stderr).count(told) == 1
    with_json = place.run()
    assert with_json.stderr.count(told) == 1
    assert with_json.model("gone")["error"]["message"] == told


def test_what_all_engines_have_in_common_is_said_once_a_run(place: Workplace) -> None:
    names = [f"net{number}" for number in range(5)]
    for number, name in enumerate(names):
        networks.conv(place.folder / f"{name}.onnx", seed=number)
    place.write(*({"name": name, "source": f"{name}.onnx"} for name in names))
    planned = place.call("plan", "--executor", "local")
    built = place.call(*place.command()[1:])
    for result in (planned, built):
        assert (result.stdout + result.stderr).count("[rtx-engine]") == 1
    assert "warning [rtx-engine] 5 models: a TensorRT-RTX" in built.stdout
    again = place.call(*place.command()[1:])
    assert "[rtx-engine]" not in again.stdout + again.stderr, "nothing was built"


FORESEEN: list[tuple[dict[str, object], str, str]] = [
    ({"source": "gone.onnx"}, "error", "source-not-found"),
    ({"source": "gone.zip!model.onnx"}, "error", "source-not-found"),
    ({"source": "net.onnx", "calibration_cache": "gone.cache", "precision": "int8"}, "error", "source-not-found"),
    ({"source": "net.etlt", "key": {"env": "NO_SUCH_KEY"}}, "error", "etlt-key-missing"),
    ({"source": "net.etlt"}, "error", "etlt-key-missing"),
    ({"source": "net.onnx", "precision": "int8"}, "warning", "calibration-missing"),
    ({"source": "net.onnx", "precision": "int8", "calibration": {"images": "gone"}}, "error",
     "calibration-samples-unusable"),
    ({"source": "net.onnx", "verify": {"images": "gone"}}, "error", "verification-samples-unusable"),
    ({"source": "net.onnx", "eula": "https://example.com/terms"}, "warning", "licence-not-accepted"),
]  # fmt: skip


def test_plan_and_doctor_say_before_the_build_what_run_refuses(place: Workplace) -> None:
    networks.conv(place.folder / "net.onnx")
    (place.folder / "net.etlt").write_bytes(b"x")
    names = [f"m{number}" for number in range(len(FORESEEN))]
    place.write(*({"name": name, **model} for name, (model, _, _) in zip(names, FORESEEN, strict=True)))
    planned = place.call("plan", "--executor", "local", "--json").report["models"]
    told = [[(each["kind"], each["code"]) for each in model["problems"]] for model in planned]
    assert told == [[(kind, code)] for _, kind, code in FORESEEN]
    shown = place.call("plan", "--executor", "local").stdout.splitlines()
    assert all(LAYOUT.fullmatch(line) for line in shown if line.startswith(("error", "warning")))
    findings = document(place.call("doctor", "--json", **NO_ENGINE))
    assert isinstance(findings, dict)
    found = {each["name"]: each for each in findings["findings"] if each["name"] in names}
    assert [found[name]["status"] for name in names] == [
        {"error": "fail", "warning": "warn"}[kind] for _, kind, _ in FORESEEN
    ]
    errors = {model["name"]: model["error"] for model in place.run().report["models"]}
    for name, (_, _, code) in zip(names, FORESEEN, strict=True):
        assert errors[name]["code"] in (code, "etlt-invalid"), "a byte is not an .etlt, which comes before its key"


def test_a_key_that_plan_misses_is_exported_as_its_hint_says(place: Workplace) -> None:
    (place.folder / "net.etlt").write_bytes(b"x")
    place.write({"name": "net", "source": "net.etlt", "key": {"env": "MY_KEY"}})
    plan = ("plan", "--executor", "local")
    assert "-> export MY_KEY=KEY, then run again" in place.call(*plan).stdout
    assert "etlt-key-missing" not in place.call(*plan, MY_KEY="KEY").stdout


def test_a_shape_without_the_name_of_its_input_says_how_to_write_it(place: Workplace) -> None:
    networks.conv(place.folder / "net.onnx", ("batch", 3, 32, 32))
    place.write({"name": "net", "source": "net.onnx", "inputs": [1, 3, 32, 32]})
    refused = place.call("plan", "--executor", "local")
    assert refused.status == 2
    assert "expected input names with their shapes, such as {NAME: 1x3x48x192}, found a list" in refused.stderr
    place.write({"name": "net", "source": "net.onnx", "inputs": {"input": [1, 3, 32, 32]}})
    assert place.run().model("net")["status"] == "built"


def test_lock_and_bundle_without_an_engine_lead_to_what_works_without_one(place: Workplace) -> None:
    networks.conv(place.folder / "net.onnx")
    place.write({"name": "net", "source": "net.onnx"})
    bundle = ("bundle", "create", "models.yaml", "-o", "site.bundle", "--no-wheels")
    for command in (("lock", "models.yaml"), bundle):
        refused = place.call(*command, "--platform", "rtx", **NO_ENGINE)
        assert refused.status == 3
        assert "lock and bundle --platform local" in refused.stderr
        followed = place.call(*command, "--platform", "local", **NO_ENGINE)
        assert followed.status == 0, followed.stderr


def test_verify_does_not_call_good_what_it_did_not_compare(place: Workplace) -> None:
    networks.conv(place.folder / "net.onnx")
    place.write({"name": "net", "source": "net.onnx"})
    assert place.run().status == 0
    result = place.call("verify", str(place.models_dir))
    assert result.status == 1
    assert re.search(r"^net +not-compared", result.stdout, re.MULTILINE)


@contextlib.contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=100k", "tmpfs", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk takes root")
def test_a_full_disk_is_named(place: Workplace) -> None:
    networks.conv(place.folder / "net.onnx")
    place.write({"name": "net", "source": "net.onnx"})
    with small_disk(place.folder / "small") as disk:
        result = place.run("--models-dir", str(disk / "models"))
        error = result.model("net")["error"]
        assert error["code"] == "disk-full"
        assert error["message"].endswith(f": the disk at {disk} is full")


def test_hints_with_commands_are_one_line_for_a_shell(place: Workplace) -> None:
    """A line that a pipe or file gets is never folded, whatever COLUMNS says."""
    refused = place.call("run", f"{'long-' * 30}.yaml", COLUMNS="40")
    hint = refused.stderr.splitlines()[-1]
    command = hint.partition("write one with ")[2].partition(",")[0]
    assert place.call(*shlex.split(command)[1:]).status == 0
    assert Path(COMMAND).name in command
    elsewhere = place.call("run", "no-such-directory/models.yaml")
    assert "check the path" in elsewhere.stderr
    assert "init" not in elsewhere.stderr, "it would have no place for the file"
