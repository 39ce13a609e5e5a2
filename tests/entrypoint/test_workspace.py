"""Work directories: private, gone afterwards, and those of dead processes are gone with the next."""

from __future__ import annotations

from pathlib import Path

import pytest

from prepare_models_entrypoint.contract.files import PARTIAL, partial_file
from prepare_models_entrypoint.contract.workspace import sweep, work_dir

from .children import first_line, kill, start

HOLD = """
    import sys, time
    from pathlib import Path
    from prepare_models_entrypoint.contract.workspace import work_dir
    with work_dir(Path(sys.argv[1])) as directory:
        (directory / "decrypted.onnx").write_text("secret")
        print(directory, flush=True)
        time.sleep(60)
"""


def directories(cache: Path) -> list[Path]:
    return [path for path in (cache / "work").iterdir() if path.is_dir()]


def test_only_the_user_can_look_into_a_work_directory(tmp_path: Path) -> None:
    with work_dir(tmp_path) as directory:
        assert directory.stat().st_mode & 0o777 == 0o700
        assert (tmp_path / "work").stat().st_mode & 0o777 == 0o700


def test_a_work_directory_goes_with_its_content(tmp_path: Path) -> None:
    with work_dir(tmp_path) as directory:
        (directory / "deep").mkdir()
        (directory / "deep" / "file").write_text("x")
    assert directories(tmp_path) == []


def test_a_work_directory_goes_after_a_failure_too(tmp_path: Path) -> None:
    with pytest.raises(KeyError), work_dir(tmp_path):
        raise KeyError
    assert directories(tmp_path) == []


def test_two_in_one_process_do_not_disturb_each_other(tmp_path: Path) -> None:
    with work_dir(tmp_path) as first:
        with work_dir(tmp_path) as second:
            assert first != second
            assert sorted(directories(tmp_path)) == sorted([first, second])
        assert directories(tmp_path) == [first]


def test_a_living_process_keeps_its_directory_and_a_dead_one_loses_it(tmp_path: Path) -> None:
    child = start(HOLD, tmp_path)
    theirs = Path(first_line(child))
    with work_dir(tmp_path):
        assert (theirs / "decrypted.onnx").read_text() == "secret"
    kill(child)
    assert theirs.exists()
    with work_dir(tmp_path) as ours:
        assert directories(tmp_path) == [ours]


def test_a_directory_whose_maker_died_before_it_locked_it_is_swept(tmp_path: Path) -> None:
    (tmp_path / "work" / "tmpabandoned").mkdir(parents=True)
    with work_dir(tmp_path) as ours:
        assert directories(tmp_path) == [ours]


def test_a_sweep_removes_what_the_dead_left_and_makes_nothing(tmp_path: Path) -> None:
    sweep(tmp_path)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "work" / "tmpabandoned").mkdir(parents=True)
    with work_dir(tmp_path) as living:
        (tmp_path / "work" / "tmpdead").mkdir()
        sweep(tmp_path)
        assert directories(tmp_path) == [living]


def test_a_sweep_removes_unfinished_files_of_the_dead_wherever_the_cache_has_them(tmp_path: Path) -> None:
    left = [
        tmp_path / folder / f".a.json.x{PARTIAL}"
        for folder in ("durations", "environments", "downloads", "downloads/parts")
    ]
    for file in left:
        file.parent.mkdir(parents=True)
        file.write_bytes(b"half")
    (tmp_path / "engines" / f".key{PARTIAL}").mkdir(parents=True)
    with partial_file(tmp_path / "durations" / "b.json") as (_, living):
        sweep(tmp_path)
        assert living.exists()
    assert [file for file in left if file.exists()] == []
    assert (tmp_path / "engines" / f".key{PARTIAL}").exists(), "an engine's own goes in its turn"
