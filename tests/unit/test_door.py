"""How the tool ends: one line and a status for everything that can go wrong, a bug included."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest

from prepare_models import __main__ as door
from prepare_models import __version__
from prepare_models.errors import HostError, InterruptedRunError, PrepareModelsError, UsageError
from tests.command import COMMAND

from .test_report_views import run

SECRET = "nvapi-s3cr3t"


def end_with(error: BaseException, monkeypatch: pytest.MonkeyPatch) -> int:
    """Return the status with which the tool ends when a command fails so."""

    def command(argv: object) -> NoReturn:
        raise error

    monkeypatch.setattr(door, "run_command", command)
    return door.main([])


@pytest.mark.parametrize(
    ("error", "status", "told"),
    [
        (UsageError("wrong", hint="right"), 2, "error [usage] prepare-models: wrong\n  -> right\n"),
        (
            HostError("no backend", hint="install one"),
            3,
            "error [environment] prepare-models: no backend\n  -> install one\n",
        ),
        (PrepareModelsError("failed"), 1, "error [failed] prepare-models: failed\n"),
        (InterruptedRunError("stopped by SIGTERM"), 130, "error [interrupted] prepare-models: stopped by SIGTERM\n"),
        (KeyboardInterrupt(), 130, "error [interrupted] prepare-models: interrupted\n"),
    ],
)
def test_expected_ends(
    error: BaseException,
    status: int,
    told: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert end_with(error, monkeypatch) == status
    assert capsys.readouterr().err == told


def test_a_bug_is_a_message_and_a_file_without_secrets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("NGC_API_KEY", SECRET)
    cause = KeyError(f"/home/somebody/{SECRET}")
    cause.__context__ = OSError(f"key {SECRET}")
    error = RuntimeError(f"https://user:{SECRET}@example.com")
    error.__cause__ = cause
    assert end_with(error, monkeypatch) == 70
    told = capsys.readouterr().err
    (file,) = tmp_path.iterdir()
    assert told == f"error [internal] prepare-models: a bug: RuntimeError\n  -> please report it with {file}\n"
    report = file.read_text(encoding="utf-8")
    assert SECRET not in report
    assert "somebody" not in report
    assert f"prepare-models {__version__}" in report
    assert [name for name in ("RuntimeError", "KeyError", "OSError") if f"builtins.{name}" in report] == [
        "RuntimeError",
        "KeyError",
        "OSError",
    ]
    assert "prepare_models/__main__.py:" in report
    assert str(Path(door.__file__).parents[1]) not in report
    assert file.stat().st_mode & 0o077 == 0


@pytest.fixture
def at_a_terminal() -> Iterator[None]:
    """Undo what nohup does to whoever is started by it."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
@pytest.mark.usefixtures("at_a_terminal")
def test_a_signal_ends_every_command_as_ctrl_c_does(
    number: signal.Signals, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(door, "run_command", lambda argv: signal.raise_signal(number))
    assert door.main([]) == 130
    assert capsys.readouterr().err == f"error [interrupted] prepare-models: stopped by {number.name}\n"
    assert signal.getsignal(number) is signal.SIG_DFL


@pytest.mark.parametrize("arguments", [["schema", "report"], ["--help"], ["--version"]])
def test_a_reader_that_goes_away_is_no_bug(arguments: list[str]) -> None:
    program = [sys.executable, "-m", "prepare_models", *arguments]
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    with subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=buffered) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        told = process.stderr.read()
    assert (process.returncode, told) == (130, b"")


def test_a_pipe_that_its_parent_made_not_to_wait_gets_the_whole_output() -> None:
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    with open(reader, "rb") as stream:
        process = subprocess.Popen([sys.executable, "-m", "prepare_models", "schema", "report"], stdout=writer)
        os.close(writer)
        json.loads(stream.read())
    assert process.wait() == 0


def test_a_full_disk_under_the_output_is_no_bug() -> None:
    command = [sys.executable, "-m", "prepare_models", "schema", "report"]
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 3
    assert done.stderr.startswith("error [disk-full] prepare-models: no room left to write the output")
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        done = subprocess.run(command, stdout=full, stderr=full, text=True, check=False)
    assert done.returncode == 3


@pytest.mark.parametrize("closed", ["0", "1", "2", "0 1 2"])
def test_a_closed_stream_is_no_bug(closed: str) -> None:
    redirections = " ".join(f"{number}>&-" for number in closed.split())
    program = f"{sys.executable} -m prepare_models schema report {redirections}"
    done = subprocess.run(["sh", "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert bool(done.stdout) is ("1" not in closed)


def test_a_directory_that_is_gone_is_no_bug(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    program = f"rmdir {gone}; {sys.executable} -I -m prepare_models doctor"
    done = subprocess.run(["sh", "-c", program], cwd=gone, capture_output=True, text=True, check=False)
    assert done.returncode == 3
    assert done.stderr.startswith("error [environment] prepare-models: the current directory no longer exists\n  -> ")


def test_what_may_not_be_read_is_no_bug(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(door, "_forget_output", lambda: None)
    assert end_with(PermissionError(13, "Permission denied", "/srv/models"), monkeypatch) == 3
    told = capsys.readouterr().err
    assert told.startswith("error [environment] prepare-models: /srv/models: Permission denied\n  -> ")


@pytest.mark.parametrize(
    ("arguments", "status", "told"),
    [
        (["run", "models.yaml", "--models-dir", os.fsdecode(b"m\xff")], 3, "as models directory: it is not UTF-8"),
        (["run", "models.yaml", "--executor", "local", "--platform", "rtx"], 2, "are for containers, and"),
        (["bundle", "ls", "."], 1, ". is a directory, not a bundle"),
        (["bundle", "verify", ""], 1, ". is a directory, not a bundle"),
        (["image", "load", "absent.tar"], 2, "absent.tar is not a file"),
        (["image", "save"], 2, "image save needs a file"),
        (["image", "pull", "--platform", "rtx"], 2, "there is no public registry"),
    ],
)
def test_what_can_be_told_from_the_command_line_is_told_before_anything_is_asked(
    arguments: list[str], status: int, told: str, tmp_path: Path
) -> None:
    (tmp_path / "models.yaml").write_text("{version: 1, models: [{name: a, source: a.onnx}]}", encoding="utf-8")
    variables = {"PREPARE_MODELS_CACHE_DIR": str(tmp_path / "cache"), "DOCKER_HOST": f"unix://{tmp_path}/none.sock"}
    done = subprocess.run(
        [sys.executable, "-m", "prepare_models", *arguments], cwd=tmp_path, env={**os.environ, **variables},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, told in done.stderr) == (status, True), done.stderr
    assert not (tmp_path / "m\udcff").exists()


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (OSError(errno.EMFILE, "Too many open files", "x"), "ulimit -n"),
        (OSError(errno.EFBIG, "File too large"), "ulimit -f"),
        (OSError(errno.EIO, "Input/output error", "/data/x"), "dmesg"),
        (OSError(errno.ESTALE, "Stale file handle", "/nfs/x"), "dmesg"),
        (OSError(errno.ENOTCONN, "Transport endpoint is not connected"), "dmesg"),
        (OSError(errno.EAGAIN, "Resource temporarily unavailable"), "ulimit -u"),
        (OSError(errno.ETXTBSY, "Text file busy", "/dev/null"), "/dev/null: Text file busy"),
        (MemoryError(), "swap"),
    ],
)
def test_a_limit_of_the_machine_is_no_bug(
    error: Exception, told: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(_: object) -> int:
        raise error

    monkeypatch.setattr(door, "run_command", fail)
    assert door.main([]) == 3
    assert told in capsys.readouterr().err


def test_a_file_of_the_wrong_kind_or_size_is_no_limit_of_the_machine(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    listening, large = tmp_path / "socket", tmp_path / "large"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(listening))
    with large.open("wb") as stream:
        stream.truncate(100 << 20)
    for file in (listening, large):
        assert door.main(["report", "render", str(file), "--format", "html"]) == 2
        assert "give a report.json that run wrote" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("limit", "command", "told"),
    [
        ("-f 1", ("report", "render", "report.json", "--format", "html", "-o", "out.html"), "ulimit -f unlimited"),
        ("-n 6", ("report", "render", "report.json", "--format", "html", "-o", "out.html"), "ulimit -n 4096"),
        ("-c 0", ("report", "render", "/proc/self/mem", "--format", "html"), "dmesg"),
    ],
)
def test_a_limit_of_the_system_has_its_own_fix_wherever_it_was_met(
    limit: str, command: tuple[str, ...], told: str, tmp_path: Path
) -> None:
    (tmp_path / "report.json").write_text(json.dumps(run()))
    done = subprocess.run(
        ["bash", "-c", f'ulimit {limit}; exec "$@"', "bash", COMMAND, *command],
        capture_output=True, text=True, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert (done.returncode, told in done.stderr) == (3, True), done.stderr


def test_what_a_stranger_wrote_never_commands_the_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    manifest = tmp_path / "models.yaml"
    manifest.write_text(
        'version: 1\n"\\e[31mred": 1\nmodels:\n- {name: "a\\u202eb", source: m.onnx}\n', encoding="utf-8"
    )
    assert door.main(["plan", str(manifest)]) == 2
    told = capsys.readouterr().err
    assert "\x1b" not in told
    assert "\u202e" not in told
    assert r"\x1b[31mred" in told


@pytest.mark.parametrize(
    ("mode", "told"), [(0o777, "everybody may write"), (0o1777, ""), (0o755, "")], ids=["open", "sticky", "own"]
)
def test_a_cache_that_others_may_write_is_not_used(
    mode: int, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(mode)
    monkeypatch.setenv("PREPARE_MODELS_CACHE_DIR", str(shared / "cache"))
    (tmp_path / "models.yaml").write_text("version: 1\nmodels: [{name: a, source: m.onnx}]\n", encoding="utf-8")
    status = door.main(["lock", str(tmp_path / "models.yaml"), "--platform", "local"])
    output = capsys.readouterr().err
    assert ("can't be trusted" in output) == bool(told)
    assert told in output
    assert status == 3 or not told


def test_a_cache_that_a_link_leads_to_is_judged_where_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "shared" / "cache").mkdir(parents=True)
    (tmp_path / "shared").chmod(0o777)
    (tmp_path / "own").symlink_to(tmp_path / "shared" / "cache")
    monkeypatch.setenv("PREPARE_MODELS_CACHE_DIR", str(tmp_path / "own"))
    assert door.main(["lock", "models.yaml"]) == 3
    assert f"everybody may write {tmp_path / 'shared'}" in capsys.readouterr().err


def test_a_place_that_no_report_can_name_is_refused_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    latin = tmp_path / os.fsdecode(b"mod\xe8les")
    latin.mkdir()
    for folder in (tmp_path, latin):
        (folder / "models.yaml").write_text("version: 1\nmodels: [{name: a, source: m.onnx}]\n", encoding="utf-8")
    monkeypatch.chdir(latin)
    for words in (["models.yaml"], [str(tmp_path / "models.yaml"), "--models-dir", "engines"]):
        assert door.main(["run", *words, "--executor", "local"]) == 3
        assert "rename the directory" in capsys.readouterr().err


def test_a_user_without_account_or_home_can_work(tmp_path: Path) -> None:
    code = (
        "import os, pwd; os.environ.pop('HOME', None)\n"
        "def unknown(uid): raise KeyError(uid)\n"
        "pwd.getpwuid = unknown\n"
        "from prepare_models.docker.address import socket_path\n"
        "from prepare_models.running.connection import ConnectionSpec\n"
        "print(socket_path(), ConnectionSpec().secrets() is None or True)"
    )
    environment = {**os.environ, "DOCKER_HOST": ""}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path, env=environment
    )
    assert done.stdout.split() == ["/var/run/docker.sock", "True"], done.stderr


INTERRUPTED = """
import os, signal, sys
def interrupt(event, arguments):
    if event == "import" and arguments[0] == "prepare_models.errors":
        os.kill(os.getpid(), signal.SIGINT)
sys.addaudithook(interrupt)
from prepare_models.__main__ import main
"""


def test_ctrl_c_during_the_first_imports_leaves_no_traceback() -> None:
    done = subprocess.run([sys.executable, "-c", INTERRUPTED], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (-signal.SIGINT, "")
