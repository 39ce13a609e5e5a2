"""Whatever ends a run, the daemon or a container: no container stays, no wrong file stands under a final name."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import networks
from tests.docker.conftest import Daemon, DockerPlace

CleanCheck = Callable[[], None]


@pytest.fixture
def slow(place: DockerPlace, heavy: Path) -> DockerPlace:
    """A workplace whose build takes seconds."""
    place.write({"name": "net", "source": str(heavy)})
    return place


@pytest.fixture
def running(slow: DockerPlace, daemon: Daemon) -> Iterator[tuple[subprocess.Popen[str], Any]]:
    """A run whose container builds right now."""
    process = slow.start()
    try:
        yield process, daemon.wait_for_container()
    finally:
        process.kill()
        process.communicate()
        for container in daemon.ours():
            container.remove(force=True)


Running = tuple[subprocess.Popen[str], Any]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopped_run_leaves_nothing(
    slow: DockerPlace, running: Running, number: signal.Signals, nothing_left: CleanCheck
) -> None:
    process, _ = running
    process.send_signal(number)
    _, told = process.communicate(timeout=30)
    assert process.returncode == 130, told
    assert "Traceback" not in told
    nothing_left()
    assert not slow.files() - {"report.json"}


def test_next_run_clears_away_what_a_killed_one_left(
    slow: DockerPlace, running: Running, daemon: Daemon, nothing_left: CleanCheck
) -> None:
    process, container = running
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert [left.id for left in daemon.ours()] == [container.id]
    again = slow.run()
    assert again.status == 0, again.stderr
    nothing_left()


def test_killed_run_of_another_model_is_cleared_away(
    slow: DockerPlace, running: Running, place: DockerPlace, nothing_left: CleanCheck
) -> None:
    process, _ = running
    process.send_signal(signal.SIGKILL)
    process.communicate()
    networks.conv(place.folder / "other.onnx")
    place.write({"name": "other", "source": "other.onnx"})
    assert place.run().status == 0
    nothing_left()


def test_living_run_is_left_alone(running: Running, tmp_path: Path) -> None:
    process, container = running
    other = DockerPlace(tmp_path / "other")
    other.folder.mkdir()
    networks.conv(other.folder / "model.onnx")
    other.write({"name": "other", "source": "model.onnx"})
    container.pause()  # so that it is there for as long as the other run takes
    try:
        assert other.run().status == 0
    finally:
        container.unpause()
    out, told = process.communicate(timeout=120)
    assert process.returncode == 0, told + out


def test_container_killed_from_outside(slow: DockerPlace, running: Running, nothing_left: CleanCheck) -> None:
    process, container = running
    container.kill()
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert '"container-killed"' in out
    nothing_left()
    assert slow.run().status == 0


def test_memory_limit_is_named_with_its_remedy(place: DockerPlace, heavy: Path, nothing_left: CleanCheck) -> None:
    networks.conv(place.folder / "small.onnx")
    place.write({"name": "net", "source": str(heavy)}, {"name": "small", "source": "small.onnx"})
    done = place.run("--memory", "112MiB")
    assert done.status == 1
    for name, code in (("net", "memory-insufficient"), ("small", "out-of-memory")):
        error = done.model(name)["error"]
        assert error["code"] == code, "the estimate counts weights, and those of one are small"
        assert "the limit was 112 MiB: raise --memory" in error["hint"]
    nothing_left()
    assert not place.files() - {"report.json"}


def test_time_limit_of_the_conversion(slow: DockerPlace, nothing_left: CleanCheck) -> None:
    done = slow.run("--timeout", "0.5")
    assert done.model("net")["error"]["code"] == "build-timeout"
    nothing_left()


def test_daemon_that_restarts_in_mid_build(
    restart: Callable[[], str], slow: DockerPlace, running: Running, nothing_left: CleanCheck
) -> None:
    process, _ = running
    restart()
    out, told = process.communicate(timeout=90)
    assert process.returncode == 1, told
    assert '"docker-lost"' in out or '"container-killed"' in out
    again = slow.run()
    assert again.status == 0, again.stderr
    nothing_left()


def test_gpu_request_reaches_the_daemon_and_its_absence_inside_is_told(ready: DockerPlace) -> None:
    done = ready.run("--gpu", "all")
    assert done.status == 3
    assert "the container sees no GPU, though the engine accepted the request (device-request)" in done.stderr


def test_hook_that_fails_is_explained(ready: DockerPlace, daemon: Daemon, nothing_left: CleanCheck) -> None:
    fails = daemon.folder / "stub/log/fails"
    fails.touch()
    try:
        done = ready.run("--gpu", "all")
    finally:
        fails.unlink()
    assert done.status == 3
    assert "the NVIDIA driver is not loaded" in done.stderr
    assert "nvidia-smi" in done.stderr
    nothing_left()


def test_missing_image_names_the_command_that_makes_it(ready: DockerPlace) -> None:
    done = ready.run("--image", "absent:1")
    assert done.status == 3
    assert "prepare-models image build --platform rtx" in done.stderr


def test_image_of_somebody_else_is_refused(ready: DockerPlace) -> None:
    done = ready.run("--image", "prepare-models-base:amd64")
    assert done.status == 3
    assert "no contract version" in done.stderr


def test_two_runs_of_one_model_take_turns(slow: DockerPlace, nothing_left: CleanCheck) -> None:
    first, second = slow.start(), slow.start()
    outcomes = [process.communicate(timeout=120) for process in (first, second)]
    assert [first.returncode, second.returncode] == [0, 0], outcomes
    assert sum('"status": "built"' in out for out, _ in outcomes) == 1
    nothing_left()


def test_leftover_key_of_a_killed_run_goes(ready: DockerPlace) -> None:
    base = Path(os.environ.get("XDG_RUNTIME_DIR") or "/dev/shm") / f"prepare-models-keys-{os.getuid()}"
    base.mkdir(mode=0o700, exist_ok=True)
    gone = subprocess.Popen(["true"])
    gone.wait()
    left = base / f"{gone.pid}-1"
    left.write_text("secret")
    assert ready.run().status == 0
    assert not left.exists()
