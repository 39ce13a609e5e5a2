"""What is sent to a container of another machine, and what is taken from it."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from prepare_models.docker.copied_files import Bind, archives, unpack, volumes
from prepare_models.errors import HostError, InterruptedRunError
from prepare_models.executors.containers import publish_copied
from prepare_models.executors.work import Step, Work
from prepare_models.manifest.model import ModelSpec
from prepare_models_entrypoint.contract.job import JobKind

from .records import PLAN_BYTES, RUNTIME, digest, report_of


def no() -> bool:
    return False


def no_matter(done: int, total: int) -> None:
    assert done <= total


def packed(entries: dict[str, bytes | None], **kinds: bytes) -> bytes:
    """Return a tar; None makes a directory, ``kinds`` entries of other types that point to /etc/passwd."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as archive:
        for name, content in entries.items():
            entry = tarfile.TarInfo(name)
            entry.type = tarfile.DIRTYPE if content is None else tarfile.REGTYPE
            entry.size, entry.mode = len(content or b""), 0o640
            archive.addfile(entry, io.BytesIO(content or b""))
        for name, kind in kinds.items():
            entry = tarfile.TarInfo(f"out/{name}")
            entry.type, entry.linkname = kind, "/etc/passwd"
            archive.addfile(entry)
    return data.getvalue()


def test_no_volume_lies_in_another() -> None:
    targets = [
        "/home/me/m/net",
        "/home/me/model.onnx",
        "/run/prepare-models/job",
        "/home/me/.cache/pm/work",
        "/data/a/b",
    ]
    found = volumes([Bind(Path(target), target) for target in targets])
    assert set(found) == {"/run/prepare-models", "/home/me", "/data/a"}


@pytest.mark.parametrize(
    "target", ["/model.onnx", "/tmp/model.onnx", "/usr/lib/x86_64-linux-gnu/libp.so", "/w/../etc/pki/ca.pem"]
)
def test_what_would_hide_the_containers_own_files_is_refused(target: str) -> None:
    with pytest.raises(HostError, match="the container's own") as caught:
        volumes([Bind(Path(target), target)])
    assert caught.value.code == "docker-remote"


def test_what_is_read_goes_along_and_what_is_written_is_an_empty_directory(tmp_path: Path) -> None:
    for name in ("samples/deep/1.png", "out/old", "elsewhere"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(name.encode())
    (tmp_path / "samples/link.png").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "samples/loop").symlink_to(tmp_path / "samples")
    (tmp_path / "key").write_bytes(b"secret")
    (tmp_path / "key").chmod(0o400)
    binds = [
        Bind(tmp_path / "samples", "/w/data/samples"),
        Bind(tmp_path / "out", "/w/out", read_only=False),
        Bind(tmp_path / "key", "/run/prepare-models/key"),
    ]
    found: dict[str, tuple[int, int, int, bytes]] = {}
    told: list[tuple[int, int]] = []
    for place, pieces in archives(binds, "1000:1001", no, lambda *at: told.append(at)):
        with tarfile.open(fileobj=io.BytesIO(b"".join(pieces))) as archive:
            for entry in archive:
                content = archive.extractfile(entry)
                read = content.read() if content else b"/"
                found[f"{place}/{entry.name}"] = (entry.uid, entry.gid, entry.mode, read)
    assert {owner[:2] for owner in found.values()} == {(1000, 1001)}
    assert {name: what[3] for name, what in found.items()} == {
        "/w/data": b"/", "/w/data/samples": b"/", "/w/data/samples/deep": b"/",
        "/w/data/samples/deep/1.png": b"samples/deep/1.png", "/w/data/samples/link.png": b"elsewhere",
        "/w/out": b"/", "/run/prepare-models/key": b"secret",
    }  # fmt: skip
    assert found["/run/prepare-models/key"][2] == 0o400
    assert {total for _, total in told} == {told[-1][0]}


def test_a_path_that_leads_up_again_is_there_with_what_it_leads_through(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "model.onnx").write_bytes(b"model")
    (tmp_path / "net").mkdir()
    binds = [
        Bind(tmp_path / "a/../model.onnx", "/w/a/../model.onnx"),
        Bind(tmp_path / "net", "/w/a/../models/net", read_only=False),
        Bind(tmp_path / "net", "/x/../y/net", read_only=False),
    ]
    assert set(volumes(binds)) == {"/w", "/x", "/y"}
    names = set()
    for place, pieces in archives(binds, "0:0", no, no_matter):
        with tarfile.open(fileobj=io.BytesIO(b"".join(pieces))) as archive:
            names |= {f"{place}/{name}" for name in archive.getnames()}
    assert names == {"/w/a", "/w/model.onnx", "/w/models", "/w/models/net", "/y/net"}


def test_what_can_not_be_read_is_told_as_such(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "model.onnx").write_bytes(b"model")

    def denied(self: Path, *_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "open", denied)
    ((_, pieces),) = archives([Bind(tmp_path / "model.onnx", "/w/model.onnx")], "0:0", no, no_matter)
    with pytest.raises(HostError, match="can't be read: Permission denied"):
        b"".join(pieces)


def test_an_archive_that_is_cut_short_is_no_result(tmp_path: Path) -> None:
    data = packed({"out": None, "out/1": None, "out/1/model.plan": bytes(5000)})
    with pytest.raises(HostError, match="incomplete archive"):
        unpack([data[:4000]], tmp_path)
    assert not (tmp_path / "1/model.plan").exists()


def test_sending_ends_when_the_run_is_stopped(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(bytes(10 << 20))
    asked: list[int] = []

    def after_three_pieces() -> bool:
        asked.append(1)
        return len(asked) > 3

    ((_, pieces),) = archives([Bind(tmp_path / "model.onnx", "/w/model.onnx")], "0:0", after_three_pieces, no_matter)
    with pytest.raises(InterruptedRunError):
        b"".join(pieces)
    assert len(asked) == 4


def test_what_was_made_comes_back_beside_what_is_there(tmp_path: Path) -> None:
    data = packed({"out": None, "out/1": None, "out/1/model.plan": b"plan", "out/report.json": b"{}"})
    (tmp_path / "there").mkdir()
    (tmp_path / "there/kept").write_bytes(b"kept")
    unpack((data[at : at + 700] for at in range(0, len(data), 700)), tmp_path / "there")
    files = {str(path.relative_to(tmp_path)): path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert files == {"there/1/model.plan": b"plan", "there/report.json": b"{}", "there/kept": b"kept"}
    assert (tmp_path / "there/1/model.plan").stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize(
    "archive",
    [
        lambda: packed({"out": None, "out/../../escaped": b"x"}),
        lambda: packed({"out/a/../../../escaped": b"x"}),
        lambda: packed({}, link=tarfile.SYMTYPE, hard=tarfile.LNKTYPE, device=tarfile.CHRTYPE, pipe=tarfile.FIFOTYPE),
        lambda: packed({"out/.model.plan.x.prepare-models-partial": b"half"}),
    ],
)
def test_nothing_else_comes_back(tmp_path: Path, archive: Callable[[], bytes]) -> None:
    (tmp_path / "there").mkdir()
    unpack([archive()], tmp_path / "there")
    assert [path.name for path in tmp_path.rglob("*")] == ["there"]


def test_an_engine_that_changed_on_its_way_is_not_published(tmp_path: Path) -> None:
    spec, target = ModelSpec(name="seg", source="/a.onnx", line=1), tmp_path / "models" / "seg"
    report = report_of(spec, target, {"model": digest(b"model")}, RUNTIME)
    step = Step(Work(JobKind.RUN, spec, target, tmp_path, "run"), JobKind.RUN, fetch=False)
    plan = step.folder / "made" / "1" / "model.plan"
    plan.parent.mkdir(parents=True)
    plan.write_bytes(PLAN_BYTES[:-1] + b"!")
    error = publish_copied(step, report)
    assert error is not None
    assert error["code"] == "docker-lost"
    assert not target.exists()
