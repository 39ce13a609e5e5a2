"""What lies in the cache is listed, verified and pruned by its last use; what is at work stays."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from prepare_models.__main__ import main
from prepare_models.bundle import folders
from prepare_models.manifest.model import ModelSpec
from prepare_models.running.writer_lock import locked_now
from prepare_models.store import PLAN
from prepare_models.store.contents import KINDS
from prepare_models.store.local import open_store
from prepare_models_entrypoint.contract.files import PARTIAL

from .records import PLAN_BYTES, RUNTIME, digest, report_of

DAY = 86400.0


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """A cache with two engines, a download and a timing cache, used 1 to 4 days ago in this order."""
    root = tmp_path / "cache"
    keys = [put_engine(tmp_path, name) for name in ("seg", "gaze")]
    weights = digest(b"weights")
    record, link = root / f"downloads/records/{weights}.json", root / f"downloads/names/{weights}/net.onnx"
    for file, content in ((root / f"downloads/blobs/{weights}", b"weights"), (record, b"{}")):
        file.parent.mkdir(parents=True)
        file.write_bytes(content)
    link.parent.mkdir(parents=True)
    link.symlink_to(f"../../blobs/{weights}")
    (root / "timing").mkdir()
    (root / "timing/tensorrt-10.3.0-abc.cache").write_bytes(b"timings")
    used = [root / "engines" / key / "record.json" for key in keys]
    for days, files in enumerate(([used[0]], [used[1]], [record], [root / "timing/tensorrt-10.3.0-abc.cache"]), 1):
        for file in files:
            age(file, days)
    return root


def age(file: Path, days: float) -> None:
    at = file.stat().st_mtime - days * DAY
    os.utime(file, (at, at))


def put_engine(tmp_path: Path, name: str) -> str:
    (tmp_path / f"{name}.plan").write_bytes(PLAN_BYTES)
    spec = ModelSpec(name=name, source="/a.onnx", line=1)
    record = report_of(spec, tmp_path / name, {"model": digest(name.encode())}, RUNTIME)
    return open_store().put(record, {PLAN: tmp_path / f"{name}.plan"}).key


def answer(capsys: pytest.CaptureFixture[str], *arguments: str, status: int = 0) -> Any:
    assert main(["cache", *arguments, "--json"]) == status
    return json.loads(capsys.readouterr().out)


def kinds(items: list[dict[str, Any]]) -> list[str]:
    return [item["kind"] for item in items]


def test_everything_is_listed_last_used_first(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    listed = answer(capsys, "ls")
    assert listed["cache_dir"] == str(cache)
    assert kinds(listed["items"]) == ["engine", "engine", "download", "timing"]
    assert [item["label"] for item in listed["items"]] == [
        "seg fp32, tensorrt 10.3.0 for Orin (compute capability 8.7), built here",
        "gaze fp32, tensorrt 10.3.0 for Orin (compute capability 8.7), built here",
        "net.onnx",
        "timing cache",
    ]
    assert main(["cache", "ls", "--kind", "download"]) == 0
    told = capsys.readouterr().out
    assert "1 items, 7 B" in told
    assert "net.onnx" in told
    assert "seg" not in told


def test_an_item_is_shown_by_its_first_digits(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    key = answer(capsys, "ls")["items"][0]["id"]
    shown = answer(capsys, "show", key[:12])
    assert shown["record"]["identity"]["backend_version"] == "10.3.0"
    assert main(["cache", "show", key]) == 0
    assert "Orin (compute capability 8.7), built here" in capsys.readouterr().out
    assert main(["cache", "show", "no such"]) == 2
    assert main(["cache", "show", ""]) == 2


def test_a_flipped_byte_is_found_and_removed_on_demand(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert answer(capsys, "verify") == {"verified": 3, "damaged": []}
    key = answer(capsys, "ls")["items"][0]["id"]
    plan = cache / "engines" / key / PLAN
    plan.chmod(0o644)
    plan.write_bytes(PLAN_BYTES[:-1] + b"X")
    blob = cache / "downloads/blobs" / digest(b"weights")
    blob.write_bytes(b"weightz")
    found = answer(capsys, "verify", status=1)
    assert {item["id"] for item in found["damaged"]} == {key, digest(b"weights")}
    assert not any(item["removed"] for item in found["damaged"])
    assert main(["cache", "verify", "--remove"]) == 1
    capsys.readouterr()
    assert answer(capsys, "verify") == {"verified": 1, "damaged": []}


def test_a_small_download_is_not_used_by_being_verified(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    weights = digest(b"weights")
    (cache / f"downloads/records/{weights}.json").unlink()
    used_at = time.time() - 5 * DAY
    os.utime(cache / f"downloads/blobs/{weights}", (used_at, used_at))
    (cache / "downloads/blobs/.half.prepare-models-partial").write_bytes(b"half")
    assert answer(capsys, "verify")["verified"] == 3
    (item,) = (item for item in answer(capsys, "ls")["items"] if item["kind"] == "download")
    assert item["used_at"] == pytest.approx(used_at, abs=1)


@pytest.mark.parametrize(
    ("arguments", "gone"),
    [
        (["--unused", "3.5"], ["timing"]),
        (["--unused", "2.5"], ["timing", "download"]),
        (["--unused", "0"], ["timing", "download", "engine", "engine"]),
        (["--unused", "0", "--kind", "engine"], ["engine", "engine"]),
        (["--max-size", "0"], ["timing", "download", "engine", "engine"]),
        (["--max-size", "1GiB"], []),
    ],
)
def test_what_was_used_longest_ago_goes_first(
    cache: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], gone: list[str]
) -> None:
    before = answer(capsys, "ls")["items"]
    assert kinds(answer(capsys, "prune", *arguments, "--dry-run")["removed"]) == gone
    assert answer(capsys, "ls")["items"] == before, "a dry run changes nothing"
    assert kinds(answer(capsys, "prune", *arguments)["removed"]) == gone
    assert len(answer(capsys, "ls")["items"]) == 4 - len(gone)


def test_a_size_limit_keeps_what_was_used_last(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    items = answer(capsys, "ls")["items"]
    removed = answer(capsys, "prune", "--max-size", str(items[0]["bytes"]))["removed"]
    assert [item["id"] for item in removed] == [item["id"] for item in reversed(items[1:])]
    assert open_store().find(items[0]["id"]) is not None


def test_what_is_at_work_stays(cache: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    key = answer(capsys, "ls")["items"][0]["id"]
    os.utime(cache / f"downloads/records/{digest(b'weights')}.json")  # somebody has just fetched it
    with open_store().turn(key, tmp_path, on_wait=print, stopped=lambda: True):
        found = answer(capsys, "prune", "--max-size", "0")
    assert sorted(kinds(found["in_use"])) == ["download", "engine"]
    assert sorted(kinds(answer(capsys, "ls")["items"])) == ["download", "engine"]


def test_what_lies_there_beside_engines_is_listed_and_pruned(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "cache"
    used = "0123456789abcdef"
    left = f".unpacked.x.spool{PARTIAL}"
    for name, size in (
        (f"bundles/{used}/models/net.onnx", 5), (f"bundles/{left}/abc", 7), ("downloads/parts/1f.part", 3),
        ("downloads/parts/1f.json", 2), ("downloads/parts/1f.9.range", 4), ("downloads/lock", 0),
        ("logs/r1-net.log", 4),
    ):  # fmt: skip
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(bytes(size))
    hold = folders.share(root / "bundles" / used)
    found = {item["id"]: (item["kind"], item["bytes"]) for item in answer(capsys, "ls")["items"]}
    assert found == {used: ("bundle", 5), left: ("bundle", 7), "1f": ("part", 9), "r1-net": ("log", 4)}
    assert answer(capsys, "verify")["verified"] == 2
    with locked_now(root / "bundles" / left):
        kept = answer(capsys, "prune", "--unused", "0")
    assert (len(kept["in_use"]), kinds(kept["removed"])) == (3, ["log"])
    os.close(hold)
    for file in (root / "downloads/parts").iterdir():
        age(file, 1)
    assert sorted(kinds(answer(capsys, "prune", "--unused", "0")["removed"])) == ["bundle", "bundle", "part"]
    assert sorted(str(file.relative_to(root)) for file in root.rglob("*") if file.is_file()) == [
        f"bundles/{used}.lock", "downloads/lock"
    ]  # fmt: skip


def test_every_kind_may_be_named(capsys: pytest.CaptureFixture[str]) -> None:
    for kind in KINDS:
        assert answer(capsys, "ls", "--kind", kind)["items"] == []


@pytest.mark.parametrize(
    "edit",
    [
        {"identity": None}, {"identity": "x"}, {"identity": {}}, {"engine": None}, {"engine": []}, {"engine": {}},
        {"precision_proof": None}, {"schema_version": 99}, "{",
    ],
    ids=str,
)  # fmt: skip
def test_an_engine_with_a_damaged_record_is_listed_and_goes(
    cache: Path, capsys: pytest.CaptureFixture[str], edit: Any
) -> None:
    key = answer(capsys, "ls")["items"][0]["id"]
    record = cache / "engines" / key / "record.json"
    text = edit if isinstance(edit, str) else json.dumps({**json.loads(record.read_text()), **edit})
    record.write_text(text, encoding="utf-8")
    assert open_store().find(key) is None
    assert len(answer(capsys, "ls")["items"]) == 4
    assert main(["cache", "show", key]) == 0
    capsys.readouterr()
    damaged = answer(capsys, "verify", "--remove", status=1)["damaged"]
    assert [item["id"] for item in damaged] == [key]
    assert len(answer(capsys, "ls")["items"]) == 3


def test_without_a_measure_nothing_goes(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cache", "prune"]) == 2
    assert "--max-size" in capsys.readouterr().err
    assert len(answer(capsys, "ls")["items"]) == 4


@pytest.mark.parametrize(("limit", "outcome"), [("0", (0, 0)), ("1GiB", (0, 4)), ("much", (2, 4))])
def test_the_variable_is_the_measure(
    cache: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, limit: str, outcome: Any
) -> None:
    status, left = outcome
    monkeypatch.setenv("PREPARE_MODELS_CACHE_LIMIT", limit)
    assert main(["cache", "prune"]) == status
    capsys.readouterr()
    assert len(answer(capsys, "ls")["items"]) == left


def test_an_empty_cache_is_no_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert answer(capsys, "ls")["items"] == []
    assert answer(capsys, "verify") == {"verified": 0, "damaged": []}
    assert answer(capsys, "prune", "--max-size", "0")["removed"] == []
