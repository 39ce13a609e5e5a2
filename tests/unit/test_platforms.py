from __future__ import annotations

import itertools
import tarfile

import pytest

from prepare_models.docker import images
from prepare_models.errors import HostError, UsageError
from prepare_models.machine import platforms
from prepare_models.machine.facts import Gpu, Machine


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
        ("jetpack6", Machine(arch="aarch64"), "this machine is none"),
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
    assert "entrypoint/prepare_models_entrypoint/__main__.py" in names
    assert "docker/rtx.Dockerfile" in names
    assert "docker/requirements/rtx.txt" in names
    assert not [name for name in names if "__pycache__" in name]
