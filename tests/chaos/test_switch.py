"""Killed at any step of a provisioning, exactly one complete version shows, and the next one finishes the job.

``SWITCH_STEPS=all SWITCH_MOMENTS=200 pytest -n0 -s tests/chaos/test_switch.py`` kills at every step, and at so many
random moments.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import random
import shutil
import signal
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

import prepare_models
from prepare_models_entrypoint.contract.files import PARTIAL
from tests import networks
from tests.chaos.driver import Ledger, below, compiled
from tests.chaos.starter import Started, Starter
from tests.command import Workplace
from tests.served import complete

STEPS = os.environ.get("SWITCH_STEPS", "9")
MOMENTS = int(os.environ.get("SWITCH_MOMENTS", "0"))
STATES = ("provisioned", "in-place", "empty")  # what is there before: a release, what run built, nothing
_PR_SET_CHILD_SUBREAPER = 36


class Switching:
    """Provisionings from one version of a model to the next, whose engine the store has. ``folder``: an empty one."""

    def __init__(self, folder: Path) -> None:
        self._library = compiled(folder)
        self._starter = Starter(self._library, folder)
        self._folder, self._templates = folder, folder / "templates"
        self.place = Workplace(folder / "here")
        self.place.folder.mkdir()
        for name, channels in (("old", 4), ("new", 8)):
            networks.conv(self.place.folder / f"{name}.onnx", channels=channels)
        self._build("new", "elsewhere", "run")
        for state, command in (("provisioned", "provision"), ("in-place", "run"), ("empty", "")):
            if command:
                self._build("old", "models", command)
            self.place.models_dir.mkdir(exist_ok=True)
            shutil.copytree(self.place.folder, self._templates / state, symlinks=True)
            shutil.rmtree(self.place.models_dir)

    def close(self) -> None:
        """End what starts the runs."""
        self._starter.close()

    def steps(self, state: str) -> tuple[int, float]:
        """Return how many acts on the models directory a provisioning takes, and how many seconds."""
        ledger, began = self._begin(state), time.monotonic()
        self._good(self._start(ledger, "none"))
        return ledger.acts, time.monotonic() - began

    def killed_at(self, state: str, step: int) -> str:
        """Kill at a step; return what showed then: old, new, or nothing."""
        run = self._start(self._begin(state), f"kill:{step}")
        return self._after(state, run)

    def killed_after(self, state: str, seconds: float, chance: random.Random) -> str:
        """Kill one of the processes at a moment."""
        run = self._start(self._begin(state), "none")
        time.sleep(seconds)
        with contextlib.suppress(ProcessLookupError):
            os.kill(chance.choice([run.pid, *below(run.pid)]), signal.SIGKILL)
        return self._after(state, run)

    def _after(self, state: str, run: Started) -> str:
        told = run.told()
        assert "Traceback" not in told, told
        self._starter.wait_for_orphans()
        shown = self._shown()
        assert shown != "nothing" or state == "empty"
        self._good(self._start(self._ledger(), "none"))
        assert self._shown() == "new"
        self._nothing_left()
        return shown

    def _shown(self) -> str:
        folder = self.place.models_dir / "net"
        if not (folder / "config.pbtxt").exists():
            return "nothing"
        found = complete(folder)
        return {"1, 4, 32, 32": "old", "1, 8, 32, 32": "new"}[found.dims]

    def _nothing_left(self) -> None:
        folder = self.place.models_dir
        left = [path for path in folder.rglob("*") if PARTIAL in path.name]
        assert left == []
        assert [path.name for path in (self.place.cache_dir / "work").iterdir()] == [".lock"]
        releases = {path.name for path in (folder / "net" / ".releases").iterdir() if path.name.isdigit()}
        assert releases == {path.name for path in (folder / "net").iterdir() if path.name.isdigit()} - {"1"}
        switches = [json.loads(line) for line in (folder / "switches.jsonl").read_text().splitlines()]
        assert switches[-1]["to_version"] == complete(folder / "net").version
        status = json.loads((folder / "provision.json").read_text())
        assert (status["outcome"], status["models"][0]["version"]) == ("good", switches[-1]["to_version"])

    def _build(self, name: str, models_dir: str, command: str) -> None:
        self._manifest(name)
        options = ("--models-dir", models_dir, "--executor", "local", "-q")
        self._good(self._starter.start([command, "models.yaml", *options], self.place.folder, self.place.environment()))

    def _manifest(self, name: str) -> None:
        self.place.write({"name": "net", "source": f"{name}.onnx", "verify": {"random": {"count": 1}}})

    def _begin(self, state: str) -> Ledger:
        shutil.rmtree(self.place.folder)
        shutil.copytree(self._templates / state, self.place.folder, symlinks=True)
        self._manifest("new")
        return self._ledger()

    def _ledger(self) -> Ledger:
        return Ledger(self._folder / "ledger")

    def _start(self, ledger: Ledger, fault: str) -> Started:
        environment = self.place.environment(
            LD_PRELOAD=str(self._library), LD_CHAOS_ROOT=str(self.place.models_dir), LD_CHAOS_LEDGER=str(ledger.file),
            LD_CHAOS_FAULT=fault,
        )  # fmt: skip
        command = ("provision", str(self.place.manifest), "--models-dir", str(self.place.models_dir), "-q")
        return self._starter.start([*command, "--executor", "local"], self.place.folder, environment)

    @staticmethod
    def _good(run: Started) -> None:
        assert run.wait() == 0, run.told()


@pytest.fixture(scope="module")
def switching(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Switching]:
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PREPARE_MODELS_STATE_DIR", str(tmp_path_factory.mktemp("state")))
        made = Switching(tmp_path_factory.mktemp("switch"))
        yield made
        made.close()
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 0)


@pytest.mark.timeout(0)  # a long run takes an hour
def test_one_complete_version_shows_whatever_was_the_last_step(switching: Switching) -> None:
    counted = {state: switching.steps(state) for state in STATES}
    assert min(steps for steps, _ in counted.values()) > 20, "the library is loaded and counts"
    every = [(state, step) for state, (steps, _) in counted.items() for step in range(1, steps + 1)]
    chosen = every if STEPS == "all" else every[:: len(every) // int(STEPS)]
    chance, shown = random.Random(0), Counter[str]()
    for state, step in chosen:
        shown[switching.killed_at(state, step)] += 1
        _tell(state, step, shown)
    for _ in range(MOMENTS):
        state = chance.choice(STATES)
        shown[switching.killed_after(state, chance.uniform(0, counted[state][1]), chance)] += 1
        _tell(state, "a moment", shown)
    assert set(shown) == {"old", "new", "nothing"}


def test_a_switch_that_is_killed_at_a_moment_is_whole(switching: Switching, monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes that do nothing but switch back and forth, killed one after the other."""
    switching.steps("provisioned")
    monkeypatch.setenv("PREPARE_MODELS_CACHE_DIR", str(switching.place.cache_dir))
    models_dir, chance = switching.place.models_dir, random.Random(0)
    current = models_dir / "net" / ".releases" / "current"

    def switch() -> None:
        prepare_models.rollback("net", models_dir=models_dir, to=5 - int(os.readlink(current)))

    switch()  # and import what that takes
    shown = Counter[int]()
    for _ in range(200):
        pid = os.fork()
        while pid == 0:
            try:
                switch()
            except BaseException:  # noqa: BLE001  # nothing of it may go on in a copy of pytest
                os._exit(1)
        time.sleep(chance.uniform(0.0, 0.05))
        os.kill(pid, signal.SIGKILL)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
        shown[complete(models_dir / "net").version] += 1
    assert set(shown) == {2, 3}
    switch()
    assert [path for path in (models_dir / "net").rglob("*") if PARTIAL in path.name] == []


def _tell(*words: object) -> None:
    if STEPS == "all" or MOMENTS:
        print(*words, flush=True)  # noqa: T201
