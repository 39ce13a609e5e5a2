"""What a request for a GPU becomes in real engines. Doubles stand where NVIDIA's programs would: they give no GPU."""

from __future__ import annotations

import contextlib
import gc
import json
from collections.abc import Callable, Iterator

import pytest

from prepare_models.docker import gpu
from prepare_models.docker.container import Containers, RunSpec
from prepare_models.docker.daemon import Daemon as Described
from prepare_models.docker.daemon import owner_labels
from prepare_models.docker.gpu import Access
from prepare_models.errors import HostError
from prepare_models.machine.facts import Machine, cdi_devices
from prepare_models.machine.gpus import Gpu
from tests.docker.conftest import BASE, Daemon

CARD = Gpu(0, "GPU-a", "NVIDIA RTX", "580.1", "8.9")


# The SDK leaves the socket of a stream that has ended to the garbage collector, which complains.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture(autouse=True)
def base(image: str) -> Iterator[None]:
    """The base image is there; it has `env` and no entrypoint."""
    yield
    gc.collect()


def environment_with(access: Callable[[Described], Access]) -> dict[str, str]:
    """Return the environment of a container that got the access."""
    out = bytearray()
    with contextlib.closing(Containers()) as containers:
        spec = RunSpec(
            image=BASE, argv=("/usr/bin/env",), binds=(), user="1000:1000", network="none",
            access=access(containers.daemon), labels=owner_labels({}),
        )  # fmt: skip
        ended = containers.run(spec, on_out=out.extend, on_err=out.extend)
    assert ended is not None
    assert ended.exit_code == 0, out
    return dict(line.split("=", 1) for line in out.decode().splitlines())


def test_device_request_becomes_nvidias_variables() -> None:
    got = environment_with(lambda engine: gpu.choose(engine, Machine(arch="x86_64", gpus=(CARD,))))
    assert got["NVIDIA_VISIBLE_DEVICES"] == "all"
    assert got["NVIDIA_DRIVER_CAPABILITIES"] == "compute,utility"


def test_device_request_for_one_gpu() -> None:
    got = environment_with(lambda engine: gpu.choose(engine, Machine(arch="x86_64", gpus=(CARD,)), "GPU-a"))
    assert got["NVIDIA_VISIBLE_DEVICES"] == "GPU-a"


def test_container_without_gpu_gets_none_where_the_image_would_ask_for_it() -> None:
    assert environment_with(lambda _: gpu.WITHOUT)["NVIDIA_VISIBLE_DEVICES"] == "void"


def test_jetson_starts_through_the_runtime(daemon: Daemon) -> None:
    log = daemon.folder / "stub/log/runtime.log"
    log.unlink(missing_ok=True)
    environment_with(lambda engine: gpu.choose(engine, Machine(arch="aarch64", l4t=(36, 4, 7))))
    (started,) = [json.loads(line) for line in log.read_text().splitlines()]
    assert set(started["env"]) == {"NVIDIA_VISIBLE_DEVICES=all", "NVIDIA_DRIVER_CAPABILITIES=all"}


def workstation(daemon: Daemon) -> Machine:
    return Machine(arch="x86_64", gpus=(CARD,), cdi=cdi_devices([daemon.folder / "cdi"]))


def test_engine_with_cdi_injects_the_device(newer: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", newer.host)
    machine = workstation(newer)
    with contextlib.closing(Containers()) as containers:
        assert gpu.choose(containers.daemon, machine).way == gpu.CDI
    assert environment_with(lambda engine: gpu.choose(engine, machine))["STUB_GPU"] == "all"
    assert environment_with(lambda engine: gpu.choose(engine, machine, "0"))["STUB_GPU"] == "0"


def test_device_that_no_specification_names(newer: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", newer.host)
    with pytest.raises(HostError, match="no CDI specification names this device") as caught:
        environment_with(lambda _: Access(gpu.CDI, ("nvidia.com/gpu=7",)))
    assert "nvidia-ctk cdi" in caught.value.hint
    assert newer.ours() == []


def test_unregistered_runtime_is_explained(newer: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", newer.host)
    monkeypatch.setattr(gpu, "NVIDIA_RUNTIME", "nvidia-absent")
    with pytest.raises(HostError, match="the runtime nvidia is not registered"):
        environment_with(lambda _: Access(gpu.RUNTIME, ("all",)))


def test_cdi_on_an_engine_without_it() -> None:
    with pytest.raises(HostError, match="the engine has no CDI"):
        environment_with(lambda _: Access(gpu.CDI, ("nvidia.com/gpu=all",)))
