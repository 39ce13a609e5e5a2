"""An engine is built once: for a models directory that was deleted, for another one, and for processes at once."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import random
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import yaml

from tests import networks
from tests.command import COMMAND, Workplace

NAMES = tuple(f"net-{index}" for index in range(8))


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def one_model(place: Workplace, **settings: Any) -> None:
    if not (place.folder / "net.onnx").exists():
        networks.conv(place.folder / "net.onnx")
    place.write({"name": "net", "source": "net.onnx", **settings})


def test_a_deleted_models_directory_comes_back_without_a_build(place: Workplace) -> None:
    one_model(place)
    built = place.run().model("net")
    files = {name: sha256(place.models_dir / name) for name in place.files() if not name.endswith("report.json")}
    shutil.rmtree(place.models_dir)
    planned = place.call("plan", str(place.manifest), "--models-dir", str(place.models_dir), "--executor", "local")
    assert "restore because: no engine yet" in planned.stdout
    restored = place.run("-v", "--log-format", "json")
    model = restored.model("net")
    assert (model["status"], model["reason"]) == ("restored", "restore because: no engine yet")
    assert restored.report["summary"]["built"] == 0
    assert "convert" not in restored.stderr, "no stage ran"
    assert {name: sha256(place.models_dir / name) for name in files} == files
    assert {**model, "status": "", "reason": "", "stages": []} == {**built, "status": "", "reason": "", "stages": []}
    assert place.run().model("net")["status"] == "up-to-date"


def test_another_name_and_directory_get_their_own_companions(place: Workplace) -> None:
    one_model(place)
    place.run()
    (place.folder / "elsewhere").mkdir()
    shutil.copy(place.folder / "net.onnx", place.folder / "elsewhere" / "same bytes.onnx")
    other = Workplace(place.folder / "elsewhere")
    other.write({"name": "other", "source": "same bytes.onnx"})
    model = other.run(PREPARE_MODELS_CACHE_DIR=str(place.cache_dir)).model("other")
    plan, source = other.models_dir / "other/1/model.plan", other.folder / "same bytes.onnx"
    assert model["status"] == "restored"
    assert sha256(plan) == sha256(place.models_dir / "net/1/model.plan") == model["engine"]["sha256"]
    assert (model["engine"]["path"], model["source"]) == (str(plan), str(source))
    assert {f"--onnx={source}", f"--saveEngine={plan}"} <= set(shlex.split(model["trtexec_command"]))
    assert str(place.models_dir) not in json.dumps(model), "nothing of where it was built first"
    assert 'name: "other"' in (other.models_dir / "other/config.pbtxt").read_text(encoding="utf-8")
    parameters = yaml.safe_load((other.models_dir / "other/isaac_ros.yaml").read_text(encoding="utf-8"))
    assert parameters["tensor_rt"]["ros__parameters"]["engine_file_path"] == str(plan)


def test_a_change_back_needs_no_second_build(place: Workplace) -> None:
    one_model(place)
    place.run()
    one_model(place, precision="fp16")
    changed = place.run().model("net")
    assert (changed["status"], changed["reason"]) == ("built", "rebuild because: precision fp32 -> fp16")
    one_model(place)
    back = place.run().model("net")
    assert (back["status"], back["reason"]) == ("restored", "restore because: precision fp16 -> fp32")


def test_names_for_ros_and_lost_companions_need_no_build(place: Workplace) -> None:
    one_model(place)
    place.run()
    shutil.rmtree(place.cache_dir / "engines")
    one_model(place, ros={"output_tensor_names": ["scores"]})
    model = place.run().model("net")
    assert model["status"] == "restored"
    assert "scores" in (place.models_dir / "net/isaac_ros.yaml").read_text(encoding="utf-8")
    (place.models_dir / "net/config.pbtxt").unlink()
    assert place.run().model("net")["reason"] == "restore because: config.pbtxt is missing"
    assert (place.models_dir / "net/config.pbtxt").exists()


def test_damage_in_models_directory_and_store_leads_to_a_build(place: Workplace) -> None:
    one_model(place)
    good = place.run().model("net")
    shutil.rmtree(place.models_dir)
    (stored,) = (place.cache_dir / "engines").glob("*/model.plan")
    data = bytearray(stored.read_bytes())
    data[len(data) // 2] ^= 1
    stored.unlink()
    stored.write_bytes(bytes(data))
    model = place.run().model("net")
    assert (model["status"], model["engine"]["sha256"]) == ("built", good["engine"]["sha256"])
    assert sha256(place.models_dir / "net/1/model.plan") == good["engine"]["sha256"] == sha256(stored)


def test_force_builds_what_the_store_has_and_the_cache_keeps_its_limit(place: Workplace) -> None:
    one_model(place)
    place.run()
    shutil.rmtree(place.models_dir)
    assert place.run("--force", PREPARE_MODELS_CACHE_LIMIT="0").model("net")["status"] == "built"
    assert list((place.cache_dir / "engines").glob("[!.]*/model.plan")) == [], "the limit holds after each build"
    assert place.run().model("net")["status"] == "up-to-date", "the engine in the models directory stays"


def test_an_engine_whose_outputs_are_not_the_expected_ones_is_not_handed_out(place: Workplace) -> None:
    one_model(place)
    place.run()
    shutil.rmtree(place.models_dir)
    one_model(place, outputs=["scores"])
    model = place.run().model("net")
    assert (model["status"], model["error"]["code"]) == ("failed", "outputs-mismatch")


# A shell in which the machine has another name and its user is nobody.
ELSEWHERE = [
    "unshare", "--user", "--map-root-user", "--uts", "sh", "-c",
    'hostname elsewhere && exec unshare --user "$@"', "sh",
]  # fmt: skip


def test_two_hosts_give_the_same_key_and_the_same_bytes(tmp_path: Path) -> None:
    """Another user, host name, path, time zone, locale, working directory and hash seed, and a cache of its own."""
    worlds: tuple[tuple[str, dict[str, str], list[str]], ...] = (
        ("one", {"TZ": "Asia/Tokyo", "LC_ALL": "C", "PYTHONHASHSEED": "1"}, []),
        (
            "zwei mit Leerzeichen/ü",
            {
                "TZ": "America/Lima",
                "LC_ALL": "C.UTF-8",
                "PYTHONHASHSEED": "2",
                "USER": "nobody",
                "HOME": str(tmp_path / "home"),
            },
            ELSEWHERE if may_unshare() else [],
        ),
    )
    settings = {
        "precision": "fp16",
        "keep_fp32": ["b*", "a*"],
        "builder": {"workspace": "64MiB", "profiling_verbosity": "detailed"},
    }
    found = []
    for name, variables, prefix in worlds:
        place = Workplace(tmp_path / name)
        place.folder.mkdir(parents=True)
        networks.conv(place.folder / "net.onnx")
        place.write({"name": "net", "source": "net.onnx", **settings})
        settings = dict(reversed(settings.items()))
        settings["keep_fp32"] = ["a*", "b*"]
        done = subprocess.run(
            [*prefix, *place.command("--json", "--quiet")], stdout=subprocess.PIPE, check=True,
            env=place.environment(**variables), cwd=place.folder if prefix else "/",
        )  # fmt: skip
        (model,) = json.loads(done.stdout)["models"]
        assert model["status"] == "built"
        found.append((model["build_key"], model["engine"]["sha256"], sha256(place.models_dir / "net/1/model.plan")))
    assert found[0] == found[1]
    assert found[0][1] == found[0][2]


def may_unshare() -> bool:
    """Tell whether this machine lets its user be another one: containers often don't."""
    return subprocess.run([*ELSEWHERE, "true"], capture_output=True, check=False).returncode == 0


def eight_models(folder: Path) -> list[dict[str, Any]]:
    for index, name in enumerate(NAMES):
        networks.conv(folder / f"{name}.onnx", seed=index)
    return [{"name": name, "source": str(folder / f"{name}.onnx")} for name in NAMES]


def start(place: Workplace, cache: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        place.command("--json", "--quiet"), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=place.folder,
        env=place.environment(PREPARE_MODELS_CACHE_DIR=str(cache)),
    )  # fmt: skip


def workplaces(tmp_path: Path, count: int) -> list[Workplace]:
    models = eight_models(tmp_path)
    places = []
    for index in range(count):
        place = Workplace(tmp_path / f"user-{index}")
        place.folder.mkdir()
        place.write(*models[index:], *models[:index])  # each begins with another model
        places.append(place)
    return places


def test_eight_processes_at_once_build_each_of_eight_models_once(tmp_path: Path) -> None:
    places, cache = workplaces(tmp_path, 8), tmp_path / "cache"
    reports = [json.loads(run.communicate()[0]) for run in [start(place, cache) for place in places]]
    statuses = [model["status"] for report in reports for model in report["models"]]
    assert {status: statuses.count(status) for status in statuses} == {"built": 8, "restored": 56}
    engines = {(model["name"], model["engine"]["sha256"]) for report in reports for model in report["models"]}
    assert {name for name, _ in engines} == set(NAMES)
    assert len(engines) == 8
    for place in places:
        assert {(name, sha256(place.models_dir / name / "1/model.plan")) for name in NAMES} == engines


def test_kill_9_of_any_owner_at_any_time_loses_nothing(tmp_path: Path) -> None:
    places, cache, moments = workplaces(tmp_path, 4), tmp_path / "cache", random.Random(7)
    runs = [start(place, cache) for place in places]
    for victim in (0, 1, 2, 0, 1, 2):
        time.sleep(moments.uniform(0.2, 0.9))
        with contextlib.suppress(ProcessLookupError):
            os.kill(runs[victim].pid, signal.SIGKILL)
        runs[victim].communicate()
        runs[victim] = start(places[victim], cache)
    reports = [json.loads(run.communicate()[0]) for run in runs]
    assert [run.returncode for run in runs] == [0, 0, 0, 0]
    engines = {(model["name"], model["engine"]["sha256"]) for report in reports for model in report["models"]}
    assert len(engines) == 8
    for place in places:
        assert {(name, sha256(place.models_dir / name / "1/model.plan")) for name in NAMES} == engines
    stored = {path.parent.name: sha256(path) for path in (cache / "engines").glob("*/model.plan")}
    assert sorted(stored.values()) == sorted(digest for _, digest in engines)
    leftovers = [path for place in [*places, Workplace(tmp_path)] for path in place.folder.rglob("*-partial")]
    assert leftovers == []


KILLED = """
import os, re, signal, sys
def kill(event, arguments):
    if event == "os.rename" and re.search("/engines/[0-9a-f]{64}$", os.fspath(arguments[1])):
        os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(kill)
from prepare_models.__main__ import main
sys.exit(main(sys.argv[1:]))
"""


def test_what_a_killed_owner_had_built_is_taken_over(place: Workplace, tmp_path: Path) -> None:
    """The moment between the engine's final name and its way into the store."""
    one_model(place)
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, *place.command("--quiet")[1:]], check=False, env=place.environment(),
        cwd=place.folder,
    )  # fmt: skip
    assert killed.returncode == -signal.SIGKILL
    built = sha256(place.models_dir / "net/1/model.plan")
    assert list((place.cache_dir / "engines").glob("[!.]*/model.plan")) == []
    (tmp_path / "heir").mkdir()
    heir = Workplace(tmp_path / "heir")
    heir.write({"name": "net", "source": str(place.folder / "net.onnx")})
    model = heir.run(PREPARE_MODELS_CACHE_DIR=str(place.cache_dir)).model("net")
    assert (model["status"], model["engine"]["sha256"]) == ("restored", built)


AUDITED = """
import json, os, sys
seen = []
sys.addaudithook(lambda event, arguments: seen.append(event))
from prepare_models.__main__ import main
status = main(sys.argv[1:])
starts = [event for event in seen if event.split(".")[0] in ("subprocess", "socket") or event in
          ("os.fork", "os.forkpty", "os.posix_spawn", "os.exec", "os.system", "os.spawn")]
sys.stderr.write(json.dumps(starts))
sys.exit(status)
"""


def test_a_warm_run_starts_no_process_and_asks_no_network(place: Workplace) -> None:
    one_model(place)
    assert audited(place), "a build starts processes, so this test can fail"
    assert audited(place) == []


def audited(place: Workplace) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", AUDITED, *place.command("--quiet")[1:]], capture_output=True, text=True, check=True,
        env=place.environment(), cwd=place.folder,
    )  # fmt: skip
    events: list[str] = json.loads(done.stderr)
    return events


def test_the_wait_names_the_owner(place: Workplace, tmp_path: Path) -> None:
    networks.heavy(place.folder / "heavy.onnx", layers=60)
    place.write({"name": "heavy", "source": "heavy.onnx"})
    (tmp_path / "second").mkdir()
    second = Workplace(tmp_path / "second")
    second.write({"name": "heavy", "source": str(place.folder / "heavy.onnx")})
    owner = subprocess.Popen(
        [COMMAND, *place.command("-v", "--log-format", "json")[1:]], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        env=place.environment(), cwd=place.folder, text=True,
    )  # fmt: skip
    assert owner.stderr is not None
    for line in owner.stderr:
        if "stage-started" in line or '"stage": "convert"' in line:
            break
    owner.send_signal(signal.SIGSTOP)  # it keeps its turn until the other was seen waiting
    waiting = subprocess.Popen(
        second.command("--json", "--log-format", "json"), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env=second.environment(PREPARE_MODELS_CACHE_DIR=str(place.cache_dir)), cwd=second.folder, text=True,
    )  # fmt: skip
    assert waiting.stderr is not None
    said = json.loads(next(line for line in waiting.stderr if "waiting" in line))
    assert (said["event"], said["process"]) == ("waiting for another run", str(owner.pid))
    owner.send_signal(signal.SIGCONT)
    owner.communicate()
    (model,) = json.loads(waiting.communicate()[0])["models"]
    assert model["status"] == "restored"
