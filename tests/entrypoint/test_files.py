"""Files are whole or absent, whatever becomes of the process that writes them."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
from pathlib import Path
from typing import Iterator

import pytest

from prepare_models_entrypoint.contract.files import (
    PARTIAL,
    atomic_file,
    partial_file,
    remove_partials,
    replace,
    sha256_file,
    write_atomic,
    write_own,
)

from .children import MOMENTS, first_line, kill, kill_at, start

SIZE = 300_000
WRITE_FOREVER = f"""
    import itertools, sys
    from prepare_models_entrypoint.contract.files import write_atomic
    print("writing", flush=True)
    for round in itertools.count():
        write_atomic(sys.argv[1], b"%d" % (round % 10) * {SIZE})
"""
HOLD = """
    import sys, time
    from prepare_models_entrypoint.contract.files import partial_file
    with partial_file(sys.argv[1]) as (stream, partial):
        print(partial, flush=True)
        time.sleep(60)
"""

SHARE = """
    import os, signal, sys
    from prepare_models_entrypoint.contract.shared_files import share_file
    left = [int(sys.argv[3])]
    def hook(event, arguments):
        left[0] -= event == "os.rename"
        if event == "os.rename" and left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
    sys.addaudithook(hook)
    share_file(sys.argv[1], sys.argv[2], link=True)
"""


@pytest.fixture
def no_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


def mode_of(path: Path) -> int:
    return path.stat().st_mode & 0o777


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_killed_writer_leaves_the_old_file_or_the_new_one(tmp_path: Path, moment: float) -> None:
    target = tmp_path / "report.json"
    target.write_bytes(b"0" * SIZE)
    kill_at(moment, WRITE_FOREVER, target)
    content = target.read_bytes()
    assert len(content) == SIZE
    assert len(set(content)) == 1
    write_atomic(target, b"next")
    assert list(tmp_path.iterdir()) == [target], "the next writer removes what the dead one left"


@pytest.mark.parametrize("rename", [1, 2])
def test_what_a_killed_process_left_of_a_linked_file_is_a_leftover_of_that_file(tmp_path: Path, rename: int) -> None:
    source, target = tmp_path / "source", tmp_path / "net.onnx"
    source.write_bytes(b"net")
    sharing = start(SHARE, source, target, rename)
    sharing.communicate()
    assert sharing.returncode < 0
    assert list(tmp_path.iterdir()) != [source]
    remove_partials(tmp_path, of=target.name)
    assert (list(tmp_path.iterdir()), source.read_bytes()) == ([source], b"net")


def test_an_error_while_writing_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "report.json"
    write_atomic(target, b"old")
    with pytest.raises(KeyError), atomic_file(target) as stream:  # noqa: PT012  # the writing before the error is what is tested
        stream.write(b"half of the n")
        raise KeyError
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]


def test_an_unfinished_file_is_beside_its_target_hidden_and_marked(tmp_path: Path) -> None:
    with partial_file(tmp_path / "model.plan") as (stream, partial):
        stream.write(b"some")
        assert partial.parent == tmp_path
        assert partial.name.startswith(".model.plan.")
        assert partial.name.endswith(PARTIAL)
    assert not list(tmp_path.iterdir())


def test_only_marked_files_are_removed_as_leftovers(tmp_path: Path) -> None:
    for name in (f".model.plan.x1{PARTIAL}", "model.plan", ".hidden", f"visible{PARTIAL}"):
        (tmp_path / name).write_bytes(b"x")
    remove_partials(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".hidden", "model.plan", f"visible{PARTIAL}"]


def test_an_unfinished_file_stays_while_its_writer_lives(tmp_path: Path) -> None:
    child = start(HOLD, tmp_path / "model.plan")
    theirs = Path(first_line(child))
    with partial_file(tmp_path / "report.json") as (_, ours):
        remove_partials(tmp_path)
        assert sorted(tmp_path.iterdir()) == sorted([ours, theirs])
    kill(child)
    remove_partials(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_network_file_system_locks_for_one_writer_only_what_is_open_for_writing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def as_nfs(descriptor: int, kind: int) -> None:
        if kind & fcntl.LOCK_EX and fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
            raise OSError(errno.EBADF, "Bad file descriptor")
        flock(descriptor, kind)

    flock = fcntl.flock
    monkeypatch.setattr(fcntl, "flock", as_nfs)
    (tmp_path / f".report.json.x1{PARTIAL}").write_bytes(b"half")
    write_atomic(tmp_path / "report.json", b"whole")
    assert [file.name for file in tmp_path.iterdir()] == ["report.json"]


def test_what_only_has_the_name_of_a_leftover_stays_and_is_no_hindrance(tmp_path: Path) -> None:
    names = [f".report.json.{kind}{PARTIAL}" for kind in ("folder", "link", "pipe")]
    (tmp_path / names[0]).mkdir()
    (tmp_path / names[1]).symlink_to(names[1])
    os.mkfifo(str(tmp_path / names[2]))
    write_atomic(tmp_path / "report.json", b"whole")
    remove_partials(tmp_path)
    assert {names[0], names[1], "report.json"} <= {path.name for path in tmp_path.iterdir()}


def test_a_writer_leaves_alone_what_is_not_a_leftover_of_its_own_file(tmp_path: Path) -> None:
    others = [f".report.json5.x1{PARTIAL}", f".other.x1{PARTIAL}", ".report.json.x1", f".report[1].x1{PARTIAL}"]
    for name in others:
        (tmp_path / name).write_bytes(b"x")
    child = start(HOLD, tmp_path / "report.json")
    theirs = Path(first_line(child))
    for name in ("report.json", "report1"):
        write_atomic(tmp_path / name, b"x")
    assert {path.name for path in tmp_path.iterdir()} == {"report.json", "report1", theirs.name, *others}
    kill(child)


@pytest.mark.parametrize(("umask", "expected"), [(0o022, 0o644), (0o077, 0o600), (0o027, 0o640), (0, 0o644)])
@pytest.mark.usefixtures("no_umask")
def test_modes_follow_the_umask(tmp_path: Path, umask: int, expected: int) -> None:
    os.umask(umask)
    write_atomic(tmp_path / "file", b"x")
    assert mode_of(tmp_path / "file") == expected


@pytest.mark.usefixtures("no_umask")
def test_a_private_file_stays_private_without_a_umask(tmp_path: Path) -> None:
    with atomic_file(tmp_path / "request.json", mode=0o600) as stream:
        stream.write(b"x")
    assert mode_of(tmp_path / "request.json") == 0o600


@pytest.mark.parametrize("size", [0, 1, (1 << 20) - 1, 1 << 20, (1 << 20) + 1])
def test_sha256_of_a_file_is_that_of_its_bytes(tmp_path: Path, size: int) -> None:
    data = os.urandom(size)
    (tmp_path / "file").write_bytes(data)
    assert sha256_file(tmp_path / "file") == hashlib.sha256(data).hexdigest()


def test_a_pipe_is_written_and_stays_one(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(str(pipe))
    reader = os.open(str(pipe), os.O_RDONLY | os.O_NONBLOCK)
    try:
        write_atomic(pipe, b"content")
        assert os.read(reader, 100) == b"content"
    finally:
        os.close(reader)
    assert pipe.is_fifo()
    assert list(tmp_path.iterdir()) == [pipe]


def test_a_link_to_a_device_stays_one(tmp_path: Path) -> None:
    link = tmp_path / "null"
    link.symlink_to(os.devnull)
    write_atomic(link, b"content")
    assert link.is_symlink()
    with partial_file(link) as (_, partial), pytest.raises(FileExistsError, match="Not a regular file"):
        replace(partial, link)
    assert list(tmp_path.iterdir()) == [link]


def test_a_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    link = tmp_path / "report.json"
    link.symlink_to(tmp_path / "there/report.json")
    for content in (b"first", b"second"):
        write_atomic(link, content)
        assert link.is_symlink()
        assert [path.read_bytes() for path in (tmp_path / "there").iterdir()] == [content]


def test_a_file_of_a_directory_of_ours_replaces_a_link_or_a_pipe(tmp_path: Path) -> None:
    outside, folder = tmp_path / "outside", tmp_path / "models"
    outside.write_bytes(b"the user's")
    folder.mkdir()
    (folder / "link").symlink_to(outside)
    (folder / "dangling").symlink_to(tmp_path / "new")
    os.mkfifo(str(folder / "pipe"))
    for name in ("link", "dangling", "pipe"):
        write_own(folder / name, b"ours")
        assert not (folder / name).is_symlink()
        assert (folder / name).read_bytes() == b"ours"
    with partial_file(folder / "abandoned") as (_, partial):
        partial.unlink()
        partial.symlink_to(outside)
    assert outside.read_bytes() == b"the user's"
    assert not (tmp_path / "new").exists()
    assert len(list(folder.iterdir())) == 3


def test_a_file_system_without_locks_is_written_and_cleaned_as_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_locks(descriptor: int, kind: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")  # as NFS without its lock daemon says

    monkeypatch.setattr(fcntl, "flock", no_locks)
    for name in (f".model.plan.x1{PARTIAL}", f".report.json.x1{PARTIAL}"):
        (tmp_path / name).write_bytes(b"half")
    write_atomic(tmp_path / "report.json", b"whole")
    assert len(list(tmp_path.iterdir())) == 3, "another process may be writing them"
    remove_partials(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["report.json"]
