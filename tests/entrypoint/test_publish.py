"""Final names: whenever a report is there, it tells of the very engine and configuration beside it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from prepare_models_entrypoint import publish
from prepare_models_entrypoint.contract import companions
from prepare_models_entrypoint.contract.files import PARTIAL
from prepare_models_entrypoint.errors import InspectError

from .children import MOMENTS, kill_at
from .publisher import engine_of, publish_one

PUBLISH_FOREVER = """
    import sys
    from pathlib import Path
    from tests.entrypoint import publisher
    publisher.publish_forever(Path(sys.argv[1]))
"""


def check(output_dir: Path) -> None:
    """The promise: a report only with its own engine and configuration; an engine without one is whole all the same."""
    plan = output_dir / publish.PLAN
    wholes = [engine_of(number) for number in range(10)]
    assert not plan.exists() or plan.read_bytes() in wholes
    if (output_dir / companions.REPORT).exists():
        report = json.loads((output_dir / companions.REPORT).read_text())
        name = report["io"][0]["name"]
        assert report["engine"]["sha256"] == hashlib.sha256(plan.read_bytes()).hexdigest()
        assert f'"{name}"' in (output_dir / companions.CONFIG).read_text()
        assert f'"{name}"' in (output_dir / companions.PARAMETERS).read_text()
        assert f"'{name}'" in (output_dir / companions.LAUNCH).read_text()


def names(output_dir: Path) -> "list[str]":
    return sorted(str(path.relative_to(output_dir)) for path in output_dir.rglob("*") if path.is_file())


FINAL = ["1/model.plan", "config.pbtxt", "isaac_ros.launch.py", "isaac_ros.yaml", "provenance.json", "report.json"]


@pytest.mark.parametrize("moment", [moment * factor for moment in MOMENTS for factor in (1, 3)])
def test_a_killed_publisher_leaves_no_two_files_that_disagree(tmp_path: Path, moment: float) -> None:
    output_dir = tmp_path / "net"
    kill_at(moment, PUBLISH_FOREVER, output_dir)
    check(output_dir)
    publish_one(output_dir, 7)
    check(output_dir)
    assert names(output_dir) == FINAL


def test_a_second_engine_takes_the_place_of_the_first(tmp_path: Path) -> None:
    publish_one(tmp_path / "net", 1)
    publish_one(tmp_path / "net", 2)
    check(tmp_path / "net")
    assert (tmp_path / "net" / publish.PLAN).read_bytes() == engine_of(2)
    assert names(tmp_path / "net") == FINAL


def test_an_engine_that_triton_can_not_serve_leaves_the_one_before_it(tmp_path: Path) -> None:
    publish_one(tmp_path / "net", 1)
    with pytest.raises(InspectError):
        publish_one(tmp_path / "net", 2, "float8")
    check(tmp_path / "net")
    assert (tmp_path / "net" / publish.PLAN).read_bytes() == engine_of(1)
    assert names(tmp_path / "net") == FINAL


def test_room_is_made_by_removing_what_an_interrupted_run_left(tmp_path: Path) -> None:
    (tmp_path / "net" / "1").mkdir(parents=True)
    for leftover in (f"1/.model.plan.x{PARTIAL}", f".report.json.x{PARTIAL}"):
        (tmp_path / "net" / leftover).write_bytes(b"half")
    assert publish.make_room(tmp_path / "net") == tmp_path / "net" / "1" / "model.plan"
    assert names(tmp_path / "net") == []


def test_room_that_stays_empty_is_cleared(tmp_path: Path) -> None:
    publish.make_room(tmp_path / "net")
    publish.clear_room(tmp_path / "net")
    assert list(tmp_path.iterdir()) == []


def test_clearing_room_spares_what_was_published_and_what_was_never_made(tmp_path: Path) -> None:
    publish_one(tmp_path / "net", 1)
    publish.clear_room(tmp_path / "net")
    publish.clear_room(tmp_path / "other")
    assert names(tmp_path / "net") == FINAL
