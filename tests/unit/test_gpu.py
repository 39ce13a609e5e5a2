from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from prepare_models.docker import gpu
from prepare_models.docker.container import RunSpec, arguments
from prepare_models.docker.copied_files import Bind
from prepare_models.docker.daemon import Daemon
from prepare_models.docker.gpu import Access
from prepare_models.errors import HostError, UsageError
from prepare_models.machine.facts import Machine
from prepare_models.machine.gpus import Gpu

WORKSTATION = Machine(arch="x86_64", gpus=(Gpu(0, "GPU-a", "NVIDIA RTX", "580.1", "8.9"),))
WITH_SPEC = Machine(arch="x86_64", gpus=WORKSTATION.gpus, cdi=("nvidia.com/gpu=0", "nvidia.com/gpu=all"))
JETSON = Machine(arch="aarch64", l4t=(36, 4, 7))
JETSON_WITH_SPEC = Machine(arch="aarch64", l4t=(36, 4, 7), cdi=("nvidia.com/gpu=all",))


def docker(version: str, *api: int, runtimes: tuple[str, ...] = (), discovered: tuple[str, ...] = ()) -> Daemon:
    dirs = ("/etc/cdi",) if api >= (1, 44) else ()
    return Daemon(version, api, runtimes=frozenset(runtimes), cdi_spec_dirs=dirs, cdi_devices=discovered)


def podman(version: str) -> Daemon:
    # Podman lists runtimes whether they are installed or not.
    return Daemon(version, (1, 41), podman=True, runtimes=frozenset({"crun", "nvidia"}))


@pytest.mark.parametrize(
    ("engine", "machine", "way"),
    [
        (docker("20.10.24", 1, 41), WORKSTATION, gpu.DEVICE_REQUEST),
        (docker("20.10.24", 1, 41), WITH_SPEC, gpu.DEVICE_REQUEST),
        (docker("26.1.5", 1, 45), WITH_SPEC, gpu.CDI),
        (docker("26.1.5", 1, 45), WORKSTATION, gpu.DEVICE_REQUEST),
        (docker("28.5.2", 1, 51, discovered=("nvidia.com/gpu=all",)), WORKSTATION, gpu.CDI),
        (docker("28.5.2", 1, 51, discovered=("nvidia.com/pva=0",)), WITH_SPEC, gpu.DEVICE_REQUEST),
        (Daemon("26.1.5", (1, 45), cdi_spec_dirs=("/srv/cdi",)), WITH_SPEC, gpu.DEVICE_REQUEST),
        (docker("20.10.21", 1, 41, runtimes=("nvidia",)), JETSON, gpu.RUNTIME),
        (docker("28.5.2", 1, 51, runtimes=("nvidia",), discovered=("nvidia.com/gpu=all",)), JETSON, gpu.RUNTIME),
        (docker("26.1.5", 1, 45), JETSON_WITH_SPEC, gpu.CDI),
        (podman("5.4.2"), WITH_SPEC, gpu.CDI),
    ],
)
def test_way_to_the_gpu(engine: Daemon, machine: Machine, way: str) -> None:
    access = gpu.choose(engine, machine)
    assert access.way == way
    assert access.reason


@pytest.mark.parametrize(
    ("engine", "machine", "wanted", "why"),
    [
        (docker("20.10.21", 1, 41), JETSON, "all", "neither the runtime nvidia nor a CDI device"),
        (docker("20.10.21", 1, 41, runtimes=("nvidia",)), JETSON, "1", "a Jetson has one GPU"),
        (podman("4.3.1"), WITH_SPEC, "all", "drops GPU requests"),
        (podman("4.9.4"), JETSON, "all", "drops GPU requests"),
        (podman("5.4.2"), WORKSTATION, "all", "through CDI only"),
        (docker("26.1.5", 1, 45), WITH_SPEC, "7", "no CDI device nvidia.com/gpu=7"),
        (docker("18.09", 1, 39, runtimes=("nvidia",)), WORKSTATION, "all", "no access to a GPU"),
    ],
)
def test_no_way_says_why_and_what_to_do(engine: Daemon, machine: Machine, wanted: str, why: str) -> None:
    with pytest.raises(HostError, match=why) as caught:
        gpu.choose(engine, machine, wanted)
    assert caught.value.hint


@pytest.mark.parametrize("wanted", ["7x", "", "first", "-1", "GPU-", "0,1"])
def test_what_names_no_gpu_is_a_usage_error(wanted: str) -> None:
    with pytest.raises(UsageError, match="does not name a GPU") as caught:
        gpu.choose(docker("26.1.5", 1, 45), WORKSTATION, wanted)
    assert "nvidia-smi -L" in caught.value.hint


CARDS = (WORKSTATION.gpus[0], Gpu(1, "GPU-b", "NVIDIA RTX", "580.1", "8.9"))


@pytest.mark.parametrize(
    ("engine", "cdi", "devices"),
    [
        (docker("26.1.5", 1, 45), (), [("GPU-a",), ("GPU-b",)]),
        (
            docker("26.1.5", 1, 45),
            ("nvidia.com/gpu=0", "nvidia.com/gpu=1", "nvidia.com/gpu=all"),
            [("nvidia.com/gpu=0",), ("nvidia.com/gpu=1",)],
        ),
        (docker("26.1.5", 1, 45), ("nvidia.com/gpu=all",), [("nvidia.com/gpu=all",)]),
    ],
)
def test_each_gpu_is_given_alone_where_they_can_be_told_apart(
    engine: Daemon, cdi: tuple[str, ...], devices: list[tuple[str, ...]]
) -> None:
    machine = Machine(arch="x86_64", gpus=CARDS, cdi=cdi)
    ways = gpu.for_each(engine, machine, "all")
    assert [way.devices for way in ways] == devices
    assert len(gpu.for_each(engine, machine, "none")) == 1


def asked(access: Access) -> dict[str, Any]:
    spec = RunSpec(image="image", argv=("describe",), binds=(), user="1:1", network="none", access=access)
    return arguments(spec)


def test_no_gpu_also_where_the_image_or_the_daemon_would_give_one() -> None:
    made = asked(gpu.choose(docker("20.10", 1, 41), WORKSTATION, "none"))
    assert made["environment"] == {"NVIDIA_VISIBLE_DEVICES": "void"}
    assert "device_requests" not in made
    assert "runtime" not in made


def test_device_request_for_all_and_for_one() -> None:
    (everything,) = asked(Access(gpu.DEVICE_REQUEST, ("all",)))["device_requests"]
    assert everything == {
        "Driver": "", "Count": -1, "DeviceIDs": [], "Capabilities": [["gpu", "compute", "utility"]], "Options": {},
    }  # fmt: skip
    (one,) = asked(Access(gpu.DEVICE_REQUEST, ("GPU-a",)))["device_requests"]
    assert (one["Count"], one["DeviceIDs"]) == (0, ["GPU-a"])


def test_cdi_request_has_neither_count_nor_options() -> None:
    (request,) = asked(Access(gpu.CDI, ("nvidia.com/gpu=all",)))["device_requests"]
    assert request == {
        "Driver": "cdi", "Count": 0, "DeviceIDs": ["nvidia.com/gpu=all"], "Capabilities": [], "Options": {},
    }  # fmt: skip


def test_jetson_asks_by_runtime_and_environment() -> None:
    made = asked(gpu.choose(docker("20.10.21", 1, 41, runtimes=("nvidia",)), JETSON))
    assert made["runtime"] == "nvidia"
    assert made["environment"] == {"NVIDIA_VISIBLE_DEVICES": "all", "NVIDIA_DRIVER_CAPABILITIES": "all"}


def test_every_container_is_closed() -> None:
    spec = RunSpec(
        image="image", argv=("run",), binds=(Bind(Path("/a"), "/b"),), user="7:8", network="none",
        access=gpu.WITHOUT, groups=(44,), memory_bytes=1 << 30,
    )  # fmt: skip
    made = arguments(spec)
    assert made["read_only"] is True
    assert made["cap_drop"] == ["ALL"]
    assert made["security_opt"] == ["no-new-privileges"]
    assert made["network_mode"] == "none"
    assert made["user"] == "7:8"
    assert made["group_add"] == ["44"]
    assert made["mem_limit"] == made["memswap_limit"] == 1 << 30
    (mount,) = made["mounts"]
    assert (mount["Type"], mount["Source"], mount["Target"], mount["ReadOnly"]) == ("bind", "/a", "/b", True)
