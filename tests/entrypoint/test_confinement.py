"""A process that parses a stranger's model: what it can reach is tried, on this kernel."""

from __future__ import annotations

import os
import resource
import socket
from pathlib import Path
from typing import Callable, List

import pytest

from prepare_models_entrypoint.confinement import confine, note_secret
from prepare_models_entrypoint.processes import supervise_fork


def confined(tmp_path: Path, work: Callable[[], object]) -> str:
    """Return what a confined child process answers."""

    def child(writer: int) -> int:
        confine()
        try:
            answer = work()
        except OSError as error:
            answer = type(error).__name__
        os.write(writer, f"{answer}\n".encode())
        return 0

    lines: List[bytes] = []
    assert supervise_fork(child, log=tmp_path / "log", on_line=lines.append, timeout_s=30).exit_code == 0
    return b"".join(lines).decode().strip()


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_it_opens_no_connection(tmp_path: Path, family: int) -> None:
    socket.socket(family, socket.SOCK_STREAM).close()  # this process may
    assert confined(tmp_path, lambda: socket.socket(family, socket.SOCK_STREAM)) == "PermissionError"


def test_sockets_of_this_machine_stay(tmp_path: Path) -> None:
    assert confined(tmp_path, lambda: socket.socket(socket.AF_UNIX).family.name) == "AF_UNIX"


def test_it_has_no_secrets_of_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s3cr3t")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    assert confined(tmp_path, lambda: os.environ.get("AWS_SECRET_ACCESS_KEY")) == "None"
    assert confined(tmp_path, lambda: os.environ.get("CUDA_VISIBLE_DEVICES")) == "0"
    assert os.environ["AWS_SECRET_ACCESS_KEY"] == "s3cr3t"


def test_descriptors_of_keys_are_closed(tmp_path: Path) -> None:
    descriptor = os.memfd_create("key")
    os.write(descriptor, b"tlt_encode")
    note_secret(f"/proc/self/fd/{descriptor}")
    assert confined(tmp_path, lambda: os.pread(descriptor, 10, 0)) == "OSError"
    assert os.pread(descriptor, 10, 0) == b"tlt_encode"
    os.close(descriptor)


def test_it_leaves_no_core_and_gains_no_privileges(tmp_path: Path) -> None:
    assert confined(tmp_path, lambda: resource.getrlimit(resource.RLIMIT_CORE)) == "(0, 0)"
    status = confined(tmp_path, lambda: Path("/proc/self/status").read_text().partition("NoNewPrivs:")[2].split()[0])
    assert status == "1"
