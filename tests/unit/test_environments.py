"""An environment is asked once for as long as nothing changes that its answer depends on."""

from __future__ import annotations

from pathlib import Path

import pytest

from prepare_models.machine.environments import machine_facts, remembered
from prepare_models_entrypoint.contract.environment import RuntimeInfo

from .records import RUNTIME


class Environment:
    def __init__(self, answer: RuntimeInfo) -> None:
        self.answer, self.asked = answer, 0

    def describe(self) -> RuntimeInfo:
        self.asked += 1
        return self.answer


def has_gpu(found: RuntimeInfo) -> bool:
    return found["gpu"] is not None


def test_what_lasts_is_asked_once_for_the_same_facts() -> None:
    environment = Environment(RUNTIME)
    for facts in (["a", 1], ["a", 1], ["a", 2], ["a", 2], ["a", 1]):
        assert remembered(facts, environment.describe, lasting=has_gpu) == RUNTIME
    assert environment.asked == 2


def test_a_missing_gpu_is_looked_for_again() -> None:
    environment = Environment({**RUNTIME, "gpu": None})
    for _ in range(2):
        assert remembered(["a"], environment.describe, lasting=has_gpu)["gpu"] is None
    assert environment.asked == 2


def test_a_broken_memory_is_asked_again(tmp_path: Path) -> None:
    environment = Environment(RUNTIME)
    remembered(["a"], environment.describe, lasting=has_gpu)
    (file,) = (tmp_path / "cache" / "environments").iterdir()
    file.write_text("{", encoding="utf-8")
    assert remembered(["a"], environment.describe, lasting=has_gpu) == RUNTIME
    assert environment.asked == 2


def test_boot_driver_and_hidden_devices_are_facts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def now() -> str:
        return str(machine_facts(tmp_path))

    seen = [now()]
    for file in ("proc/sys/kernel/random/boot_id", "proc/driver/nvidia/version"):
        (tmp_path / file).parent.mkdir(parents=True)
        (tmp_path / file).write_text("one", encoding="utf-8")
        seen.append(now())
        (tmp_path / file).write_text("other", encoding="utf-8")
        seen.append(now())
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    seen.append(now())
    assert len(set(seen)) == len(seen)
    assert now() == seen[-1]
