"""One writer for each model directory, also across processes and when a holder is killed."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from prepare_models.errors import HostError
from prepare_models.running.writer_lock import model_lock

HOLDER = """
import sys
from pathlib import Path
from prepare_models.running.writer_lock import model_lock

with model_lock(Path(sys.argv[1]), on_wait=lambda owner: None, stopped=lambda: False) as held:
    (held.control_dir / "leftover").write_text("x")
    print("held", flush=True)
    sys.stdin.read()
"""


@contextlib.contextmanager
def holder(output_dir: Path) -> Iterator[subprocess.Popen[str]]:
    """Hold the lock of a directory in another process."""
    command = [sys.executable, "-c", HOLDER, str(output_dir)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "held\n"
            yield process
        finally:
            process.kill()


def refuse(owner: str) -> None:
    raise AssertionError(f"waits for {owner}")


def test_a_free_lock_gives_an_empty_private_directory(tmp_path: Path) -> None:
    with model_lock(tmp_path / "seg", on_wait=refuse, stopped=lambda: False) as held:
        assert list(held.control_dir.iterdir()) == []
        assert held.control_dir.stat().st_mode & 0o777 == 0o700
        (held.control_dir / "job.json").write_text("{}", encoding="utf-8")
    assert not held.control_dir.exists()


def test_nothing_is_put_into_the_models_directory(tmp_path: Path) -> None:
    with model_lock(tmp_path / "models" / "seg", on_wait=refuse, stopped=lambda: False):
        assert not (tmp_path / "models").exists()


def test_another_process_is_waited_for_and_named_once(tmp_path: Path) -> None:
    owners: list[str] = []
    with holder(tmp_path / "seg") as other:

        def release(owner: str) -> None:
            owners.append(owner)
            assert other.stdin is not None
            other.stdin.close()

        with model_lock(tmp_path / "seg", on_wait=release, stopped=lambda: False) as held:
            assert list(held.control_dir.iterdir()) == []
        assert owners == [str(other.pid)]
        assert other.wait() == 0


def test_who_waits_can_be_stopped(tmp_path: Path) -> None:
    answers = iter((False, False, True))
    with holder(tmp_path / "seg"), pytest.raises(InterruptedError):
        model_lock(tmp_path / "seg", on_wait=lambda _: None, stopped=lambda: next(answers)).__enter__()


def test_a_killed_holder_leaves_neither_lock_nor_files(tmp_path: Path) -> None:
    with holder(tmp_path / "seg") as other:
        other.send_signal(signal.SIGKILL)
        other.wait()
        with model_lock(tmp_path / "seg", on_wait=refuse, stopped=lambda: False) as held:
            assert list(held.control_dir.iterdir()) == []


def test_a_child_that_inherits_the_descriptor_keeps_the_lock(tmp_path: Path) -> None:
    with model_lock(tmp_path / "seg", on_wait=refuse, stopped=lambda: False) as held:
        child = subprocess.Popen(
            [sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE, pass_fds=(held.descriptor,)
        )
    with child:
        owners: list[str] = []

        def release(owner: str) -> None:
            owners.append(owner)
            assert child.stdin is not None
            child.stdin.close()

        with model_lock(tmp_path / "seg", on_wait=release, stopped=lambda: False):
            assert owners == [str(os.getpid())]


def test_other_models_are_not_waited_for(tmp_path: Path) -> None:
    with holder(tmp_path / "a"), model_lock(tmp_path / "b", on_wait=refuse, stopped=lambda: False) as held:
        assert held.control_dir.is_dir()


def test_a_relative_and_an_absolute_path_share_one_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    waited: list[str] = []
    with holder(tmp_path / "seg") as other, pytest.raises(InterruptedError):
        model_lock(Path("seg"), on_wait=waited.append, stopped=lambda: bool(waited)).__enter__()
    assert waited == [str(other.pid)]


def test_a_cache_directory_that_can_not_be_used_says_how_to_choose_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREPARE_MODELS_CACHE_DIR", "/dev/null/cache")
    with pytest.raises(HostError) as caught:
        model_lock(tmp_path / "seg", on_wait=refuse, stopped=lambda: False).__enter__()
    assert "\n".join(map(str, caught.value.shown())) == (
        "error [environment] prepare-models: "
        "/dev/null/cache can't be used as the cache directory: Not a directory\n"
        "  -> choose another with PREPARE_MODELS_CACHE_DIR=DIR"
    )
