"""An engine on another machine: what a build needs is sent there, what it made comes back, nothing stays there."""

from __future__ import annotations

import contextlib
import gc
import hashlib
import json
import os
import signal
import subprocess
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import docker.errors
import numpy as np
import onnx
import pytest

from prepare_models.docker import container, gpu
from prepare_models.docker.container import RunSpec
from prepare_models.docker.daemon import owner_labels
from prepare_models.errors import HostError
from tests import networks
from tests.cable import Cable
from tests.docker.conftest import BASE, CALLER, CI, Daemon, DockerPlace, Witness, run_as_caller
from tests.docker.test_other_engines import tcp, tls
from tests.entrypoint.model_server import Answer, ModelServer


def bridge(daemon: Daemon) -> str:
    """Return an address of the tests' engine that is not the loopback."""
    address: str = json.loads((daemon.folder / "daemon.json").read_text())["hosts"][-1].split("//")[1].partition(":")[0]
    return address


CodeAfter = Callable[[dict[str, str], Callable[[], object]], str]


@pytest.fixture
def far(daemon: Daemon) -> Iterator[dict[str, str]]:
    """The way to the tests' engine by an address that is not this machine's loopback: it might be anywhere."""
    yield {"DOCKER_HOST": tcp(daemon, bridge(daemon)), **tls(daemon.folder / "tls")}
    assert daemon.ours() == []
    assert daemon.client.volumes.list() == []


@pytest.fixture
def ssh(daemon: Daemon, tmp_path: Path) -> Iterator[dict[str, str]]:
    """The way to the tests' engine through an SSH server."""
    folder = tmp_path / "ssh"
    done = subprocess.run([CI / "ssh_server.sh", folder, daemon.host], stdout=subprocess.PIPE, text=True, check=True)
    yield {"DOCKER_HOST": f"ssh://root@127.0.0.1:{done.stdout.strip()}", "HOME": str(folder / "home")}
    end_ssh(folder)


def end_ssh(folder: Path) -> None:
    """End an SSH server with all of its connections, unless that was done before."""
    server = (folder / "pid").read_text().strip()
    subprocess.run(["pkill", "-KILL", "-P", server], check=False)  # while they still are its children
    with contextlib.suppress(ProcessLookupError):
        os.kill(int(server), signal.SIGKILL)


def mounts(witness: Witness) -> set[str]:
    """Return the kinds of everything that containers saw of the engine's machine."""
    return {mount["Type"] for seen in witness.seen for mount in seen["Mounts"]}


def test_an_engine_elsewhere_builds_what_this_python_builds(
    ready: DockerPlace, far: dict[str, str], witness: Witness
) -> None:
    done = ready.run("--platform", "rtx", **far)
    assert done.status == 0, done.stderr
    plan = (ready.models_dir / "net/1/model.plan").read_bytes()
    written = json.loads((ready.models_dir / "net/report.json").read_text(encoding="utf-8"))
    assert hashlib.sha256(plan).hexdigest() == written["engine"]["sha256"] == done.model("net")["engine"]["sha256"]
    local = ready.call("run", "models.yaml", "--executor", "local", "--models-dir", "local", "--force", "--json")
    assert local.model("net")["engine"]["sha256"] == written["engine"]["sha256"]
    assert (ready.models_dir / "net/config.pbtxt").read_text() == (ready.folder / "local/net/config.pbtxt").read_text()
    assert mounts(witness) == {"volume"}
    host = witness.seen[-1]["HostConfig"]
    assert (host["NetworkMode"], host["ReadonlyRootfs"], host["CapDrop"]) == ("none", True, ["ALL"])
    assert ready.run("--platform", "rtx", **far).model("net")["status"] == "up-to-date"


def test_over_ssh(ready: DockerPlace, ssh: dict[str, str], witness: Witness, daemon: Daemon) -> None:
    done = ready.run("--platform", "rtx", **ssh)
    assert done.status == 0, done.stderr
    assert done.model("net")["status"] == "built"
    assert mounts(witness) == {"volume"}
    assert daemon.ours() == daemon.client.volumes.list() == []


def test_what_ssh_stumbles_over_is_told(ready: DockerPlace, ssh: dict[str, str]) -> None:
    def said(**variables: str) -> str:
        done = ready.run("--platform", "rtx", **{**ssh, **variables})
        assert done.status == 3, done.stderr
        return done.stderr

    assert "no SSH server listens there" in said(DOCKER_HOST="ssh://root@127.0.0.1:1")
    assert "does not let this user in" in said(DOCKER_HOST=ssh["DOCKER_HOST"].replace("root@", "nobody@"))
    (Path(ssh["HOME"]) / ".ssh/known_hosts").unlink()
    assert "the key of the SSH server is not known here" in said()


@pytest.fixture
def code_after(daemon: Daemon, image: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[CodeAfter]:
    """What a container that is run some way ends with when something happens to that way."""
    del image  # whose base is taken
    spec = RunSpec(
        image=BASE, argv=("sleep", "60"), binds=(), user="0:0", network="none",
        access=gpu.WITHOUT, labels=owner_labels({}),
    )  # fmt: skip
    for name in ("_QUIET_S", "_LOST_DAEMON_S"):
        monkeypatch.setattr(container, name, 0.5)

    def code(way: dict[str, str], happens: Callable[[], object]) -> str:
        def wait() -> None:
            while not any(each.status == "running" for each in daemon.ours()):
                time.sleep(0.1)
            happens()

        for name, value in way.items():
            monkeypatch.setenv(name, value)
        containers = container.Containers()
        containers._client.api.timeout = 1  # of a minute
        threading.Thread(target=wait).start()
        with pytest.raises(HostError) as caught:
            containers.run(spec, on_out=len, on_err=len)
        with contextlib.suppress(OSError):
            containers.close()
        caught.value.__traceback__ = caught.value.__cause__ = None
        return caught.value.code

    with warnings.catch_warnings():  # what waits on a line that is cut is dropped, not closed
        warnings.simplefilter("ignore", ResourceWarning)
        yield code
        gc.collect()
    for left in daemon.ours():
        with contextlib.suppress(docker.errors.APIError):  # the daemon may be removing it already
            left.remove(force=True, v=True)


def test_a_line_that_is_cut_is_found_out(code_after: CodeAfter, daemon: Daemon) -> None:
    address, port = bridge(daemon), int((daemon.folder / "port").read_text())
    with Cable(address, port) as cable:
        way = {"DOCKER_HOST": f"tcp://{address}:{cable.port}", **tls(daemon.folder / "tls")}
        assert code_after(way, cable.cut) == "docker-lost"


def test_an_ssh_server_that_is_gone_is_a_lost_engine(
    code_after: CodeAfter, ssh: dict[str, str], tmp_path: Path
) -> None:
    assert code_after(ssh, lambda: end_ssh(tmp_path / "ssh")) == "docker-lost"


def test_a_module_of_a_jetson_has_to_be_named(ready: DockerPlace, far: dict[str, str], witness: Witness) -> None:
    done = ready.run("--platform", "jetpack6", **far)
    assert done.status == 3
    assert "set PREPARE_MODELS_BOARD" in done.stderr
    named = ready.run("--platform", "jetpack6", PREPARE_MODELS_BOARD="p3767-0000", **far)
    assert "does not have the image" in named.stderr
    assert witness.seen == []


def test_paths_may_lead_up_again(place: DockerPlace, far: dict[str, str]) -> None:
    (place.folder / "a").mkdir()
    networks.conv(place.folder / "model.onnx")
    place.write({"name": "net", "source": "a/../model.onnx"})
    done = place.call(
        "run", "models.yaml", "--executor", "docker", "--models-dir", "a/../b/models", "--platform", "rtx", **far
    )
    assert done.status == 0, done.stderr
    assert (place.folder / "b/models/net/1/model.plan").is_file()


def test_without_a_platform_it_is_refused_before_anything_starts(
    ready: DockerPlace, far: dict[str, str], witness: Witness
) -> None:
    done = ready.run(**far)
    assert done.status == 3
    assert "on another machine, which can't be examined" in done.stderr
    assert "--platform NAME" in done.stderr
    assert witness.seen == []


def test_sources_are_fetched_here_and_only_these_are_sent(
    place: DockerPlace, far: dict[str, str], witness: Witness
) -> None:
    model = networks.conv(place.folder / "served.onnx").read_bytes()
    digest = hashlib.sha256(model).hexdigest()
    other = place.cache_dir / "downloads/blobs" / hashlib.sha256(b"other").hexdigest()
    other.parent.mkdir(parents=True)
    other.write_bytes(b"other")
    sent: list[str] = []
    witness.on_seen.append(lambda seen: sent.extend(mount["Destination"] for mount in seen["Mounts"]))
    with ModelServer() as server:
        good = {"name": "net", "source": server.serve("/model.onnx", Answer(model)), "sha256": digest}
        place.write(good, {"name": "absent", "source": server.url + "/absent.onnx", "sha256": "0" * 64})
        done = place.run("--platform", "rtx", **far)
        assert server.asked.count("/model.onnx") == 1
    assert done.model("net")["status"] == "built", done.stderr
    assert [stage["name"] for stage in done.model("net")["stages"]] == ["fetch", "convert", "inspect"]
    assert done.model("absent")["error"]["code"] == "source-not-found"
    assert done.model("absent")["error"]["stage"] == "fetch"
    assert {seen["HostConfig"]["NetworkMode"] for seen in witness.seen} == {"none"}
    assert place.directories() == {"net", "net/1"}


def test_everything_that_a_model_names_is_sent(place: DockerPlace, far: dict[str, str]) -> None:
    model = onnx.load(networks.conv(place.folder / "plain.onnx"))
    onnx.save(model, place.folder / "model.onnx", save_as_external_data=True, location="weights.bin", size_threshold=0)
    (name,) = (each.name for each in model.graph.input)
    shape = [each.dim_value for each in model.graph.input[0].type.tensor_type.shape.dim]
    np.savez(place.folder / "samples.npz", **{name: np.ones([2, *shape[1:]], np.float32)})  # type: ignore[arg-type]  # of the stubs
    place.write({"name": "net", "source": "model.onnx", "precision": "fp16", "verify": {"npz": "samples.npz"}})
    done = place.run("--platform", "rtx", **far)
    assert done.status == 0, done.stderr
    assert [stage["name"] for stage in done.model("net")["stages"]][-1] == "verify"
    again = place.call("verify", "models", "--executor", "docker", "--platform", "rtx", "--json", **far)
    assert again.status == 0, again.stderr


def test_a_failure_there_reads_as_one_here(place: DockerPlace, far: dict[str, str]) -> None:
    networks.unsupported(place.folder / "model.onnx")
    place.write({"name": "net", "source": "model.onnx"})
    failed = place.run("--platform", "rtx", **far).model("net")
    assert failed["error"]["code"] == "plugin-missing"
    assert Path(failed["log"]).is_file()
    assert not place.directories()


def test_a_key_is_sent_for_the_caller_alone(place: DockerPlace, far: dict[str, str], witness: Witness) -> None:
    (place.folder / "model.etlt").write_bytes(b"\0\0\0\0" + os.urandom(64))
    place.write({"name": "net", "source": "model.etlt", "key": {"env": "MODEL_KEY"}})
    done = place.run("--platform", "rtx", MODEL_KEY="a secret word", **far)
    assert done.model("net")["error"]["code"] in ("etlt-codec-missing", "etlt-key-wrong")
    assert "a secret word" not in json.dumps(witness.seen) + done.stdout + done.stderr


def test_files_belong_to_the_caller(open_place: DockerPlace, far: dict[str, str], daemon: Daemon) -> None:
    keys = open_place.folder / "keys"
    subprocess.run(["cp", "-r", far["DOCKER_CERT_PATH"], keys], check=True)
    for path in (keys, *keys.iterdir()):
        os.chown(path, CALLER, CALLER)
    far["DOCKER_CERT_PATH"] = str(keys)
    done = run_as_caller(open_place, "--platform", "rtx", groups=(CALLER,), umask=-1, **far)
    assert done.returncode == 0, done.stderr
    made = [open_place.models_dir, *open_place.models_dir.rglob("*")]
    assert {(path.stat().st_uid, path.stat().st_gid) for path in made} == {(CALLER, CALLER)}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_run_that_ends_early_leaves_nothing_there(
    place: DockerPlace, far: dict[str, str], daemon: Daemon, heavy: Path, number: signal.Signals
) -> None:
    place.write({"name": "net", "source": str(heavy)})
    process = place.start("--platform", "rtx", **far)
    daemon.wait_for_container()
    process.send_signal(number)
    process.communicate(timeout=60)
    assert not list(place.models_dir.rglob("model.plan"))
    if number == signal.SIGKILL:  # the next run clears up
        networks.conv(place.folder / "model.onnx")
        place.write({"name": "net", "source": "model.onnx"})
        assert place.run("--platform", "rtx", **far).status == 0
