from __future__ import annotations

import itertools
import tarfile
from pathlib import Path

import pytest

import prepare_models_entrypoint
from prepare_models.docker import images
from prepare_models.errors import HostError, UsageError
from prepare_models.machine import platforms
from prepare_models.machine.facts import Machine
from prepare_models.machine.gpus import Gpu


def jetson(*l4t: int) -> Machine:
    return Machine(arch="aarch64", l4t=l4t, model="NVIDIA Jetson Orin Nano", soc="tegra234")


def workstation(driver: str, capability: str = "8.9") -> Machine:
    return Machine(arch="x86_64", gpus=(Gpu(0, "GPU-a", "NVIDIA RTX", driver, capability),))


@pytest.mark.parametrize(
    ("l4t", "name"),
    [
        ((35, 1, 0), "jetpack5-trt8.4"),
        ((35, 2, 1), "jetpack5"),
        ((35, 6, 4), "jetpack5"),
        ((36, 2, 0), "jetpack6.0"),
        ((36, 3, 0), "jetpack6.0"),
        ((36, 4, 0), "jetpack6"),
        ((36, 4, 7), "jetpack6"),
        ((36, 5, 0), "jetpack6"),
        ((36, 9, 1), "jetpack6"),
        ((38, 1, 0), "jetpack7"),
        ((38, 2, 2), "jetpack7"),
        ((38, 4, 0), "jetpack7"),
        ((39, 2, 1), "jetpack7.2"),
    ],
)
def test_release_of_a_jetson_decides(l4t: tuple[int, ...], name: str) -> None:
    choice = platforms.pick(jetson(*l4t))
    assert choice.platform.name == name
    assert platforms.dotted(l4t) in choice.reason


def test_jetpack_4_is_refused_with_its_reason() -> None:
    with pytest.raises(HostError) as caught:
        platforms.pick(jetson(32, 7, 5))
    assert "Python 3.6" in caught.value.hint


def test_unknown_release_is_refused() -> None:
    with pytest.raises(HostError) as caught:
        platforms.pick(jetson(99, 0, 0))
    assert "--platform" in caught.value.hint


@pytest.mark.parametrize(
    ("driver", "capability", "name"),
    [
        ("580.65.06", "8.9", "x86_64-trt10.13"),
        ("610.43.02", "8.9", "x86_64-trt10.13"),
        ("550.54.15", "8.9", "x86_64-trt10.3"),
        ("580.65.06", "7.0", "x86_64-trt10.3"),
        ("470.57.02", "8.6", "rtx"),
    ],
)
def test_driver_and_gpu_decide_on_a_workstation(driver: str, capability: str, name: str) -> None:
    assert platforms.pick(workstation(driver, capability)).platform.name == name


def test_machine_without_gpu_builds_ahead_of_time() -> None:
    choice = platforms.pick(Machine(arch="x86_64", gpu_reason="no NVIDIA driver"))
    assert choice.platform.name == "rtx"
    assert "no NVIDIA driver" in choice.reason


def test_unknown_architecture_is_refused() -> None:
    with pytest.raises(HostError, match="riscv64"):
        platforms.pick(Machine(arch="riscv64"))


def test_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(UsageError) as caught:
        platforms.named("jetpack9")
    assert "jetpack6" in caught.value.hint


@pytest.mark.parametrize(
    ("name", "machine", "why"),
    [
        ("jetpack6", workstation("580.1"), "for aarch64"),
        ("jetpack6", Machine(arch="aarch64"), "this machine is not one"),
        ("jetpack6", jetson(35, 4, 1), "runs L4T 35.4.1"),
        ("x86_64-trt10.13", workstation("550.54.15"), "needs driver 580.0 or later"),
        ("x86_64-trt10.13", workstation("580.65.06", "6.1"), "compute capability 7.5"),
    ],
)
def test_image_that_does_not_fit_says_why(name: str, machine: Machine, why: str) -> None:
    assert why in (platforms.unsuitable(platforms.named(name), machine) or "")


def test_names_are_unique_and_their_dockerfiles_exist() -> None:
    rows = platforms.table()
    assert len({row.name for row in rows}) == len(rows)
    for row in rows:
        assert (images.docker_directory() / row.dockerfile).is_file()
        assert row.arch


def test_releases_of_jetson_do_not_overlap() -> None:
    ranges = sorted(tuple(map(platforms.version, row.l4t)) for row in platforms.table() if row.l4t)
    assert all(before[1] < after[0] for before, after in itertools.pairwise(ranges))


def test_context_is_complete_and_the_same_every_time() -> None:
    first, second = images.context(), images.context()
    assert first.getvalue() == second.getvalue()
    with tarfile.open(fileobj=first) as archive:
        names = archive.getnames()
    place = Path(prepare_models_entrypoint.__path__[0])
    read = [file for file in place.rglob("*") if file.suffix in (".py", ".json", ".template")]
    assert "launch.template" in {file.name for file in read}
    assert {f"entrypoint/{file.relative_to(place.parent)}" for file in read} <= set(names)
    assert "docker/rtx.Dockerfile" in names
    assert "docker/requirements/rtx.txt" in names
    assert not [name for name in names if "__pycache__" in name]


def test_a_jetson_of_unknown_release_asks_for_the_platform() -> None:
    with pytest.raises(HostError) as caught:
        platforms.pick(Machine(arch="aarch64", soc="tegra234"))
    assert "tegra234" in caught.value.message
    assert "--platform NAME" in caught.value.hint
    assert "jetpack6 for JetPack 6.1" in caught.value.hint


def test_the_preview_of_jetpack_5_is_no_jetpack_4() -> None:
    with pytest.raises(HostError) as caught:
        platforms.pick(jetson(34, 1, 0))
    assert "5.0.2" in caught.value.hint


def test_engines_that_can_not_run_here_are_not_offered() -> None:
    hopper = Machine(arch="aarch64", gpus=(Gpu(0, "GPU-a", "NVIDIA GH200", "580.95.05", "9.0"),))
    with pytest.raises(HostError) as caught:
        platforms.pick(hopper)
    assert "--image" in caught.value.hint
    assert "9.0" in (platforms.unsuitable(platforms.named("rtx"), hopper) or "")
    assert "8.7" in (platforms.unsuitable(platforms.named("rtx"), Machine(arch="aarch64", soc="tegra234")) or "")


def test_an_arm_machine_with_a_gpu_hears_what_isaac_ros_would_need() -> None:
    choice = platforms.pick(Machine(arch="aarch64", gpus=(Gpu(0, "GPU-a", "NVIDIA GB10", "580.95.05", "12.1"),)))
    assert choice.platform.name == "rtx"
    assert "--image IMAGE" in choice.reason


def test_every_gpu_is_judged() -> None:
    pair = tuple(Gpu(n, f"GPU-{n}", "card", "580.65.06", capability) for n, capability in enumerate(("8.9", "6.1")))
    assert platforms.pick(Machine(arch="x86_64", gpus=pair)).platform.name == "x86_64-trt10.3"
