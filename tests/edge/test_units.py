"""The units: accepted by systemd, given every argument as it is, in a sandbox that holds, ended where nothing moves."""

from __future__ import annotations

import json
import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest

from prepare_models.cli import parser
from prepare_models.errors import UsageError
from prepare_models.provisioning import notify, units
from tests.edge import machine

ODD = ["a b", "$HOME", "${HOME}", "%h%%", "q\"u'o", "back\\slash", "\\n", ";", "ü", "", "-x=1 2", "@x", "#no"]
SERVED = """\
import json, os, pathlib, sys, time
from prepare_models.provisioning import notify
out = pathlib.Path(sys.argv[1])
(out / "argv").write_text(json.dumps([sys.argv[2:], os.getcwd(), os.environ["TMPDIR"]]))
for place in ("/etc", "/usr", "/root", os.environ["PREPARE_MODELS_CACHE_DIR"], os.environ["TMPDIR"], "/tmp"):
    try:
        pathlib.Path(place, "x").write_text("")
        print("writes", place)
    except OSError:
        print("cannot write", place)
if (out / "hang").exists():
    notify.SILENCE_S = 2
    told = notify.Notifier()
    for number in range(4):
        told.alive(f"step {number}\\nREADY=1")
        time.sleep(1)
    time.sleep(60)
"""


def written(folder: Path, command: list[str], directory: Path, writes: list[Path], *, user: bool = False) -> list[str]:
    rendered = units.render(command, directory, writes, user=user)
    return [str(file) for file in units.install(rendered, folder, user=user)]


@pytest.mark.parametrize("user", [False, True])
def test_systemd_accepts_the_units(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, user: bool) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PREPARE_MODELS_CACHE_DIR", "/srv/cache")
    monkeypatch.setenv("PREPARE_MODELS_STATE_DIR", "/srv/state")
    odd = Path('/srv/a $ % " \\ b')
    files = written(tmp_path, ["/bin/true", *ODD], odd, [odd], user=user)
    found = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *(["--user"] if user else []), *files],
        capture_output=True, text=True, check=False, env={"XDG_RUNTIME_DIR": str(tmp_path), "HOME": str(tmp_path)},
    )  # fmt: skip
    assert (found.returncode, found.stderr) == (0, "")
    assert not any(
        units.install(units.render(["/bin/true", *ODD], odd, [odd], user=user), tmp_path, user=user).values()
    )
    with pytest.raises(UsageError):
        units.render(["/bin/true", "a\nExecStart=/bin/false"], odd, [], user=user)
    for end in ("\\", " "):  # which would join it with the next line, or be dropped
        with pytest.raises(UsageError, match="can't hold"):
            units.render(["/bin/true"], odd / f"x{end}", [], user=user)
    if not user:
        with pytest.raises(UsageError, match="/var/tmp/models"):
            units.render(["/bin/true"], odd, [Path("/var/tmp/models")], user=user)


def test_the_command_installs_into_an_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("CACHE", "STATE"):
        monkeypatch.setenv(f"PREPARE_MODELS_{name}_DIR", f"/var/lib/prepare-models/{name.lower()}")
    folder = tmp_path / "etc/systemd/system"
    image = ["--root", str(tmp_path), "--health", "curl -f localhost:8000", "--json"]
    for changed in (2, 0):
        assert (
            parser.main(["provision", "install-unit", "/etc/models.yaml", "--models-dir", "/srv/models", *image]) == 0
        )
        document = json.loads(capsys.readouterr().out)
        assert sorted(document["files"]) == [
            str(folder / "prepare-models.service"),
            str(folder / "prepare-models.timer"),
        ]
        assert len(document["changed"]) == changed
    service = (folder / "prepare-models.service").read_text()
    assert ' provision /etc/models.yaml --models-dir /srv/models --health "curl -f localhost:8000" --json\n' in service
    assert "WorkingDirectory=/\n" in service
    with pytest.raises(UsageError, match="relative"):
        parser.main(["provision", "install-unit", "/etc/models.yaml", *image])
    with pytest.raises(UsageError, match=r"gone\.yaml"):
        parser.main(["provision", "gone.yaml", "--models-dir", "/srv/models", "--install-unit"])


def test_a_real_systemd_runs_what_was_meant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREPARE_MODELS_CACHE_DIR", "/root/a $cache")
    monkeypatch.setenv("PREPARE_MODELS_STATE_DIR", "/root/state")
    place = tmp_path / 'a $HOME %h "b" c'
    place.mkdir()
    (tmp_path / "served.py").write_text(SERVED)
    there = Path(machine.SHARED, place.name)
    files = written(tmp_path, [machine.PYTHON, f"{machine.SHARED}/served.py", str(there), *ODD], there, [there])
    script = f"""
cp {" ".join(file.replace(str(tmp_path), machine.SHARED) for file in files)} /etc/systemd/system/
systemctl daemon-reload
systemctl start prepare-models.service || ( journalctl -u prepare-models; exit 1 )
journalctl -o cat -u prepare-models.service
systemctl enable --now prepare-models.timer
systemctl list-timers prepare-models.timer --no-legend
systemctl show prepare-models.timer -p RandomizedDelayUSec,FixedRandomDelay,Persistent
touch '{there}/hang'
mkdir /etc/systemd/system/prepare-models.service.d
printf '[Service]\\nTimeoutStartSec=2\\n' > /etc/systemd/system/prepare-models.service.d/soon.conf
systemctl daemon-reload
began=$(date +%s)
systemctl start prepare-models.service && exit 1
echo took $(($(date +%s) - began))
systemctl show prepare-models.service -p Result,StatusText,ActiveState
"""
    said = machine.boot(script, tmp_path)
    argv, directory, temporary = json.loads((place / "argv").read_text())
    assert (argv, directory, temporary) == (ODD, str(there), "/root/a $cache/tmp")
    for path in ("/etc", "/usr", "/root"):
        assert f"cannot write {path}\n" in said
    for path in ("/root/a $cache", "/root/a $cache/tmp", "/tmp"):
        assert f"writes {path}\n" in said
    assert "prepare-models.timer prepare-models.service" in " ".join(said.split())
    assert "RandomizedDelayUSec=1h\nFixedRandomDelay=yes\nPersistent=yes\n" in said
    took = next(int(line.split()[1]) for line in said.splitlines() if line.startswith("took "))
    assert 4 <= took <= 30
    assert "StatusText=step 3" in said
    assert "Result=timeout\n" in said
    assert "ActiveState=failed\n" in said


@pytest.mark.parametrize("abstract", [False, True])
def test_the_service_manager_hears_what_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, abstract: bool
) -> None:
    address = f"@prepare-models-{tmp_path.name}-{id(tmp_path)}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(f"\0{address[1:]}" if abstract else address)
        manager.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", address)
        told = notify.Notifier()
        told.phase("people", "verify")
        told.ended("good", good=True)
        told.ended("failed", good=False)
        heard: Any = [manager.recv(4096).decode().split("\n") for _ in range(3)]
    alive = f"EXTEND_TIMEOUT_USEC={notify.SILENCE_S * 1_000_000}"
    assert heard == [
        ["STATUS=people: verify", "WATCHDOG=1", alive],
        ["READY=1", "STATUS=good", "STOPPING=1"],
        ["STATUS=failed", "STOPPING=1"],
    ]
    told.phase("people", "switch")  # and nothing happens where nobody listens any more
