"""One build at a time runs on a GPU: a driver that names one is compiled here, as the real one needs the device."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

DRIVER = """
#include <string.h>
int cuInit(unsigned flags) { return 0; }
int cuDeviceGet(int *device, int ordinal) { *device = ordinal; return ordinal == 0 ? 0 : 101; }
int cuDeviceGetUuid(void *uuid, int device) { memset(uuid, UUID, 16); return 0; }
"""
HOLDER = """
import sys
from prepare_models_entrypoint import gpu_turn
with gpu_turn.held(sys.argv[1], lambda: print("waits", flush=True)):
    print("holds", flush=True)
    sys.stdin.read()
"""


def driver(folder: Path, uuid: int) -> Path:
    """Compile a driver of one GPU, and return the folder for the loader's path."""
    folder.mkdir()
    source = folder / "cuda.c"
    source.write_text(DRIVER, encoding="ascii")
    subprocess.run(
        ["cc", "-shared", "-fPIC", f"-DUUID={uuid}", "-o", str(folder / "libcuda.so.1"), str(source)], check=True
    )
    return folder


class Holder:
    """A process that takes its turn and keeps it until it ends."""

    def __init__(self, locks: Path, libraries: Path) -> None:
        environment = {**os.environ, "LD_LIBRARY_PATH": str(libraries), "PYTHONPATH": os.pathsep.join(sys.path)}
        self.process = subprocess.Popen(
            [sys.executable, "-c", HOLDER, str(locks)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
        )

    def says(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().decode("ascii").strip()

    def ends(self) -> None:
        self.process.communicate()


def test_the_second_waits_until_the_first_has_finished(tmp_path: Path) -> None:
    libraries = driver(tmp_path / "one", 1)
    first = Holder(tmp_path / "locks", libraries)
    assert first.says() == "holds"
    second = Holder(tmp_path / "locks", libraries)
    assert second.says() == "waits"
    first.ends()
    assert second.says() == "holds"
    second.ends()


def test_a_killed_build_leaves_the_gpu_to_the_next(tmp_path: Path) -> None:
    libraries = driver(tmp_path / "one", 1)
    first = Holder(tmp_path / "locks", libraries)
    assert first.says() == "holds"
    first.process.send_signal(signal.SIGKILL)
    first.process.communicate()
    second = Holder(tmp_path / "locks", libraries)
    assert second.says() == "holds"
    second.ends()


def test_another_gpu_is_free(tmp_path: Path) -> None:
    first, second = (Holder(tmp_path / "locks", driver(tmp_path / str(uuid), uuid)) for uuid in (1, 2))
    assert [first.says(), second.says()] == ["holds", "holds"]
    first.ends()
    second.ends()


@pytest.mark.skipif(Path("/dev/nvidiactl").exists(), reason="there is a GPU here")
def test_without_a_gpu_nobody_waits(tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    first, second = (Holder(tmp_path / "locks", tmp_path / "none") for _ in range(2))
    assert [first.says(), second.says()] == ["holds", "holds"]
    assert not (tmp_path / "locks").exists()
    first.ends()
    second.ends()
