"""A process that parses a stranger's model: what it can reach is tried, on this kernel."""

from __future__ import annotations

import ctypes
import os
import platform
import resource
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Callable, List

import pytest

from prepare_models_entrypoint import confinement, landlock, reach
from prepare_models_entrypoint.confinement import confine, note_secret
from prepare_models_entrypoint.contract.conversion import Plugin
from prepare_models_entrypoint.contract.job import ModelJob
from prepare_models_entrypoint.contract.verification import CalibrationConfig
from prepare_models_entrypoint.landlock import Reach
from prepare_models_entrypoint.processes import supervise_fork

_REFUSED = ("PermissionError", "EOFError")


def confined(tmp_path: Path, work: Callable[[], object], allowed: Reach = Reach(read=["/proc"])) -> str:  # noqa: B008
    """Return what a confined child process answers."""

    def child(writer: int) -> int:
        private = tmp_path / "private"
        private.mkdir(exist_ok=True)
        confine(allowed._replace(write=[*allowed.write, str(private)]), private=private)
        try:
            answer = work()
        except OSError as error:
            answer = type(error).__name__
        os.write(writer, f"{answer}\n".encode())
        return 0

    lines: List[bytes] = []
    assert supervise_fork(child, log=tmp_path / "log", on_line=lines.append, timeout_s=30).exit_code == 0
    return b"".join(lines).decode().strip()


def landlock_version(tmp_path: Path) -> int:
    """Return the kernel's version of Landlock, as a process that restricts itself hears it; 0 without it."""
    told = confined_report(tmp_path)
    return 0 if "files" in told["missing"] else 3 if "truncation" in told["held"] else 1


def confined_report(tmp_path: Path) -> "dict[str, List[str]]":
    """Return what confining a child process reports."""
    lines: List[bytes] = []

    def child(writer: int) -> int:
        told = confine(Reach(), private=tmp_path)
        os.write(writer, f"{','.join(told['held'])} {','.join(told['missing'])}\n".encode())
        return 0

    assert supervise_fork(child, log=tmp_path / "log", on_line=lines.append, timeout_s=30).exit_code == 0
    held, missing = lines[0].decode().rstrip("\n").split(" ")
    return {"held": held.split(","), "missing": list(filter(None, missing.split(",")))}


@pytest.fixture
def files_are_kept(tmp_path: Path) -> None:
    if landlock_version(tmp_path) < landlock.WHOLE:
        pytest.skip("this kernel's Landlock does not refuse all that is tried here")


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_it_opens_no_connection(tmp_path: Path, family: int) -> None:
    socket.socket(family, socket.SOCK_STREAM).close()  # this process may
    assert confined(tmp_path, lambda: socket.socket(family, socket.SOCK_STREAM)) == "PermissionError"


@pytest.mark.skipif(platform.machine() != "x86_64", reason="another architecture has no second numbers")
def test_it_opens_no_connection_by_the_other_numbers_of_the_same_calls(tmp_path: Path) -> None:
    def other_socket() -> object:
        libc = ctypes.CDLL(None, use_errno=True)
        libc.syscall(ctypes.c_long(0x40000000 + 41), socket.AF_INET, socket.SOCK_STREAM, 0)
        return os.strerror(ctypes.get_errno())

    assert confined(tmp_path, other_socket) == "Operation not permitted"


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


def test_root_has_none_of_its_powers_but_over_files(tmp_path: Path) -> None:
    told = confined(tmp_path, lambda: Path("/proc/self/status").read_text().partition("CapPrm:")[2].split()[0])
    assert int(told, 16) & ~0b100000000100000000001111 == 0


def test_it_is_not_dumpable(tmp_path: Path) -> None:
    assert confined(tmp_path, lambda: ctypes.CDLL(None).prctl(3, 0, 0, 0, 0)) == "0"


@pytest.mark.usefixtures("files_are_kept")
def test_it_reads_what_it_was_given_and_nothing_else(tmp_path: Path) -> None:
    for name in ("model.onnx", "key.txt"):
        (tmp_path / name).write_text(name)
    allowed = Reach(read=[str(tmp_path / "model.onnx")])
    assert confined(tmp_path, (tmp_path / "model.onnx").read_text, allowed) == "model.onnx"
    assert confined(tmp_path, (tmp_path / "key.txt").read_text, allowed) == "PermissionError"
    assert confined(tmp_path, lambda: os.listdir(str(tmp_path)), allowed) == "PermissionError"
    assert confined(tmp_path, lambda: (tmp_path / "model.onnx").write_text("mine"), allowed) == "PermissionError"


@pytest.mark.usefixtures("files_are_kept")
def test_a_link_leads_to_nothing_that_it_was_not_given(tmp_path: Path) -> None:
    (tmp_path / "key.txt").write_text("s3cr3t")

    def by_a_link() -> str:
        link = tmp_path / "private" / "link"
        link.symlink_to(tmp_path / "key.txt")
        return link.read_text()

    assert confined(tmp_path, by_a_link) == "PermissionError"


@pytest.mark.usefixtures("files_are_kept")
@pytest.mark.parametrize(
    "harm",
    [
        lambda folder: (folder / "precious").write_text(""),
        lambda folder: os.truncate(str(folder / "precious"), 0),
        lambda folder: (folder / "precious").unlink(),
        lambda folder: (folder / "precious").rename(folder / "private" / "mine"),
        lambda folder: os.link(str(folder / "precious"), str(folder / "private" / "mine")),
        lambda folder: (folder / "new").write_text(""),
        lambda folder: (folder / "new").mkdir(),
        lambda folder: (folder / "new").symlink_to("/"),
        lambda folder: os.mkfifo(str(folder / "new")),
    ],
    ids=["write", "truncate", "remove", "move", "link", "create", "directory", "symlink", "pipe"],
)
def test_it_changes_nothing_outside(tmp_path: Path, harm: Callable[[Path], object]) -> None:
    (tmp_path / "precious").write_text("data")
    assert confined(tmp_path, lambda: harm(tmp_path)) in ("PermissionError", "OSError")
    assert (tmp_path / "precious").read_text() == "data"
    assert not (tmp_path / "new").exists()


def test_its_own_directory_is_writable_and_has_its_temporary_files(tmp_path: Path) -> None:
    def write() -> str:
        with tempfile.NamedTemporaryFile("w+", suffix=".tmp") as file:
            file.write("x")
            return str(Path(file.name).parent)

    assert confined(tmp_path, write) == str(tmp_path / "private")


@pytest.mark.usefixtures("files_are_kept")
@pytest.mark.parametrize("what", ["environ", "mem", "maps", "root/etc/hostname", "fd/0"])
def test_it_can_not_look_into_its_parent(tmp_path: Path, what: str) -> None:
    parent = os.getpid()
    assert Path(f"/proc/{parent}/environ").read_bytes()  # this process may

    def look() -> object:
        with open(f"/proc/{parent}/{what}", "rb", 0) as stream:
            stream.seek(0)
            return len(stream.read(16))

    assert confined(tmp_path, look) == "PermissionError"


def test_it_can_not_read_the_memory_of_others_without_a_file(tmp_path: Path) -> None:
    parent, secret = os.getpid(), ctypes.create_string_buffer(b"s3cr3t")

    def read() -> object:
        libc = ctypes.CDLL(None, use_errno=True)
        into = ctypes.create_string_buffer(8)
        vector = (ctypes.c_size_t * 4)(ctypes.addressof(into), 6, ctypes.addressof(secret), 6)
        there = ctypes.byref(vector, 2 * ctypes.sizeof(ctypes.c_size_t))
        libc.process_vm_readv(parent, vector, ctypes.c_ulong(1), there, ctypes.c_ulong(1), ctypes.c_ulong(0))
        return os.strerror(ctypes.get_errno()), into.value

    assert confined(tmp_path, read) == "('Operation not permitted', b'')"


def test_it_stops_no_other_process(tmp_path: Path) -> None:
    if "files" in confined_report(tmp_path)["missing"]:
        pytest.skip("this kernel has no Landlock")
    with subprocess.Popen(["sleep", "60"]) as other:
        answer = confined(tmp_path, lambda: os.kill(other.pid, signal.SIGTERM))
        time.sleep(0.05)
        alive = other.poll() is None
        other.kill()
    if answer == "None":
        pytest.skip("this kernel's Landlock has no scopes yet")
    assert (answer, alive) == ("PermissionError", True)


def test_its_children_are_as_confined_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "key.txt").write_text("s3cr3t")
    system = Reach(run=["/usr", "/bin", "/lib", "/lib64"], read=["/proc", "/etc/ld.so.cache"], devices=["/dev/null"])

    def child() -> object:
        done = subprocess.run(["cat", str(tmp_path / "key.txt")], capture_output=True, check=False)
        return done.returncode, done.stdout

    expected = "(0, b's3cr3t')" if "files" in confined_report(tmp_path)["missing"] else "(1, b'')"
    assert confined(tmp_path, child, system) == expected


def test_what_it_tells_is_what_holds(tmp_path: Path) -> None:
    told = confined_report(tmp_path)
    names = {
        confinement.ENVIRONMENT, confinement.SECRETS, confinement.CORE, confinement.MEMORY, confinement.PRIVILEGES,
        confinement.ROOT, confinement.FILES, confinement.TRUNCATION, confinement.NETWORK,
    }  # fmt: skip
    assert set(told["held"]) | set(told["missing"]) == names
    assert not set(told["held"]) & set(told["missing"])


def test_a_user_can_leave_files_open_and_the_report_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREPARE_MODELS_UNCONFINED", "1")
    (tmp_path / "file").write_text("open")
    assert confined(tmp_path, (tmp_path / "file").read_text) == "open"
    assert {"files", "truncation"} <= set(confined_report(tmp_path)["missing"])


def test_the_reach_of_a_build_has_what_the_manifest_names_and_no_key(tmp_path: Path) -> None:
    samples = tmp_path / "samples"
    samples.mkdir()
    for name in ("a.npy", "secret.txt"):
        (samples / name).write_bytes(b"")
    (tmp_path / "plugin").mkdir()
    library = tmp_path / "plugin" / "libplugin.so"
    library.write_bytes(b"")
    (tmp_path / "plugin" / "libother.so.1").write_bytes(b"")
    model = ModelJob(
        name="net", source=str(tmp_path / "net.onnx"), output_dir=str(tmp_path), deploy_dir=str(tmp_path),
        key_file=str(tmp_path / "key.txt"), calibration=CalibrationConfig(images=str(samples)),
        plugins=(Plugin(file=str(library), sha256="0" * 64),),
    )  # fmt: skip
    found = reach.of(work_dir=tmp_path / "work", source=tmp_path / "net.onnx", model=model, read=[None], write=["plan"])
    assert {str(tmp_path / "net.onnx"), str(samples / "a.npy")} <= set(found.read)
    assert {str(library), str(tmp_path / "plugin" / "libother.so.1")} <= set(found.run)
    assert (list(found.listed), list(found.write)) == ([str(samples)], [str(tmp_path / "work"), "plan"])
    named = {path for paths in found for path in paths}
    assert not named & {str(tmp_path), str(tmp_path / "key.txt"), str(samples / "secret.txt"), "/", "/etc", "/dev"}


def test_a_home_directory_in_the_search_path_is_not_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "lib").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.syspath_prepend(str(tmp_path / "lib"))
    found = reach.of(work_dir=tmp_path / "work")
    assert str(tmp_path / "lib") in found.run
    assert str(tmp_path) not in found.run
