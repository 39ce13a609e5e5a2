"""A fleet: what a build host built, robots take, and they publish nothing else."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from prepare_models.errors import UsageError
from prepare_models.options import Sharing
from prepare_models.running.supply import Supply
from prepare_models.signing import envelopes
from prepare_models.store.local import open_store
from tests import networks
from tests.command import Workplace
from tests.farm.store_server import S3, s3

if TYPE_CHECKING:
    from securesystemslib.signer import CryptoSigner


def write_key(folder: Path) -> CryptoSigner:
    """Write key.pem and key.pub, and return what signs with them."""
    for command in ("genpkey -algorithm ed25519 -out key.pem", "pkey -in key.pem -pubout -out key.pub"):
        subprocess.run(["openssl", *command.split()], check=True, cwd=folder)
    return envelopes.private_key(folder / "key.pem", None)


@pytest.fixture
def server() -> Iterator[S3]:
    with s3() as started:
        yield started


class Machine(Workplace):
    """A machine with a store that it shares with others, and with keys that it trusts."""

    def __init__(self, folder: Path, url: str, **variables: str) -> None:
        folder.mkdir()
        super().__init__(folder)
        self._shared = url
        self._variables = {"PREPARE_MODELS_TRUSTED_KEYS": str(folder / "keys.json"), **variables}
        networks.conv(folder / "net.onnx")
        self.write({"name": "net", "source": "net.onnx"})

    def environment(self, **variables: str) -> dict[str, str]:
        return super().environment(**{**self._variables, **variables})

    def net(self, policy: str, *arguments: str, url: str = "", **variables: str) -> dict[str, Any]:
        """Run the manifest, and return the report of its model."""
        given = ("--store", url or self._shared, "--policy", policy)
        return self.run(*given, *arguments, **variables).model("net")

    def forget(self) -> None:
        """Lose the models directory, and the local store."""
        shutil.rmtree(self.models_dir, ignore_errors=True)
        shutil.rmtree(self.cache_dir / "engines", ignore_errors=True)


def codes(model: dict[str, Any]) -> list[str]:
    return [warning["code"] for warning in model["warnings"] if warning["code"].startswith("shared-")]


def test_a_robot_takes_what_was_built_for_its_kind_and_builds_nothing(server: S3, tmp_path: Path) -> None:
    host = Machine(tmp_path / "host", server.url, **server.variables)
    robot = Machine(tmp_path / "robot", server.url, **server.variables)
    write_key(tmp_path)
    sign = ("--sign", str(tmp_path / "key.pem"))

    missing = robot.net("pull-only")
    assert missing["error"]["code"] == "engine-missing"
    assert not list(robot.models_dir.rglob("*.plan"))
    built = host.net("build-and-push")
    assert (built["status"], codes(built)) == ("built", [])
    unsigned = robot.net("pull-only")["error"]
    assert unsigned["code"] == "shared-engine-untrusted"
    assert "prepare-models store push URL --sign KEY.pem" in unsigned["hint"]
    assert host.call("store", "push", server.url, *sign).status == 0
    refused = robot.net("pull-only")
    assert refused["error"]["code"] == "shared-engine-untrusted"
    assert built["build_key"][:16] in refused["error"]["message"]
    assert robot.call("trust", "add", str(tmp_path / "key.pub")).status == 0
    pulled = robot.net("pull-only", "--jitter", "0.1", "--bandwidth", "20MiB")
    assert (pulled["status"], pulled["reason"]) == ("restored", "restore because: no engine yet")
    assert (pulled["engine"]["sha256"], pulled["origin"]["store"]) == (built["engine"]["sha256"], server.url)

    server.refuse(1000)  # without the shared store, what is here goes on
    served = ("--models-dir", str(robot.folder / "served"), "--store", server.url, "--policy", "pull-only", "--json")
    provisioned = robot.call("provision", str(robot.manifest), "--executor", "local", *served)
    (shown,) = json.loads(provisioned.stdout)["models"]
    assert (provisioned.status, shown["state"]) == (0, "switched"), provisioned.stdout
    server.refuse(0)

    files = server.files()
    entry, plan = f"engines/site/engines/{built['build_key']}.json", f"engines/site/objects/{built['engine']['sha256']}"
    true = files.cat_file(plan)
    files.pipe_file(plan, true[:-1] + b"!")
    robot.forget()
    tampered = robot.net("pull-only")
    assert tampered["error"]["code"] == "shared-engine-damaged"
    assert all(word in tampered["error"]["message"] for word in (built["build_key"][:16], "1/model.plan", server.url))
    assert not list(robot.models_dir.rglob("*.plan"))
    mended = robot.net("build-and-push")
    assert (mended["status"], mended["engine"]["sha256"], codes(mended)) == (
        "built", built["engine"]["sha256"], ["shared-engine-damaged"],
    )  # fmt: skip
    assert files.cat_file(plan) == true

    server.kill()
    cut_off = host.net("build-and-push", *sign)
    assert (cut_off["status"], codes(cut_off)) == ("up-to-date", ["shared-store-unreachable"])
    server.start()
    gone = host.net("build-and-push")
    assert ([each["message"] for each in gone["warnings"] if "bucket" in each["message"]]) != [], "it has no bucket now"
    files = server.files()
    assert host.net("build-and-push")["status"] == "up-to-date"
    unsigned = files.cat_file(entry)
    assert host.net("build-and-push", *sign)["status"] == "up-to-date"
    assert files.cat_file(entry) != unsigned, "what was put there again is signed by who asks for it"


def test_a_robot_without_a_store_builds_for_its_own_class_and_says_so(tmp_path: Path) -> None:
    robot, store = Machine(tmp_path / "robot", ""), ("--store", "http://127.0.0.1:9/engines")
    models: list[dict[str, Any]] = [{"name": "net", "source": "net.onnx"}]
    models.append({"name": "far", "source": "net.onnx", "targets": ["orin"]})
    robot.write(*models, targets={"orin": "sm_87/trt10.3", "here": "portable/rtx1.7"})
    done = robot.call(
        "provision", str(robot.manifest), "--executor", "local", "--models-dir", "served", "--json", *store
    )
    assert done.status == 0, done.stdout
    (shown,) = json.loads(done.stdout)["models"]
    assert (shown["name"], shown["state"], codes(shown)) == ("net", "switched", ["shared-store-unreachable"])
    assert [folder.name for folder in (robot.folder / "served").iterdir() if folder.is_dir()] == ["net"]


def test_settings_that_contradict_each_other_are_refused_before_the_work(tmp_path: Path) -> None:
    files, web = f"file://{tmp_path}/s", "https://127.0.0.1:9/e"
    for sharing, replace, why in (
        (Sharing(web, "build-and-push"), False, "can only be read"),
        (Sharing(files, "pull-only"), True, "--force builds"),
        (Sharing(files, sign=tmp_path / "key.pem"), False, "signs nothing"),
        (Sharing(files, "pull"), False, "no policy"),
        (Sharing("engines"), False, "is not a URL"),
    ):
        with pytest.raises(UsageError, match=why):
            Supply(sharing, open_store(), replace=replace)
