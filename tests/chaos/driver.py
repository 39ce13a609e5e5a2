"""A run with a fault that a seed decides, and what must hold afterwards whatever the fault was."""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import json
import mmap
import os
import random
import shutil
import signal
import struct
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from prepare_models_entrypoint.contract.files import PARTIAL
from tests import networks
from tests.chaos.starter import Started, Starter, children
from tests.command import Workplace
from tests.simulators.web import Answer, Request, Server

SOURCE = Path(__file__).with_name("faults.c")
FAULTS = (
    "kill", "random-kill", "power", "eio", "enospc", "short", "network", "cut", "clock", "flip", "crowd",
)  # fmt: skip
STATES = ("empty", "stored", "built")
_ENTRY, _HEADER = struct.Struct("lq"), struct.Struct("llll")
_LEDGER_BYTES = _HEADER.size + 65536 * _ENTRY.size
_NEVER = 70  # the exit status of a bug
_CROWD = 8
_PR_SET_CHILD_SUBREAPER = 36


class Plan(NamedTuple):
    """What a seed decides. ``at``: share of a run after which the fault comes."""

    fault: str
    state: str
    at: float


def plan_of(seed: int) -> Plan:
    """Return what a seed decides."""
    chance = random.Random(seed)
    fault = chance.choice(FAULTS)
    if fault == "flip":
        return Plan(fault, chance.choice(STATES[1:]), 0.0)
    if fault in ("network", "cut"):
        return Plan(fault, "empty", chance.random())
    return Plan(fault, chance.choice(STATES), chance.random())


def compiled(folder: Path) -> Path:
    """Compile what is preloaded."""
    library = folder / "faults.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", str(library), str(SOURCE), "-ldl"], check=True)
    return library


class Ledger:
    """What the preloaded library counted in all processes of a run."""

    def __init__(self, file: Path) -> None:
        self.file = file
        file.unlink(missing_ok=True)  # what another run has of it stays as it is
        file.write_bytes(bytes(_LEDGER_BYTES))
        with file.open("r+b") as stream:
            self._shared = mmap.mmap(stream.fileno(), _LEDGER_BYTES)

    @property
    def acts(self) -> int:
        return int(_HEADER.unpack_from(self._shared)[0])

    @property
    def received(self) -> int:
        return int(_HEADER.unpack_from(self._shared)[1])

    @property
    def fired(self) -> bool:
        return bool(_HEADER.unpack_from(self._shared)[3])

    def unsynced(self) -> dict[int, int]:
        """Return how many bytes of each file, by its inode, were on the disk, where not all of them were."""
        synced: dict[int, int] = {}
        written: set[int] = set()
        for number in range(_HEADER.unpack_from(self._shared)[2]):
            inode, size = _ENTRY.unpack_from(self._shared, _HEADER.size + number * _ENTRY.size)
            if size < 0:
                written.add(inode)
            else:
                synced[inode] = size
                written.discard(inode)
        return {inode: synced.get(inode, 0) for inode in written}


class Chaos:
    """A place for runs with faults.

    Args:
        folder: an empty one; runs work in a part of it whose path is the same for all of them.
    """

    def __init__(self, folder: Path) -> None:
        self._library, self._server = compiled(folder), Server(self._answer)
        self._starter = Starter(self._library, folder)
        self._template, self._boot = folder / "template", folder / "boot"
        self.place = Workplace(folder / "here")
        self._cut_after: int | None = None
        self._expected: dict[str, str] = {}
        self._counts: dict[str, tuple[int, int]] = {}
        self.place.folder.mkdir()
        self._content = networks.conv(folder / "net.onnx", channels=256).read_bytes()

    def __enter__(self) -> Chaos:  # noqa: PYI034  # Self came with Python 3.11
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)
        self._server.__enter__()
        self._begin()
        for state in STATES:
            self._set_up(state)
            ledger = self._ledger()
            assert self._start(ledger, "none", *self._arguments(state)).wait() == 0, "without a fault"
            self._counts[state] = ledger.acts, ledger.received
            if state == "empty":
                self._expected = self._published()
                shutil.copytree(self.place.folder, self._template, symlinks=True)
        assert min(self._counts["empty"]) > 1, "the library is loaded and counts"
        return self

    def __exit__(self, *exc: object) -> None:
        self._server.__exit__(*exc)
        self._starter.close()
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 0)

    def run(self, seed: int) -> list[str]:
        """Run with the seed's fault and then without; return what does not hold, nothing if all does."""
        plan, chance = plan_of(seed), random.Random(~seed)
        self._set_up(plan.state)
        wrong: list[str] = []
        ledger = self._ledger()
        if plan.fault == "flip":
            self._flip(chance)
        elif plan.fault == "crowd":
            wrong += self._crowd(chance, ledger)
        else:
            wrong += self._disturbed(plan, chance, ledger)
        wrong += [f"after the fault: {each}" for each in self._not_verified(lenient=plan.fault == "flip")]
        self._cut_after = None
        again = self._start(self._ledger(), "none")
        if again.wait() != 0:
            wrong.append(f"the next run ends with {again.returncode}: {again.told()[-2000:]}")
        wrong += [
            f"after the next run: {each}" for each in [*self._not_verified(), *self._missing(), *self._leftovers()]
        ]
        return [f"seed {seed}, {plan.fault} on {plan.state}: {each}" for each in wrong]

    def _answer(self, _: Request) -> Answer:
        cut, self._cut_after = self._cut_after, None
        return Answer(self._content, ranged=True, etag='"1"', cut_after=cut)

    def _begin(self) -> None:
        shutil.rmtree(self.place.folder, ignore_errors=True)
        self.place.folder.mkdir()
        self._boot.write_text("first\n")
        digest = hashlib.sha256(self._content).hexdigest()
        self.place.write({"name": "net", "source": f"{self._server.url}/net.onnx", "sha256": digest})
        (self.place.folder / "tmp").mkdir()

    def _set_up(self, state: str) -> None:
        self._begin()
        if state != "empty":
            shutil.rmtree(self.place.folder)
            shutil.copytree(self._template, self.place.folder, symlinks=True)
        if state == "stored":
            shutil.rmtree(self.place.models_dir)

    def _ledger(self) -> Ledger:
        return Ledger(self._boot.with_name("ledger"))

    def _start(self, ledger: Ledger, fault: str, *arguments: str) -> Started:
        environment = self.place.environment(
            TMPDIR=str(self.place.folder / "tmp"), LD_PRELOAD=str(self._library), LD_CHAOS_ROOT=str(self.place.folder),
            LD_CHAOS_LEDGER=str(ledger.file), LD_CHAOS_FAULT=fault, LD_CHAOS_BOOT=str(self._boot),
        )  # fmt: skip
        return self._starter.start(self.place.command("--quiet", *arguments)[1:], self.place.folder, environment)

    @staticmethod
    def _arguments(state: str) -> list[str]:
        return ["--force"] if state == "built" else []

    def _disturbed(self, plan: Plan, chance: random.Random, ledger: Ledger) -> list[str]:
        """Run with a fault and return what was wrong with its end."""
        acts = self._counts[plan.state][plan.fault == "network"]
        name = {"power": "stop"}.get(plan.fault, plan.fault)
        fault = "none" if plan.fault in ("random-kill", "cut") else f"{name}:{1 + int(plan.at * acts)}"
        self._cut_after = int(plan.at * len(self._content)) if plan.fault == "cut" else None
        run = self._start(ledger, fault, *self._arguments(plan.state))
        if plan.fault == "random-kill":
            time.sleep(plan.at * 2)
            with contextlib.suppress(ProcessLookupError):
                os.kill(chance.choice([run.pid, *below(run.pid)]), signal.SIGKILL)
        elif plan.fault == "power":
            while run.poll() is None and not ledger.fired:
                time.sleep(0.01)
            self._cut_power(run, ledger)
        told = run.told()
        self._starter.wait_for_orphans()
        bug = run.returncode == _NEVER or "Traceback" in told
        return [f"the run ends with {run.returncode}: {told[-2000:]}"] if bug else []

    def _cut_power(self, run: Started, ledger: Ledger) -> None:
        """Kill everything at once, and take from each file what nobody had synced."""
        for pid in (run.pid, *below(run.pid)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        run.wait()
        self._starter.wait_for_orphans()
        lost = ledger.unsynced()
        for file in self._files():
            status = file.stat()
            if lost.get(status.st_ino, status.st_size) < status.st_size:
                os.truncate(file, lost[status.st_ino])
        self._boot.write_text("second\n")

    def _flip(self, chance: random.Random) -> None:
        """Turn a bit of a file that the tool relies on; what it writes for others may be edited by them."""
        files = [file for file in self._files() if file.stat().st_size and self._is_relied_on(file)]
        if not files:
            return
        file = chance.choice(sorted(files))
        data = bytearray(file.read_bytes())
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        with file.open("r+b") as stream:
            stream.write(data)

    def _is_relied_on(self, file: Path) -> bool:
        return self.place.cache_dir in file.parents or file.name in ("model.plan", "report.json")

    def _crowd(self, chance: random.Random, ledger: Ledger) -> list[str]:
        """Run many at once, of which some are killed."""
        runs = [self._start(ledger, "none") for _ in range(_CROWD)]
        for run in chance.sample(runs, 2):
            time.sleep(chance.uniform(0.0, 1.0))
            if run.poll() is None:
                os.kill(run.pid, signal.SIGKILL)
        ends = [(run.told(), run.returncode) for run in runs]
        self._starter.wait_for_orphans()
        return [f"one of many ends with {status}: {told[-2000:]}" for told, status in ends if status not in (0, -9)]

    def _files(self) -> Iterator[Path]:
        for file in self.place.folder.rglob("*"):
            if file.is_file() and not file.is_symlink():
                yield file

    def _published(self) -> dict[str, str]:
        """Return the digests of what was published, without what tells times."""
        folder = self.place.models_dir / "net"
        return {
            str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest()
            for file in folder.rglob("*")
            if file.is_file() and file.name not in ("report.json", "provenance.json") and not file.name.startswith(".")
        }

    def _not_verified(self, *, lenient: bool = False) -> list[str]:
        """Return what stands under a final name and is not what was verified."""
        wrong = [] if lenient else [
            f"{name} has other bytes than without a fault"
            for name, digest in self._published().items()
            if self._expected.get(name) != digest
        ]  # fmt: skip
        for report in self.place.models_dir.rglob("report.json"):
            try:
                document = json.loads(report.read_bytes())
            except ValueError:
                wrong += [] if lenient else [f"{report.name} of {report.parent.name} is not whole"]
                continue
            engine = document.get("engine")
            if not lenient and engine and engine["sha256"] != self._expected["1/model.plan"]:
                wrong.append("the report is of another engine")
        return wrong

    def _missing(self) -> list[str]:
        return sorted(f"{name} is missing" for name in set(self._expected) - set(self._published()))

    def _leftovers(self) -> list[str]:
        """Return what is there and would not be if there had been no fault."""
        here, usual = self.place.folder, {file.relative_to(self._template).parent for file in self._template.rglob("*")}
        found = [path for path in here.rglob("*") if path.parent.name != "logs"]  # they tell why something failed
        strange = [path for path in found if path.relative_to(here).parent not in usual or PARTIAL in path.name]
        busy = [path for path in found if path.parent.name in ("parts", "tmp", "work") and path.name != ".lock"]
        return [f"{path.relative_to(here)} is left over" for path in (*strange, *busy)]


def below(pid: int) -> list[int]:
    """Return the processes that descend from one."""
    found = children(pid)
    return [*found, *(each for child in found for each in below(child))]
