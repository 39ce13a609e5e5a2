"""``fleet status`` over files, a web server and fsspec: who runs what, what needs care, and what strangers wrote."""

from __future__ import annotations

import json
import zipfile
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from prepare_models.cli import parser
from prepare_models.errors import UsageError
from tests.simulators.web import Answer, Request, Server

EVIL = "<img src=x onerror=alert(1)>\x1b[2J"
ERROR = {"code": "disk-full", "stage": "fetch", "message": "the disk is full", "hint": "", "retryable": True}


def model(name: str, state: str, **more: Any) -> dict[str, Any]:
    return {
        "name": name, "state": state, "phase": None, "reason": "", "version": 3, "engine_sha256": None,
        "build_key": None, "previous_version": 2, "error": None, "log": None, "next": "nothing", "next_told": "",
        **more,
    }  # fmt: skip


def status(device: str, *models: dict[str, Any], hours: float = 1, **more: Any) -> dict[str, Any]:
    ended = (datetime.now(timezone.utc) - timedelta(hours=hours)).isoformat()
    return {
        "schema_version": 1, "tool": {"name": "prepare-models", "version": "1"}, "device": device, "manifest": "m.yaml",
        "manifest_sha256": None, "models_dir": "/m", "started_at": ended, "finished_at": ended, "seconds": 1.0,
        "outcome": "good", "error": None, "models": list(models), **more,
    }  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Statuses of a fleet: what each says, and what strangers wrote in its place."""
    good = model("people", "up-to-date")
    failed = model("lidar", "failed", phase="run", error=ERROR, version=None)
    back = model("people", "rolled-back", error={**ERROR, "code": "health", "message": "exit status 1"})
    devices = [
        status("r1", good, model("lanes", "switched", version=7)),
        status("r2", good, failed, outcome="failed"),
        status("r3", back, outcome="failed"),
        status("r4", good, hours=100),
        status("r5", good, hours=100, finished_at=None, outcome="running"),
        status("r6", good, finished_at=None, outcome="running"),
        status("r7", good, hours=-100),
        status("r8", outcome="stopped", error=ERROR),
        status(EVIL, *[model(f"m{number}", "up-to-date") for number in range(9)]),
        status("x1", good, outcome="splendid"),
        status("x2", good, started_at="yesterday", finished_at=None),
        {**status("x3", good), "models": [{"name": 3}]},
        {**status("x4", good), "schema_version": 2},
        status("x7", model("../a\0b", "up-to-date")),
    ]
    for number, document in enumerate(devices):
        (tmp_path / f"{number}.json").write_text(json.dumps(document))
    (tmp_path / "x5.json").write_text("[" * 100_000)
    (tmp_path / "x6.json").write_text(json.dumps(status("x6", good, manifest="m" * (1 << 20))))
    (tmp_path / "robot").mkdir()
    (tmp_path / "robot/provision.json").write_text(json.dumps(status("r9", good)))
    (tmp_path / "robot/report.json").write_text("{}")
    return tmp_path


def call(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    ended = parser.main(["fleet", "status", *arguments])
    return ended, capsys.readouterr().out


def test_a_fleet_in_one_table(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = folder / "fleet.html"
    ended, printed = call(capsys, str(folder), "--html", str(page))
    rows = {line.split("  ")[0]: line for line in printed.splitlines()[1:] if line}
    assert ended == 1
    assert printed.splitlines()[-1] == "2 good, 1 running, 1 rolled-back, 3 stale, 2 failed, 7 unreadable".replace(
        "2 good", "3 good"
    )
    for name, words in {
        "r1": ("good", "1 h", "people 3, lanes 7"),
        "r2": ("failed", "lidar - (failed)", "lidar: [disk-full] the disk is full"),
        "r3": ("rolled-back", "people 3 (rolled-back)", "[health] exit status 1"),
        "r4": ("stale", "ended 4 d ago"),
        "r5": ("stale", "began 4 d ago"),
        "r6": ("running",),
        "r7": ("stale", "its clock is 4 d ahead"),
        "r8": ("failed", "[disk-full]"),
        "r9": ("good",),
    }.items():
        assert all(word in rows[name] for word in words), rows[name]
    for number, word in {
        9: "splendid",
        10: "yesterday",
        11: ".models[0].name",
        12: "schema version 2",
        13: r"'../a\x00b'",
    }.items():
        assert word in rows[str(folder / f"{number}.json")]
    assert "more than" in rows[str(folder / "x6.json")]
    assert "and 5 more" in printed
    assert "\x1b" not in printed
    html = page.read_text()
    assert html.count("<tr data-verdict") == 17
    assert "<img" not in html


def test_places_of_every_kind_are_one_fleet(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    archive = folder / "fleet.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        packed.write(folder / "1.json", "night/r2.json")
        packed.writestr("night/README", "no status")
    served = {f"/{number}.json": (folder / f"{number}.json").read_bytes() for number in (0, 5)}
    served["/list.txt"] = b"# robots\n0.json\n/5.json\nfile:///etc/passwd\ngone.json\nhttp://[a\n"
    served["/list.json"] = b'["0.json", 7]'

    def decide(request: Request) -> Answer:
        content = served.get(request.target)
        return Answer(b"", 404) if content is None else Answer(content)

    with Server(decide) as server:
        places = [
            f"zip://night::{archive}",
            f"{server.url}/list.txt",
            f"{server.url}/list.json",
            f"{server.url}/5.json",
        ]
        ended, printed = call(capsys, *places, str(folder / "robot"), str(folder / "[78].json"), "--json")
    document = json.loads(printed)
    found = sorted((device["state"], device["device"].removeprefix(server.url)) for device in document["devices"])
    assert ended == 1
    assert found == sorted([
        ("failed", "r2"), ("good", "r1"), ("running", "r6"), ("unreadable", "file:///etc/passwd"),
        ("unreadable", "/gone.json"),
        ("unreadable", "http://[a"),
        ("good", "r1"), ("running", "r6"), ("good", "r9"), ("failed", "r8"), ("good", EVIL),
    ])  # fmt: skip
    assert document["summary"]["unreadable"] == 3
    with pytest.raises(UsageError, match="nowhere"):
        call(capsys, str(folder / "nowhere"))
    assert call(capsys, str(folder / "0.json"))[0] == 0
    assert call(capsys, "http://127.0.0.1:9/list.txt")[0] == 1
