"""Devices as processes with roots of their own: nights of provisioning from one bundle, and what goes wrong there."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from tests.command import COMMAND, Workplace
from tests.simulators.web import Answer, Request, Server

CALM, CUT, DEAF, FULL, KILLED = FAULTS = ("calm", "cut", "deaf", "full", "killed")
_HEAD_ROOM = 1 << 20  # bytes that a full disk has besides the bundle: too few for what is unpacked from it


@dataclass
class Device:
    """A device. fault: of its first night. nights: exit statuses of fetch and of provision, and seconds, of each."""

    name: str
    root: Path
    fault: str
    nights: list[tuple[int, int, float]] = field(default_factory=list)

    @property
    def models_dir(self) -> Path:
        return self.root / "models"

    def night(self, url: str, *, calm: bool) -> None:
        """Fetch the bundle and provision from it, as a device's script does."""
        began = time.monotonic()
        source = f"{url}/{self.name}/site.bundle"
        fetched = self._do("fetch", source, "--output", str(self.root), "--attempts", "3").wait()
        provisioning = self._do(
            "provision", str(self.root / "site.bundle"), "--models-dir", str(self.models_dir), "--executor", "local",
            "--device", self.name,
        )  # fmt: skip
        if self.fault == KILLED and not calm:
            while provisioning.poll() is None and not (self.models_dir / "provision.json").exists():
                time.sleep(0.02)
            time.sleep(random.Random(self.name).uniform(0, 1))  # somewhere in the work
            provisioning.send_signal(signal.SIGKILL)
        self.nights.append((fetched, provisioning.wait(), time.monotonic() - began))

    def _do(self, *arguments: str) -> subprocess.Popen[bytes]:
        home = {f"PREPARE_MODELS_{name.upper()}_DIR": str(self.root / name) for name in ("cache", "state")}
        with (self.root.parent / f"{self.name}.log").open("ab") as log:
            return subprocess.Popen([COMMAND, *arguments], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                    env={**os.environ, **home}, cwd=self.root)  # fmt: skip

    def said(self) -> str:
        """Return what its commands printed."""
        return (self.root.parent / f"{self.name}.log").read_text(encoding="utf-8")


def bundle(place: Workplace, *models: Path) -> bytes:
    """Return a bundle of models with their engines, as built on this kind of machine."""
    place.folder.mkdir()
    place.write(*({"name": model.stem, "source": str(model)} for model in models))
    made = ["bundle", "create", str(place.manifest), "-o", "site.bundle", "--platform", "local"]
    for arguments in (
        place.command()[1:],
        ["lock", str(place.manifest), "--platform", "local"],
        [*made, "--no-wheels", "--engines"],
    ):
        done = place.call(*arguments)
        assert done.status == 0, done.stderr
    return (place.folder / "site.bundle").read_bytes()


@contextlib.contextmanager
def fleet(folder: Path, faults: Sequence[str], size: int) -> Iterator[list[Device]]:
    """Yield devices, each with a fault; a full disk is a small one. ``size``: of the bundle, in bytes."""
    with contextlib.ExitStack() as stack:
        names = [f"robot-{number:02}" for number in range(len(faults))]
        devices = [Device(name, folder / name, fault) for name, fault in zip(names, faults, strict=True)]
        for device in devices:
            device.root.mkdir(parents=True)
            if device.fault == FULL:
                disk = ["mount", "-t", "tmpfs", "-o", f"size={2 * size + _HEAD_ROOM}", "none", str(device.root)]
                subprocess.run(disk, check=True)
                stack.callback(subprocess.run, ["umount", "-l", str(device.root)], check=True)
        yield devices


def server(content: bytes, devices: Sequence[Device], calm: Callable[[], bool]) -> Server:
    """Return the server of the bundle: it cuts connections of some devices now and then, and of others always."""
    faults = {device.name: device.fault for device in devices}
    chance = random.Random(0)

    def decide(request: Request) -> Answer:
        name, _, file = request.target.strip("/").partition("/")
        whole = Answer(content, ranged=True, etag='"1"') if file == "site.bundle" else Answer(status=404)
        if calm() or faults[name] not in (CUT, DEAF):
            return whole
        whole.cut_after = 0 if faults[name] == DEAF else chance.randrange(len(content) // 4, len(content))
        return whole

    return Server(decide)


def night(devices: Sequence[Device], url: str, *, calm: bool, at_once: int) -> float:
    """Let all devices do their night's work; return the seconds that it took."""
    began = time.monotonic()
    with ThreadPoolExecutor(at_once) as pool:
        list(pool.map(lambda device: device.night(url, calm=calm), devices))
    return time.monotonic() - began


def more_room(devices: Sequence[Device]) -> None:
    """Do what an operator does after a night with a full disk."""
    for device in devices:
        if device.fault == FULL:
            subprocess.run(["mount", "-o", "remount,size=1g", str(device.root)], check=True)
