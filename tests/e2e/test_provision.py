"""A models directory that consumers read is provisioned: versions come whole, stay while they are good, and go back."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import jsonschema
import pytest

import prepare_models
from prepare_models.provisioning.releases import Notes, Releases
from prepare_models.reports.schema import status_schema
from prepare_models_entrypoint.onnx_graph import calibration_cache
from tests import networks
from tests.command import Result, Workplace
from tests.served import Served, complete, served

SCHEMA = json.loads(json.dumps(status_schema()))


class Machine(Workplace):
    """A workplace that is provisioned."""

    def provision(self, *arguments: str) -> Result:
        """Provision the manifest, and check what every provisioning leaves."""
        options = ("--models-dir", str(self.models_dir), "--executor", "local", "--device", "robot-17", "--json")
        done = self.call("provision", str(self.manifest), *options, *arguments)
        status = self.status()
        jsonschema.Draft202012Validator(SCHEMA).validate(status)
        assert status["finished_at"] is not None
        assert done.status == (0 if status["outcome"] == "good" else 1), done.stderr
        if status["outcome"] != "stopped":
            assert done.stdout == json.dumps(status) + "\n"
        return done

    def status(self) -> dict[str, Any]:
        """Return the status file."""
        document: dict[str, Any] = json.loads((self.models_dir / "provision.json").read_text())
        return document

    def model(self, name: str = "net") -> dict[str, Any]:
        """Return what the status says of a model."""
        return next(model for model in self.status()["models"] if model["name"] == name)

    def told(self, name: str = "net") -> tuple[Any, ...]:
        """Return state, versions, error code and what comes next of a model."""
        model = self.model(name)
        code = model["error"] and model["error"]["code"]
        return model["state"], model["version"], model["previous_version"], code, model["next"]

    def ledger(self) -> list[tuple[Any, ...]]:
        """Return what was switched, from and to which version."""
        lines = map(json.loads, (self.models_dir / "switches.jsonl").read_text().splitlines())
        return [(line["what"], line["from_version"], line["to_version"]) for line in lines]

    def net(self) -> Served:
        """Return what is served, for all consumers."""
        return complete(self.models_dir / "net")

    def content(self) -> dict[str, tuple[int, int]]:
        """Return times and inodes of everything in the model's directory."""
        states = {path: path.lstat() for path in (self.models_dir / "net").rglob("*")}
        return {str(path): (state.st_ino, state.st_ctime_ns) for path, state in states.items()}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def machine(tmp_path: Path, store: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """Engines are built once for all tests."""
    monkeypatch.setenv("PREPARE_MODELS_CACHE_DIR", str(store))
    monkeypatch.chdir(tmp_path)
    for name, channels in (("a", 4), ("b", 8), ("c", 6)):
        networks.conv(tmp_path / f"{name}.onnx", channels=channels)
    networks.unsupported(tmp_path / "odd.onnx")
    machine = Machine(tmp_path)
    machine.cache_dir = store
    return machine


def net(source: str, **more: Any) -> dict[str, Any]:
    return {"name": "net", "source": f"{source}.onnx", "verify": {"random": {"count": 1}}, **more}


def test_versions_come_and_go_and_one_is_always_served(machine: Machine) -> None:
    machine.write(net("a"))
    assert machine.provision().status == 0
    assert machine.told() == ("switched", 2, None, None, "nothing")
    first, before = machine.net(), machine.content()
    assert machine.provision().status == 0
    assert machine.told() == ("up-to-date", 2, None, None, "nothing")
    assert machine.content() == before

    machine.write(net("odd"))
    failed = machine.provision()
    assert (failed.status, machine.net()) == (1, first)
    assert machine.told() == ("failed", 2, None, "plugin-missing", "try-again")
    assert "mystery_node" in machine.model()["error"]["message"]

    machine.write(net("b"))
    assert machine.provision().status == 0
    assert machine.told() == ("switched", 3, 2, None, "nothing")
    second = machine.net()
    assert (second.version, second.dims) == (3, "1, 8, 32, 32")

    refused = machine.run("--force").model("net")["error"]
    assert (refused["code"], machine.net()) == ("directory-provisioned", second)
    assert machine.call("relocate", str(machine.models_dir)).status == 1
    assert machine.call("lint", str(machine.models_dir), "--consumer", "triton").status == 0

    back = machine.call("rollback", "net", "--models-dir", str(machine.models_dir), "--why", "too slow")
    assert (back.status, machine.net()) == (0, first)
    assert machine.told() == ("rolled-back", 2, None, None, "hold")
    assert machine.provision().status == 1
    assert machine.told() == ("rolled-back", 2, None, "release-rejected", "hold")
    assert "too slow" in machine.model()["error"]["message"]
    again = machine.call("rollback", "net", "--models-dir", str(machine.models_dir), "--json")
    assert (again.status, json.loads(again.stdout)["error"]["code"]) == (1, "rollback-impossible")
    assert machine.call("rollback", "net", "--models-dir", str(machine.models_dir), "--to", "3").status == 0
    assert (machine.provision().status, machine.net()) == (0, second)

    machine.write(net("c"))
    assert machine.provision("--keep", "2").status == 0
    assert machine.told() == ("switched", 4, 3, None, "nothing")
    assert sorted(path.name for path in (machine.models_dir / "net").iterdir() if path.name.isdigit()) == [
        "1",
        "3",
        "4",
    ]
    assert machine.ledger() == [
        ("switched", None, 2), ("switched", 2, 3), ("rolled-back", 3, 2), ("rolled-back", 2, 3), ("switched", 3, 4),
    ]  # fmt: skip


def test_a_health_command_keeps_a_version_or_takes_it_back(machine: Machine) -> None:
    machine.write(net("a"))
    health = 'test "$PREPARE_MODELS_VERSION" = 2 && test -e "$PREPARE_MODELS_MODELS_DIR/$PREPARE_MODELS_MODEL/2"'
    assert machine.provision("--health", health).status == 0
    first = machine.net()
    machine.write(net("b"))
    assert machine.provision("--health", health).status == 1
    assert machine.told() == ("rolled-back", 2, None, "health-failed", "hold")
    assert machine.net() == first
    assert machine.provision("--health", "true").status == 1  # not every night again
    assert machine.told() == ("rolled-back", 2, None, "release-rejected", "hold")
    assert machine.provision("--force", "--health", "true").status == 0
    assert (machine.told(), machine.net().dims) == (("switched", 4, 2, None, "nothing"), "1, 8, 32, 32")
    assert "more than 0.1 s" in (prepare_models.Health("sleep 60", 0.1).problem(machine.models_dir, "net", 4) or "")


def test_what_run_built_in_place_becomes_the_first_version(machine: Machine) -> None:
    machine.write(net("a"))
    assert machine.run().status == 0
    sha256 = machine.net().sha256
    assert machine.provision().status == 0
    assert machine.told() == ("up-to-date", 2, None, None, "nothing")
    assert machine.net() == (2, sha256, "1, 4, 32, 32")
    assert machine.run().model("net")["status"] == "up-to-date"
    assert machine.ledger() == [("adopted", None, 2)]


def test_what_a_named_consumer_or_a_comparison_refuses_is_not_switched_to(machine: Machine) -> None:
    machine.write(net("a"), {"name": "other", "source": "a.onnx"}, consumers=["triton"])
    assert machine.provision().status == 0
    before = machine.net(), complete(machine.models_dir / "other")
    cache = calibration_cache.write({"input": 1e-5, "hidden": 1e-5, "output": 1e-5})
    (machine.folder / "wrong.cache").write_bytes(cache)
    far_off = {"name": "other", "source": "b.onnx", "precision": "int8", "calibration_cache": "wrong.cache"}
    machine.write(net("b"), far_off, consumers=["isaac-ros@5.0"])
    assert machine.provision().status == 1
    assert machine.told() == ("failed", 2, None, "lint-findings", "try-again")
    assert machine.told("other") == ("failed", 2, None, "verification-failed", "try-again")
    assert (machine.model()["phase"], machine.model("other")["phase"]) == ("lint", "verify")
    assert (machine.net(), complete(machine.models_dir / "other")) == before


def test_a_bundle_is_provisioned_as_its_signature_allows(machine: Machine) -> None:
    machine.write(net("a"))
    assert machine.call("lock", "models.yaml", "--platform", "local").status == 0
    options = ("--platform", "local", "--no-wheels")
    assert machine.call("bundle", "create", "models.yaml", "-o", "site.bundle", *options).status == 0
    machine.manifest = machine.folder / "site.bundle"
    refused = machine.provision("--require-signed")
    assert (json.loads(refused.stdout)["error"]["code"], machine.status()["outcome"]) == ("bundle-signature", "stopped")
    assert machine.status()["error"]["code"] == "bundle-signature"
    assert not (machine.models_dir / "net").exists()
    assert machine.provision().status == 0
    assert machine.net().version == 2


def test_a_number_that_no_release_has_is_not_one(tmp_path: Path) -> None:
    root = tmp_path / ".releases"
    for name in ("3", "007", "-1", "\u0663", "9" * 20, "9" * 250):
        (root / name).mkdir(parents=True)
    (root / "notes.json").write_text(json.dumps({"newest": (1 << 63) - 1}))
    (root / "current").symlink_to("9" * 4000)
    releases = Releases(tmp_path)
    assert (releases.numbers(), releases.current, releases.notes) == ([3], None, Notes())


@pytest.mark.usefixtures("machine")
def test_a_reader_never_sees_two_versions_mixed() -> None:
    phases: list[tuple[str | None, object]] = []
    done = [
        prepare_models.provision(
            {"version": 1, "models": [net(source)]}, executor="local",
            on_event=lambda event: phases.append((event.model, event.data["phase"])) if event.kind == "phase" else None,
        )
        for source in ("a", "b")
    ]  # fmt: skip
    assert all(each.ok for each in done)
    assert [phase for _, phase in phases] == ["run", "verify", "switch"] * 2
    assert done[-1].models["net"]["version"] == 3
    seen: set[Served] = set()
    ended = threading.Event()

    def read() -> None:
        while not ended.is_set():
            seen.add(served(Path("models/net")))

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for _ in range(20):
            assert prepare_models.rollback("net").version == 2
            assert prepare_models.rollback("net", to=3).before == 2
    finally:
        ended.set()
        reader.join()
    assert {each.dims for each in seen} == {"1, 4, 32, 32", "1, 8, 32, 32"}
    assert len({(each.version, each.sha256, each.dims) for each in seen}) == 2
