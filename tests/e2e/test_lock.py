"""``prepare-models lock`` as a user runs it, with a simulator of NGC and a web server that promises nothing."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import networks
from tests.command import Workplace
from tests.simulators.ngc import NgcSimulator
from tests.simulators.web import Answer, Server, certificate

REMOTE = "ngc://nvidia/tao/net:v1/net.onnx"


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.fixture
def net(tmp_path: Path) -> bytes:
    return networks.conv(tmp_path / "seed.onnx").read_bytes()


@pytest.fixture
def sim(monkeypatch: pytest.MonkeyPatch, net: bytes) -> Iterator[NgcSimulator]:
    with NgcSimulator() as running:
        monkeypatch.setenv("NGC_CLI_API_URL", running.url)
        monkeypatch.setenv("NGC_CLI_AUTH_URL", running.url)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        running.publish("nvidia/tao/net", "v1", {"net.onnx": net, "cache.txt": b"cache"})
        yield running


@pytest.fixture
def models(place: Workplace, sim: NgcSimulator, net: bytes) -> list[dict[str, Any]]:
    """A remote model with a calibration cache, and a local one."""
    (place.folder / "nets").mkdir()
    (place.folder / "nets" / "own.onnx").write_bytes(net)
    remote = {"name": "net", "source": REMOTE, "calibration_cache": "ngc://nvidia/tao/net:v1/cache.txt"}
    return [remote, {"name": "own", "source": "nets/own.onnx"}]


def lock(place: Workplace, *arguments: str, **variables: str) -> tuple[int, str, dict[str, Any]]:
    done = place.call("lock", str(place.manifest), "--platform", "local", *arguments, **variables)
    file = place.folder / "models.lock"
    return done.status, done.stderr, json.loads(file.read_text()) if file.exists() else {}


def test_a_lock_has_the_digest_of_every_file_and_stays_the_same(
    place: Workplace, models: list[dict[str, Any]], sim: NgcSimulator, net: bytes
) -> None:
    place.write(*models)
    status, told, document = lock(place)
    assert status == 0, told
    text = (place.folder / "models.lock").read_text()
    model, cache = document["models"]["net"]
    assert (model["role"], model["source"], model["promised"]) == ("model", REMOTE, "server")
    assert (model["sha256"], model["bytes"]) == (sha256(net), len(net))
    assert (cache["role"], cache["sha256"]) == ("calibration_cache", sha256(b"cache"))
    assert document["models"]["own"] == [
        {"role": "model", "source": "nets/own.onnx", "sha256": sha256(net), "bytes": len(net)}
    ]
    ((name, facts),) = document["platforms"].items()
    assert name.startswith("local-")
    assert facts["backend"] == "tensorrt_rtx"
    asked = len(sim.asked)
    place.write(*reversed(models))
    assert lock(place)[0] == 0
    assert (place.folder / "models.lock").read_text() == text
    assert len(sim.asked) == asked


def test_check_and_run_name_what_drifted(place: Workplace, models: list[dict[str, Any]], net: bytes) -> None:
    remote, own = models
    place.write(*models)
    lock(place)
    file, local = place.folder / "models.lock", place.folder / "nets" / "own.onnx"
    locked = file.read_text()
    check = ("lock", str(place.manifest), "--check", "--platform", "local")
    assert place.call(*check).status == 0
    elsewhere = {**remote, "source": REMOTE.replace("v1", "v2")}
    cases: list[tuple[list[dict[str, Any]], bytes, str, str]] = [
        (models, net + b"\0", locked, "own: model nets/own.onnx has sha256"),
        (models, net, locked.replace(f'"bytes": {len(net)}', '"bytes": 7'), f"own.onnx has {len(net)} bytes, the lock"),
        ([elsewhere, own], net, locked, "net: model ngc://nvidia/tao/net:v2/net.onnx is not in the lock"),
        ([*models, {**own, "name": "third"}], net, locked, "third: is not in the lock"),
        ([own], net, locked, "net: is in the lock but not in the manifest"),
        ([remote, {**own, "sha256": "0" * 64}], net, locked, f"own: model nets/own.onnx has sha256 {'0' * 64} in the"),
        (models, net, locked.replace('"tool": "', '"tool": "0.'), "tool is"),
    ]
    for manifest, content, text, told in cases:
        place.write(*manifest)
        local.write_bytes(content)
        file.write_text(text)
        checked, ran = place.call(*check), place.run("--locked")
        assert (checked.status, ran.status) == (1, 1), told
        assert told in checked.stderr
        assert told in ran.stderr
    assert not place.models_dir.exists()


def test_check_tells_what_servers_have_now_when_it_is_asked_to(
    place: Workplace, models: list[dict[str, Any]], sim: NgcSimulator, net: bytes
) -> None:
    models[0]["sha256"] = sha256(net)  # a pin is not an answer of the server
    place.write(*models)
    assert lock(place)[0] == 0
    locked = (place.folder / "models.lock").read_text()
    offline = ("lock", str(place.manifest), "--check", "--platform", "local")
    asked = len(sim.asked)
    assert place.call(*offline).status == 0
    assert len(sim.asked) == asked
    assert place.call(*offline, "--online").status == 0
    assert len(sim.asked) > asked
    assert not [each.target for each in sim.asked[asked:] if "net.onnx" in each.target]  # its digest, not its bytes
    sim.publish("nvidia/tao/net", "v1", {"net.onnx": net + b"1", "cache.txt": b"cache"})
    drifted = place.call(*offline, "--online", "--json")
    assert drifted.status == 1
    (told,) = json.loads(drifted.stdout)["drift"]
    assert told.startswith(
        f"net: model {REMOTE} has sha256 {sha256(net + b'1')} on its server, the lock has {sha256(net)}"
    )
    assert place.call(*offline).status == 0
    sim.publish("nvidia/tao/net", "v1", {"cache.txt": b"cache"})
    gone = place.call(*offline, "--online")
    assert (gone.status, "sources-failed" in gone.stderr or "source-not-found" in gone.stderr) == (1, True), gone.stderr
    assert (place.folder / "models.lock").read_text() == locked
    assert place.call("lock", str(place.manifest), "--online").status == 2


def test_a_locked_run_builds_and_a_changed_server_is_refused(
    place: Workplace, models: list[dict[str, Any]], sim: NgcSimulator, tmp_path: Path
) -> None:
    del models[0]["calibration_cache"]
    place.write(*models)
    assert lock(place)[0] == 0
    ran = place.run("--locked")
    assert ran.status == 0, ran.stderr
    other = networks.conv(tmp_path / "other.onnx", seed=1).read_bytes()
    sim.publish("nvidia/tao/net", "v1", {"net.onnx": other})
    assert place.run("--locked").report["summary"]["up-to-date"] == 2
    fresh = place.run(
        "--force", "net", PREPARE_MODELS_CACHE_DIR=str(tmp_path / "fresh")
    )  # pinned without --locked, too
    assert fresh.model("net")["error"]["code"] == "digest-mismatch"
    assert lock(place)[2]["models"]["net"][0]["sha256"] != sha256(other)
    assert lock(place, "--update", "net")[2]["models"]["net"][0]["sha256"] == sha256(other)


def test_a_calibration_cache_is_pinned_too(
    place: Workplace, models: list[dict[str, Any]], sim: NgcSimulator, net: bytes, tmp_path: Path
) -> None:
    place.write(*models)
    lock(place)
    sim.publish("nvidia/tao/net", "v1", {"net.onnx": net, "cache.txt": b"another"})
    done = place.run("net", "--locked", PREPARE_MODELS_CACHE_DIR=str(tmp_path / "fresh"))
    assert done.model("net")["error"]["code"] == "digest-mismatch"


def test_what_nobody_promises_is_locked_by_the_first_fetch(place: Workplace, net: bytes, tmp_path: Path) -> None:
    tls, ca = certificate(tmp_path)
    with Server(lambda _: Answer(net), tls) as server:
        place.write({"name": "net", "source": f"{server.url}/net.onnx?token=canary"})
        status, told, document = lock(place, REQUESTS_CA_BUNDLE=str(ca), NO_PROXY="127.0.0.1")
        assert status == 0, told
    (file,) = document["models"]["net"]
    assert (file["sha256"], file["promised"]) == (sha256(net), None)
    assert "canary" not in (place.folder / "models.lock").read_text()


def test_what_can_not_be_fetched_leaves_no_lock(place: Workplace, models: list[dict[str, Any]]) -> None:
    models[0]["source"] = "ngc://nvidia/tao/net:v9/net.onnx"
    place.write(*models)
    status, told, document = lock(place)
    assert (status, document) == (1, {})
    assert "[source-not-found]" in told


def test_terms_are_accepted_before_anything_is_fetched(
    place: Workplace, models: list[dict[str, Any]], sim: NgcSimulator
) -> None:
    models[0]["eula"] = "https://example.com/terms"
    place.write(*models)
    status, told, _ = lock(place)
    assert (status, sim.asked) == (1, [])
    assert "net: https://example.com/terms" in told
    assert lock(place, "--accept-eula")[0] == 0


def one_file(**facts: Any) -> str:
    file = {"role": "model", "source": "own.onnx", "sha256": "0" * 64, "bytes": 1, **facts}
    return json.dumps({"version": 1, "models": {"own": [file]}, "platforms": {}})


@pytest.mark.parametrize(
    "text",
    [
        "", "{}", '{"version": 2}', '{"version": 1, "models": {"a": [{}]}, "platforms": {}}', one_file(source=[]),
        one_file(bytes=True), one_file(bytes="1"), one_file(sha256="0"), one_file(role="other"),
    ],
)  # fmt: skip
def test_a_damaged_lock_is_told(place: Workplace, text: str) -> None:
    place.write({"name": "own", "source": "own.onnx"})
    (place.folder / "models.lock").write_text(text)
    for command in (["plan"], ["lock", "--check"], ["lock"]):
        done = place.call(*command, str(place.manifest))
        assert done.status == 1
        assert "models.lock is not a lock" in done.stderr


def test_no_lock_can_not_be_held_to(place: Workplace) -> None:
    place.write({"name": "own", "source": "own.onnx"})
    assert place.run("--locked").status == 2
    assert place.call("lock", str(place.manifest), "--check").status == 1
    assert place.call("lock", str(place.manifest), "--update", "no-such").status == 2


@pytest.fixture
def depot(tmp_path: Path) -> Workplace:
    """Where an engine was built and locked, beside an unsigned bundle that carries it."""
    place = Workplace(tmp_path / "depot")
    place.folder.mkdir()
    networks.conv(place.folder / "own.onnx")
    place.write({"name": "own", "source": "own.onnx"})
    for command in (
        ("lock", "models.yaml", "--platform", "local"),
        ("run", "models.yaml", "--executor", "local", "--locked"),
        ("lock", "models.yaml", "--platform", "local", "--engines"),
        ("bundle", "create", "models.yaml", "-o", "site.bundle", "--engines", "--no-wheels"),
    ):
        done = place.call(*command)
        assert done.status == 0, done.stderr
    return place


@pytest.fixture
def robot(depot: Workplace, tmp_path: Path) -> Workplace:
    """Another machine with the manifest and its lock, to which the bundle brought the engine."""
    place = Workplace(tmp_path / "robot")
    place.folder.mkdir()
    for name in ("own.onnx", "models.yaml", "models.lock", "site.bundle"):
        (place.folder / name).write_bytes((depot.folder / name).read_bytes())
    brought = place.call("run", "--bundle", "site.bundle", "--executor", "local", "--models-dir", str(place.models_dir))
    assert brought.status == 0, brought.stderr
    return place


def test_a_locked_engine_may_come_from_elsewhere(depot: Workplace, robot: Workplace) -> None:
    ((engine,),) = json.loads((robot.folder / "models.lock").read_text())["engines"].values()
    assert engine["platform"].startswith("local-")
    assert engine["sha256"] == sha256((depot.models_dir / "own" / "1" / "model.plan").read_bytes())
    loose = robot.run("--dry-run").report["models"][0]
    assert (loose["action"], "from an unsigned bundle" in loose["reason"]) == ("rebuild", True)
    held = robot.run("--locked").model("own")
    assert (held["status"], held["engine"]["sha256"]) == ("up-to-date", engine["sha256"])
    (scope,) = (robot.cache_dir / "bundles").glob(f"*/cache/engines/{engine['build_key']}")
    shutil.copytree(scope, robot.cache_dir / "engines" / scope.name)
    elsewhere = robot.run("--locked", "--models-dir", str(robot.folder / "elsewhere")).model("own")
    assert (elsewhere["status"], elsewhere["engine"]["sha256"]) == ("restored", engine["sha256"])


def test_a_locked_engine_is_no_other_one(depot: Workplace, robot: Workplace) -> None:
    for place in (depot, robot):
        document = json.loads((place.folder / "models.lock").read_text())
        document["engines"]["own"][0]["sha256"] = "0" * 64
        (place.folder / "models.lock").write_text(json.dumps(document))
    held = robot.run("--locked", "--dry-run").report["models"][0]
    assert (held["action"], "the lock has 000000000000" in held["reason"]) == ("rebuild", True)
    again = depot.call("bundle", "create", "models.yaml", "-o", "x.bundle", "--engines", "--no-wheels")
    assert (again.status, "own: the engine has sha256" in again.stderr) == (1, True), again.stderr
    relocked = depot.call("lock", "models.yaml", "--platform", "local", "--engines")
    assert relocked.status == 0, relocked.stderr
    assert "0" * 64 not in (depot.folder / "models.lock").read_text()


def test_engines_leave_the_lock_with_the_model_that_they_were_made_from(depot: Workplace) -> None:
    assert lock(depot)[2]["engines"]["own"]
    networks.conv(depot.folder / "own.onnx", seed=1)
    assert "engines" not in lock(depot)[2]
    missing = lock(depot, "--engines")
    assert (missing[0], "[engine-missing]" in missing[1]) == (1, True), missing[1]


@pytest.mark.parametrize(
    "settings",
    [
        {"source": "special"},
        {"precision": "int8", "calibration_cache": "special"},
        {"verify": {"npz": "special"}},
        {"plugins": [{"file": "special", "sha256": "0" * 64}]},
    ],
)
@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_no_device_and_no_pipe_is_read(place: Workplace, settings: dict[str, Any], kind: str) -> None:
    networks.conv(place.folder / "own.onnx")
    special = place.folder / "special"
    os.mkfifo(special) if kind == "pipe" else special.symlink_to("/dev/zero")
    place.write({"name": "own", "source": "own.onnx", **settings})
    status, told, document = lock(place)
    assert (status, document) == (3, {}), told
    assert "not a regular file" in told
