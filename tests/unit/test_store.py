"""The engine store: what is put comes back whole or not at all, and one process at a time builds an engine."""

from __future__ import annotations

import concurrent.futures
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from prepare_models.manifest.model import ModelSpec
from prepare_models.store import CALIBRATION, PLAN
from prepare_models.store.local import Store, open_store
from prepare_models.support.file_digests import Digests
from prepare_models_entrypoint.contract.report import ModelReport

from .records import PLAN_BYTES, RUNTIME, digest, report_of

HOLDER = """
import sys
from pathlib import Path
from prepare_models.store.local import open_store

with open_store().turn(sys.argv[1], Path(sys.argv[2]), on_wait=print, stopped=lambda: False) as turn:
    turn.begin()
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "cache" / "engines", Digests())


def record(tmp_path: Path, *, model: bytes = b"model") -> ModelReport:
    spec = ModelSpec(name="seg", source="/a.onnx", line=1)
    return report_of(spec, tmp_path / "models" / "seg", {"model": digest(model)}, RUNTIME)


def put(store: Store, tmp_path: Path, *, model: bytes = b"model") -> str:
    plan = tmp_path / "built.plan"
    plan.write_bytes(PLAN_BYTES)
    cache = tmp_path / "built.cache"
    cache.write_bytes(b"calibration")
    return store.put(record(tmp_path, model=model), {PLAN: plan, CALIBRATION: cache}).key


def test_what_is_put_is_found_with_all_its_files(store: Store, tmp_path: Path) -> None:
    key = put(store, tmp_path)
    assert store.has(key)
    entry = store.find(key)
    assert entry is not None
    assert entry.record == record(tmp_path)
    assert {name: file.read_bytes() for name, file in entry.files.items()} == {
        PLAN: PLAN_BYTES,
        CALIBRATION: b"calibration",
    }
    assert entry.bytes == sum(file.stat().st_size for file in entry.plan.parent.iterdir())
    assert entry.plan.stat().st_mode & 0o222 == 0, "nobody writes into the store by accident"
    assert [each.key for each in store.entries()] == [key]


def test_the_engine_is_stored_without_a_second_copy(store: Store, tmp_path: Path) -> None:
    entry = store.find(put(store, tmp_path))
    assert entry is not None
    assert entry.plan.stat().st_ino == (tmp_path / "built.plan").stat().st_ino or entry.plan.stat().st_nlink == 1


def test_what_was_never_put_is_not_there(store: Store) -> None:
    assert not store.has("0" * 64)
    assert store.find("0" * 64) is None
    assert list(store.entries()) == []


@pytest.mark.parametrize("data", [b"plan bytez", b"plan", b""])
def test_bytes_that_nobody_built_are_not_handed_out(store: Store, tmp_path: Path, data: bytes) -> None:
    key = put(store, tmp_path)
    plan = store.root / key / PLAN
    plan.unlink()
    plan.write_bytes(data)
    assert store.find(key) is None
    put(store, tmp_path)
    assert store.find(key) is not None, "the next build replaces it"


@pytest.mark.parametrize("text", ["", "[]", "{", '{"schema_version": 2, "name": "seg", "status": "built"}'])
def test_a_record_that_can_not_be_read_hides_the_engine(store: Store, tmp_path: Path, text: str) -> None:
    key = put(store, tmp_path)
    (store.root / key / "record.json").write_text(text, encoding="utf-8")
    assert store.find(key) is None


def test_a_bit_of_a_record_that_turned_hides_the_engine(store: Store, tmp_path: Path) -> None:
    """Companions are made from it: a name of a tensor with another letter would be a node that finds no tensor."""
    file = store.root / put(store, tmp_path) / "record.json"
    for place in range(0, file.stat().st_size, 97):
        data = bytearray(file.read_bytes())
        data[place] ^= 1
        file.write_bytes(data)
        assert store.find(file.parent.name) is None
        data[place] ^= 1
        file.write_bytes(data)
    assert store.find(file.parent.name) is not None


def test_a_record_of_another_engine_is_not_handed_out(store: Store, tmp_path: Path) -> None:
    key = put(store, tmp_path)
    (store.root / key).rename(store.root / ("0" * 64))
    assert store.find("0" * 64) is None


def test_a_record_must_fit_the_files(store: Store, tmp_path: Path) -> None:
    (tmp_path / "other.plan").write_bytes(b"another size")
    with pytest.raises(ValueError, match="does not match these files"):
        store.put(record(tmp_path), {PLAN: tmp_path / "other.plan"})
    assert list(store.entries()) == []


def test_a_removed_engine_is_gone_and_the_others_stay(store: Store, tmp_path: Path) -> None:
    one, other = put(store, tmp_path), put(store, tmp_path, model=b"other")
    assert store.remove(one)
    assert [entry.key for entry in store.entries()] == [other]
    assert (tmp_path / "built.plan").read_bytes() == PLAN_BYTES, "a models directory keeps its own"


def test_what_a_killed_put_left_is_no_engine_and_goes_with_the_next(store: Store, tmp_path: Path) -> None:
    key = put(store, tmp_path)
    leftover = store.root / f".{key}.prepare-models-partial"
    (store.root / key).rename(leftover)
    assert store.find(key) is None
    assert list(store.entries()) == []
    put(store, tmp_path)
    assert sorted(path.name for path in store.root.iterdir()) == sorted([key, "sizes"])


def test_finding_is_using(store: Store, tmp_path: Path) -> None:
    key = put(store, tmp_path)
    os.utime(store.root / key / "record.json", (1, 1))
    assert next(store.entries()).used_at == 1
    assert store.find(key) is not None
    assert next(store.entries()).used_at > 1


def test_one_process_at_a_time_has_a_turn_and_a_dead_one_has_it_no_more(tmp_path: Path) -> None:
    store, key = open_store(), "a" * 64
    place = tmp_path / "models with spaces" / "seg"
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, key, str(place)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        assert not store.remove(key), "an engine that is being built is not removed"
        owners: list[str] = []

        def kill(owner: str) -> None:
            owners.append(owner)
            other.kill()

        with store.turn(key, tmp_path, on_wait=kill, stopped=lambda: False) as turn:
            assert owners == [str(other.pid)]
            assert turn.waited
            assert (turn.last_place, turn.last_began) == (place, ""), "it was killed while it built"
            turn.begin()
    with store.turn(key, tmp_path, on_wait=kill, stopped=lambda: False) as turn:
        assert (turn.waited, turn.last_place, turn.last_began) == (False, tmp_path, None)


def test_digests_follow_the_bytes_whatever_the_times_say(tmp_path: Path) -> None:
    file, memory = tmp_path / "a", tmp_path / "digests.json"
    file.write_bytes(b"one")
    os.utime(file, ns=(10**9, 10**9))
    known = Digests(memory)
    assert known.of(file) == digest(b"one")
    file.write_bytes(b"two")
    os.utime(file, ns=(10**9, 10**9))  # same size, same time of modification, same inode
    assert known.of(file) == digest(b"two")


def test_digests_are_remembered_across_processes_without_reading_again(tmp_path: Path) -> None:
    memory = tmp_path / "digests.json"
    file = tmp_path / "old"
    file.write_bytes(b"one")
    first = Digests(memory)
    while not memory.exists():  # what changed within a tick of the clock is not remembered
        assert first.of(file) == digest(b"one")
        first.save()
    memory.write_text(memory.read_text(encoding="utf-8").replace(digest(b"one"), "f" * 64), encoding="utf-8")
    assert Digests(memory).of(file) == "f" * 64
    file.write_bytes(b"two")
    assert Digests(memory).of(file) == digest(b"two")


def test_a_broken_memory_only_costs_a_reading(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"one")
    for text in ("", "[]", '{"sha256": 5}', '{"sha256": {"x": 1}}'):
        (tmp_path / "digests.json").write_text(text, encoding="utf-8")
        assert Digests(tmp_path / "digests.json").of(tmp_path / "a") == digest(b"one")


def test_a_broken_entry_only_costs_a_reading(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_bytes(b"one")
    broken: list[object] = [5, [], ["a"], [5, "f"], [[], 5], {}, "ab", None]
    for entry in broken:
        document = {"sha256": {str(file): entry}, "external_data": {str(file): entry}, "sources": {"id": entry}}
        (tmp_path / "digests.json").write_text(json.dumps(document), encoding="utf-8")
        known = Digests(tmp_path / "digests.json")
        assert (known.of(file), known.of_source("id"), known.knows(file)) in (
            (digest(b"one"), None, False), (digest(b"one"), None, True),
        )  # fmt: skip


def test_sources_are_remembered_with_their_time(tmp_path: Path) -> None:
    known = Digests(tmp_path / "digests.json")
    known.note_source("id", "a" * 64)
    known.save()
    again = Digests(tmp_path / "digests.json")
    assert again.of_source("id") == "a" * 64
    assert again.of_source("id", since=10**12) is None
    stored = (tmp_path / "digests.json").stat()
    again.note_source("id", "a" * 64)
    again.save()
    assert (tmp_path / "digests.json").stat() == stored, "nothing new is not worth a write"
    assert again.of_source("other") is None


def test_reading_a_file_for_its_digest_can_be_stopped(tmp_path: Path) -> None:
    endless = tmp_path / "weights.bin"
    with endless.open("wb") as stream:
        stream.truncate(1 << 40)
    digests = Digests()
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        reading = pool.submit(digests.of, endless)
        digests.stop()
        with pytest.raises(InterruptedError):
            reading.result()


def test_a_digest_that_somebody_else_found_out_counts_for_the_bytes_that_were_there(tmp_path: Path) -> None:
    file, digests = tmp_path / "a", Digests()
    file.write_bytes(b"one")
    while not digests.knows(file):  # what changed within a tick of the clock is not remembered
        digests.watch(file)("f" * 64)
    assert digests.of(file) == "f" * 64
    learn = digests.watch(file)
    file.write_bytes(b"two")
    learn("e" * 64)
    assert not digests.knows(file)
    assert digests.of(file) == digest(b"two")
