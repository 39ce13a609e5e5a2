"""Identity where engines are built in containers: the same from host to host, and known again without asking much."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prepare_models_entrypoint.contract.codec import CONTRACT_VERSION
from tests.docker.conftest import Daemon, DockerPlace

# Writes down what a command starts and which sockets it connects to.
AUDITED = """
import json, sys
seen = []
def hook(event, arguments):
    if event in ("subprocess.Popen", "os.fork", "os.posix_spawn", "os.exec", "socket.connect", "socket.getaddrinfo"):
        seen.append(event)
sys.addaudithook(hook)
from prepare_models.__main__ import main
status = main(sys.argv[2:])
open(sys.argv[1], "w").write(json.dumps([seen, "docker" in sys.modules]))
sys.exit(status)
"""


@dataclass(frozen=True)
class Host:
    """A container that stands for a machine. ``root``: where it sees its files."""

    name: str
    root: str
    user: int
    zone: str
    locale: str
    seed: str
    models: tuple[str, ...]


HOSTS = (
    Host("builder-a.example", "/srv/a", 12345, "Asia/Kolkata", "C", "1", ("half", "plain")),
    Host("zwei", "/home/b/with blanks/ü", 54321, "America/St_Johns", "C.UTF-8", "2", ("plain", "half")),
)


def build(daemon: Daemon, image: str, host: Host, folder: Path, model: bytes) -> dict[str, Any]:
    """Build the same network twice, plain and rewritten to fp16, on a host; return the reports by name."""
    for part in ("job", "out", "cache", "models"):
        (folder / part).mkdir(parents=True)
    (folder / f"{host.name}.onnx").write_bytes(model)
    jobs = [
        {
            "name": f"{name}-{host.name}", "source": f"{host.root}/{host.name}.onnx", "converter": "auto",
            "output_dir": f"{host.root}/models/{name}", "deploy_dir": f"{host.root}/models/{name}",
            "precision": {"plain": "fp32", "half": "fp16"}[name],
        }
        for name in host.models
    ]  # fmt: skip
    job = {"contract": CONTRACT_VERSION, "run_id": host.name, "models": jobs, "cache_dir": f"{host.root}/cache",
           "stages": ["fetch", "convert", "inspect"]}  # fmt: skip
    (folder / "job" / "job.json").write_text(json.dumps(job), encoding="utf-8")
    for path in (folder, *folder.rglob("*")):
        os.chown(path, host.user, host.user)
    environment = {"TZ": host.zone, "LC_ALL": host.locale, "PYTHONHASHSEED": host.seed, "HOME": f"{host.root}/cache"}
    daemon.client.containers.run(
        image, ["run", f"{host.root}/job/job.json", f"{host.root}/out"], hostname=host.name,
        user=f"{host.user}:{host.user}", environment=environment, network_mode="none", remove=True,
        volumes={str(folder): {"bind": host.root, "mode": "rw"}},
    )  # fmt: skip
    models = json.loads((folder / "out" / "report.json").read_text(encoding="utf-8"))["models"]
    return dict(zip(host.models, models, strict=True))


def test_two_hosts_have_the_same_keys_and_the_same_engines(
    ready: DockerPlace, daemon: Daemon, image: str, tmp_path: Path
) -> None:
    model = (ready.folder / "model.onnx").read_bytes()
    found = [build(daemon, image, host, tmp_path / host.name, model) for host in HOSTS]
    ready.write(
        {"name": "plain", "source": "model.onnx"}, {"name": "half", "source": "model.onnx", "precision": "fp16"}
    )
    done = ready.run()
    found.append({name: done.model(name) for name in ("plain", "half")})
    for name in ("plain", "half"):
        assert {(each[name]["status"], str(each[name]["error"])) for each in found} == {("built", "None")}
        assert len({each[name]["build_key"] for each in found}) == 1
        assert len({each[name]["engine"]["sha256"] for each in found}) == 1
    assert found[0]["plain"]["build_key"] != found[0]["half"]["build_key"]


def test_a_run_with_nothing_to_build_asks_one_thing_and_starts_nothing(ready: DockerPlace, tmp_path: Path) -> None:
    assert ready.run().model("net")["status"] == "built"
    seen = tmp_path / "seen.json"
    for arguments in (ready.command("--json")[1:], ["plan", str(ready.manifest), "--executor", "docker", "--json"]):
        done = subprocess.run(
            [sys.executable, "-c", AUDITED, str(seen), *arguments], check=True, capture_output=True, text=True,
            env=ready.environment(), cwd=ready.folder,
        )  # fmt: skip
        assert json.loads(done.stdout)["models"][0].get("status", "up-to-date") == "up-to-date"
        assert json.loads(seen.read_text()) == [["socket.connect"], False]


def test_a_tag_that_was_moved_is_noticed(ready: DockerPlace, daemon: Daemon, image: str) -> None:
    name = "prepare-models:test-moved"
    daemon.client.images.get(image).tag("prepare-models", "test-moved")
    options = ("--image", name, "--platform", "rtx")
    assert ready.run(*options).model("net")["status"] == "built"
    assert ready.run(*options).model("net")["status"] == "up-to-date"
    other = daemon.client.images.build(fileobj=_labelled(image), tag=name, network_mode="none")[0]
    assert other.id != daemon.client.images.get(image).id
    again = ready.run(*options)  # it was asked, and would build the same
    assert again.model("net")["status"] == "up-to-date"
    assert ready.call("lock", str(ready.manifest), "--platform", f"rtx={name}").status == 0
    assert str(other.id) in (ready.folder / "models.lock").read_text()
    daemon.client.images.remove(name, force=True)


def _labelled(image: str) -> Any:
    return io.BytesIO(f"FROM {image}\nLABEL other=1\nENV X=1\n".encode())
