"""What ``--executor docker`` asks of a daemon before there is work, as a daemon sees it that answers one question."""

from __future__ import annotations

import gc
import json
import os
import socketserver
import subprocess
import sys
import tempfile
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from prepare_models.docker.address import is_here
from prepare_models.errors import HostError
from prepare_models.executors import choice
from prepare_models.machine import environments, platforms
from prepare_models.machine.gpus import Gpu
from prepare_models.options import ContainerOptions
from prepare_models_entrypoint.contract.environment import RuntimeInfo
from tests.command import COMMAND
from tests.doubles.image_engine import ImageEngine

from .records import RUNTIME

OPTIONS = ContainerOptions(platform="rtx")
NAME = platforms.named("rtx").image
IDS = [f"sha256:{digit * 64}" for digit in "123"]


@pytest.fixture
def address(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:  # a socket's path must be short
        path = Path(folder) / "engine.sock"
        monkeypatch.setenv("DOCKER_HOST", f"unix://{path}")
        yield path


@pytest.fixture
def engine(address: Path) -> Iterator[ImageEngine]:
    with ImageEngine(address, NAME, IDS[0]) as engine:
        yield engine


def note(image_id: str, runtime: RuntimeInfo = RUNTIME, gpu: str = "none") -> None:
    environments.remember(environments.image_facts(image_id, environments.this_machine(), gpu), runtime)


def described(options: ContainerOptions = OPTIONS) -> RuntimeInfo | None:
    """Return what is known of the image without a connection, which the double's daemon does not take."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # the SDK leaves sockets open
        try:
            return choice.pick("docker", options).describe()
        except HostError:
            return None
        finally:
            gc.collect()


def test_one_question_tells_the_image(engine: ImageEngine) -> None:
    note(IDS[0])
    picked = choice.pick("docker", OPTIONS)
    assert (picked.name, picked.describe()) == ("docker", RUNTIME)
    assert picked.locked_as()[1]["image_id"] == IDS[0]
    assert engine.asked == [f"GET /images/{NAME}/json HTTP/1.0"]


def test_an_image_by_its_id_takes_no_question(address: Path) -> None:
    note(IDS[1])
    assert not address.exists()
    assert choice.pick("docker", ContainerOptions(platform="rtx", image=IDS[1])).describe() == RUNTIME


def test_the_sdk_is_not_even_loaded(engine: ImageEngine) -> None:
    note(IDS[0])
    code = (
        "import sys; from prepare_models.executors import choice\n"
        "from prepare_models.options import ContainerOptions\n"
        "choice.pick('docker', ContainerOptions(platform='rtx')).describe(); print('docker' in sys.modules)"
    )
    told = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert told.stdout == "False\n"


def test_an_image_that_was_never_described_is_asked(engine: ImageEngine) -> None:
    assert described() is None
    note(IDS[0])
    assert described() == RUNTIME
    engine.image_id = IDS[1]  # the tag was moved
    assert described() is None
    engine.image_id, engine.contract = IDS[0], "0"
    assert described() is None


@pytest.mark.parametrize("gpu", ["all", "0"])
def test_a_gpu_is_remembered_for_what_was_asked_of_it(engine: ImageEngine, gpu: str) -> None:
    note(IDS[0], gpu="all")
    wanted = described(ContainerOptions(platform="rtx", gpu=gpu))
    assert (wanted is not None) == (gpu == "all")


def test_another_driver_or_card_is_another_environment(tmp_path: Path) -> None:
    def facts() -> str:
        return json.dumps(environments.machine_facts(tmp_path))

    seen = [facts()]
    cards = tmp_path / "proc/driver/nvidia/gpus"
    for place, text in (
        ("../version", "NVRM 570"), ("../version", "NVRM 580"), ("0000:01:00.0/information", "Model: A"),
        ("0000:01:00.0/information", "Model: B"), ("0000:02:00.0/information", "Model: B"),
    ):  # fmt: skip
        file = cards / place
        file.parent.mkdir(parents=True, exist_ok=True)
        cards.mkdir(exist_ok=True)
        file.write_text(text)
        seen.append(facts())
    assert len(set(seen)) == len(seen)


def test_nothing_is_known_of_an_image_where_nobody_listens(address: Path) -> None:
    note(IDS[0])
    assert not address.exists()
    assert described() is None


@pytest.mark.parametrize(
    ("host", "here"), [("tcp://127.0.0.1:1", True), ("tcp://builder.example:2376", False), ("ssh://orin", False)]
)
def test_an_image_of_another_machine_is_not_taken_for_one_that_was_described_here(
    monkeypatch: pytest.MonkeyPatch, host: str, here: bool
) -> None:
    monkeypatch.setenv("DOCKER_HOST", host)
    assert is_here() is here


@pytest.mark.parametrize("answer", [b"HTTP/1.0 500 Oops\r\n\r\n{}", b"HTTP/1.0 200 OK\r\n\r\n[]", b"no http", b""])
def test_what_answers_as_no_daemon_does_is_an_error(address: Path, tmp_path: Path, answer: bytes) -> None:
    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.rfile.readline()
            self.wfile.write(answer)

    note(IDS[0])
    (tmp_path / "models.yaml").write_text("version: 1\nmodels: [{name: net, source: /absent.onnx}]\n")
    with socketserver.ThreadingUnixStreamServer(str(address), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        plan = [COMMAND, "plan", str(tmp_path / "models.yaml"), "--executor", "docker", "--platform", "rtx"]
        done = subprocess.run(plan, capture_output=True, text=True, check=False)
        server.shutdown()
    assert (done.returncode, done.stdout) == (3, ""), done.stderr
    assert "->" in done.stderr


def test_without_the_image_this_python_builds(engine: ImageEngine) -> None:
    engine.name = "another"
    assert choice.pick("auto").name == "local"
    assert len(engine.asked) == 1


def test_nvidia_smi_is_asked_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    count = tmp_path / "count"
    program = tmp_path / "nvidia-smi"
    program.write_text(f"#!/bin/sh\necho x >> {count}\necho '0, GPU-1, Card, 580.1, 8.9'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    driver = ["boot", "NVRM 580.1"]
    monkeypatch.setattr(environments, "machine_facts", lambda _: driver)
    for _ in range(3):
        assert environments.this_machine().gpus == (Gpu(0, "GPU-1", "Card", "580.1", "8.9"),)
    assert count.read_text() == "x\n"
    driver[1] = "NVRM 590.1"
    environments.this_machine()
    assert count.read_text() == "x\nx\n"
    monkeypatch.setattr(environments, "machine_facts", lambda _: ["boot", None])
    for _ in range(2):
        environments.this_machine()
    assert count.read_text() == "x\n" * 4
