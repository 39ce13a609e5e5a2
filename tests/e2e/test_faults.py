"""Power may go at any moment: whatever is killed, no wrong file stands under a final name, and a re-run finishes."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import random
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import networks
from tests.command import Workplace

NAMES = ("first", "second")
PUBLISHED = (
    "1/model.plan", "config.pbtxt", "deepstream.txt", "isaac_ros.launch.py", "isaac_ros.yaml", "provenance.json",
    "report.json",
)  # fmt: skip
FINAL = {f"{name}/{file}" for name in NAMES for file in PUBLISHED if (name, file) != ("first", "deepstream.txt")}


@pytest.fixture
def reference(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The digests that the engines of an undisturbed run have."""
    place = prepared(tmp_path_factory.mktemp("reference"))
    assert place.run().status == 0
    return {name: sha256(place.models_dir / name / "1/model.plan") for name in NAMES}


def prepared(folder: Path) -> Workplace:
    place = Workplace(folder)
    networks.heavy(folder / "first.onnx", layers=20)
    networks.conv(folder / "second.onnx")
    place.write(*({"name": name, "source": f"{name}.onnx"} for name in NAMES))
    return place


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


class Watch:
    """Looks at the final names all the time and notes a file that is not what it should be."""

    def __init__(self, place: Workplace, reference: dict[str, str]) -> None:
        self._place, self._reference = place, reference
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look)
        self.wrong: list[str] = []

    def __enter__(self) -> Watch:  # noqa: PYI034  # Self came with Python 3.11
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._stop.wait(0.002):
            self.check()

    def check(self) -> None:
        for name in NAMES:
            folder = self._place.models_dir / name
            try:
                if sha256(folder / "1/model.plan") != self._reference[name]:
                    self.wrong.append(f"{name}: a plan that is not whole")
                json.loads((folder / "report.json").read_text(encoding="utf-8"))
            except FileNotFoundError:
                continue
            except ValueError:
                self.wrong.append(f"{name}: a report that is not whole")


def children(pid: int) -> list[int]:
    found = []
    for thread in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in thread.read_text().split():
            found += [int(child), *children(int(child))]
    return found


@pytest.mark.parametrize("victim", ["orchestrator", "build"])
def test_kill_9_at_random_moments(tmp_path: Path, reference: dict[str, str], victim: str) -> None:
    moments = random.Random(20)
    place = prepared(tmp_path)
    for _ in range(10):
        with Watch(place, reference) as watch:
            run = subprocess.Popen(
                place.command("--quiet", "--force"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                env=place.environment(), cwd=place.folder,
            )  # fmt: skip
            time.sleep(moments.uniform(0.05, 1.5))
            below = children(run.pid) if run.poll() is None else []
            target = run.pid if victim == "orchestrator" else (below[-1:] or [run.pid])[0]
            with contextlib.suppress(ProcessLookupError):
                os.kill(target, signal.SIGKILL)
            run.wait()
        assert watch.wrong == []
        assert not still_alive(below, within_s=5), "a killed run leaves no process behind"
    after = place.run()
    assert after.status == 0
    assert {name: sha256(place.models_dir / name / "1/model.plan") for name in NAMES} == reference
    assert place.files() == FINAL | {"report.json"}, "no partial file anywhere"
    assert [path.name for path in (place.cache_dir / "work").iterdir()] == [".lock"], "the next run clears the cache"


def still_alive(pids: list[int], *, within_s: float) -> list[int]:
    deadline = time.monotonic() + within_s
    while alive := [pid for pid in pids if running(pid)]:
        if time.monotonic() > deadline:
            break
        time.sleep(0.02)
    return alive


def running(pid: int) -> bool:
    try:
        return " Z " not in Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_cleans_up_and_says_130(place: Workplace, number: signal.Signals) -> None:
    networks.heavy(place.folder / "heavy.onnx", layers=200)
    place.write({"name": "heavy", "source": "heavy.onnx"})
    run = subprocess.Popen(
        place.command("-v", "--log-format", "json"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=place.environment(), cwd=place.folder,
    )  # fmt: skip
    assert run.stderr is not None
    for line in run.stderr:
        if '"phase": "build"' in line:
            break
    below = children(run.pid)
    assert below, "the entrypoint and the build process"
    run.send_signal(number)
    _, stderr = run.communicate()
    assert run.returncode == 130
    assert "Traceback" not in stderr
    assert not still_alive(below, within_s=5)
    assert place.files() == {"report.json"}
    assert (
        json.loads((place.models_dir / "report.json").read_text(encoding="utf-8"))["models"][0]["status"] == "skipped"
    )


@pytest.mark.parametrize(
    ("number", "code", "retryable"),
    [
        (signal.SIGKILL, "out-of-memory", True),
        (signal.SIGBUS, "source-changed", True),
        (signal.SIGSEGV, "build-crashed", False),
        (signal.SIGABRT, "build-crashed", False),
    ],
)
def test_a_killed_build_is_a_failure_of_that_model_alone(
    place: Workplace, number: signal.Signals, code: str, retryable: bool
) -> None:
    networks.heavy(place.folder / "heavy.onnx", layers=200)
    networks.conv(place.folder / "good.onnx")
    place.write({"name": "heavy", "source": "heavy.onnx"}, {"name": "good", "source": "good.onnx"})
    run = subprocess.Popen(
        place.command("--json", "-v", "--log-format", "json"), text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=place.environment(), cwd=place.folder,
    )  # fmt: skip
    assert run.stderr is not None
    for line in run.stderr:
        if '"phase": "build"' in line:
            os.kill(children(run.pid)[-1], number)
            break
    stdout, _ = run.communicate()
    report = json.loads(stdout)
    assert run.returncode == 1
    assert {model["name"]: (model["status"], (model["error"] or {}).get("code")) for model in report["models"]} == {
        "heavy": ("failed", code),
        "good": ("built", None),
    }
    error = report["models"][0]["error"]
    assert error["retryable"] is retryable
    assert number.name in error["message"] or code != "build-crashed"


def test_a_build_that_takes_too_long_is_stopped(place: Workplace) -> None:
    networks.heavy(place.folder / "heavy.onnx", layers=400)
    place.write({"name": "heavy", "source": "heavy.onnx"})
    result = place.run("--timeout", "0.5")
    assert result.status == 1
    assert result.model("heavy")["error"]["code"] == "build-timeout"
    assert place.files() == {"report.json"}


FULL_DISK = """
mount -t tmpfs -o size=1m none "$PREPARE_MODELS_CACHE_DIR"
head -c 2000000 /dev/zero > "$PREPARE_MODELS_CACHE_DIR/rest" 2> /dev/null
exec "$@"
"""


def test_a_full_disk_under_the_cache_fails_the_models_with_its_name(place: Workplace) -> None:
    networks.conv(place.folder / "net.onnx")
    place.write({"name": "net", "source": "net.onnx"}, {"name": "other", "source": "net.onnx"})
    place.cache_dir.mkdir(parents=True)
    own_mounts = ["unshare", "--mount", *([] if os.geteuid() == 0 else ["--user", "--map-root-user"]), "sh", "-c"]
    done = subprocess.run(
        [*own_mounts, FULL_DISK, "sh", *place.command("--json", "--quiet")], capture_output=True, text=True,
        env=place.environment(), cwd=place.folder, check=False,
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    errors = [model["error"] for model in json.loads(done.stdout)["models"]]
    assert [error["code"] for error in errors] == ["disk-full", "disk-full"]
    assert all(str(place.cache_dir) in error["message"] for error in errors)
    assert "bug" not in done.stderr


def test_a_run_sweeps_what_killed_runs_left_of_models_that_it_does_not_have(place: Workplace) -> None:
    networks.conv(place.folder / "net.onnx")
    place.write({"name": "net", "source": "net.onnx"})
    key, other = "0" * 64, "1" * 32
    left = (place.cache_dir / "engines" / f".{key}.prepare-models-partial", place.cache_dir / "locks" / other)
    locks = (place.cache_dir / "engines/locks" / f"{key}.lock", place.cache_dir / "locks" / f"{other}.lock")
    for folder in (*left, locks[0].parent):
        folder.mkdir(parents=True)
    for lock in locks:
        lock.touch()
    with locks[1].open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert place.run().status == 0
        assert [folder.exists() for folder in left] == [False, True], "somebody still works in the second one"
    assert place.run().model("net")["status"] == "up-to-date"
    assert not left[1].exists()


def test_a_lock_file_of_any_bytes_is_a_lock_file(place: Workplace) -> None:
    networks.conv(place.folder / "net.onnx")
    place.write({"name": "net", "source": "net.onnx"})
    assert place.run().status == 0
    for lock in (*place.cache_dir.glob("locks/*.lock"), *place.cache_dir.glob("engines/locks/*.lock")):
        lock.write_bytes(b"\xff\xfe\x00 \x80")
    assert place.run("--force").status == 0


def below(process: int) -> Iterator[Path]:
    """Yield the folder in /proc of each process that descends from another."""
    for listed in Path(f"/proc/{process}/task").glob("*/children"):
        for child in listed.read_text().split():
            yield Path("/proc", child)
            yield from below(int(child))


def test_builds_give_way_to_what_matters_more(place: Workplace) -> None:
    networks.heavy(place.folder / "heavy.onnx", layers=100)
    place.write({"name": "heavy", "source": "heavy.onnx"})
    seen = set()
    with subprocess.Popen(place.command("--nice", "--quiet"), env=place.environment(), cwd=place.folder) as process:
        while process.poll() is None:
            with contextlib.suppress(OSError):  # one has ended meanwhile
                for each in below(process.pid):
                    niceness = os.getpriority(os.PRIO_PROCESS, int(each.name))
                    seen.add(
                        ((each / "comm").read_text().strip(), niceness, (each / "oom_score_adj").read_text().strip())
                    )
            time.sleep(0.02)
    assert process.returncode == 0
    assert ("prepare-build", 19, "1000") in seen


def test_a_model_that_nobody_judged_is_not_published(place: Workplace) -> None:
    networks.conv(place.folder / "net.onnx")
    place.write({"name": "net", "source": "net.onnx"})
    killed = False
    command = place.command("--quiet")
    with subprocess.Popen(command, env=place.environment(), cwd=place.folder, stdout=subprocess.DEVNULL) as process:
        while process.poll() is None:
            with contextlib.suppress(OSError):  # one has ended meanwhile
                for each in below(process.pid):
                    if (each / "comm").read_text().strip() == "prepare-judge":
                        os.kill(int(each.name), signal.SIGSEGV)
                        killed = True
            time.sleep(0.002)
    assert killed
    assert process.returncode == 1
    (model,) = json.loads((place.models_dir / "report.json").read_text(encoding="utf-8"))["models"]
    assert model["error"]["code"] == "build-crashed"
    assert "the process that checks the model by ONNX's rules died of SIGSEGV" in model["error"]["message"]
    assert not (place.models_dir / "net").exists()
