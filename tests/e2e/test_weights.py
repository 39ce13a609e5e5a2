"""Models whose weights are in other files, here, on servers and in archives: built, planned, locked and bundled."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import onnx
import pytest

from tests import networks
from tests.command import Workplace
from tests.entrypoint.model_server import Answer, ModelServer


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModelServer]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with ModelServer() as running:
        yield running


def write(folder: Path, seed: int) -> tuple[bytes, bytes]:
    """Return a model and its weights; the models of all seeds are equal."""
    folder.mkdir(exist_ok=True)
    loaded = onnx.load(networks.conv(folder / "plain.onnx", seed=seed))
    (folder / "model.onnx_data").unlink(missing_ok=True)
    onnx.save(loaded, folder / "model.onnx", save_as_external_data=True, location="model.onnx_data", size_threshold=0)
    return (folder / "model.onnx").read_bytes(), (folder / "model.onnx_data").read_bytes()


def serve(server: ModelServer, place: Workplace, seed: int) -> dict[str, str]:
    """Serve a model, the same one for each seed, with its weights; return what a manifest says of it."""
    model, weights = write(place.folder / "made", seed)
    shutil.rmtree(place.folder / "made")
    server.serve("/nets/model.onnx_data", Answer(weights, headers={"ETag": f'"w{seed}"'}))
    source = server.serve("/nets/model.onnx", Answer(model, headers={"ETag": '"m"'}))
    return {"name": "net", "source": source, "sha256": hashlib.sha256(model).hexdigest()}


def planned(place: Workplace) -> str:
    done = place.call("plan", str(place.manifest), "--models-dir", str(place.models_dir), "--executor", "local")
    return done.stdout


def test_a_model_on_a_server_from_fetch_to_bundle(server: ModelServer, place: Workplace) -> None:
    place.write(serve(server, place, 0))
    unlocked = place.run().model("net")["error"]
    assert (unlocked["code"], "prepare-models lock" in unlocked["hint"]) == ("onnx-external-data", True)
    assert place.call("lock", str(place.manifest)).status == 0
    lock = json.loads((place.folder / "models.lock").read_text(encoding="utf-8"))
    files = {file["role"]: file for file in lock["models"]["net"]}
    assert files["external_data"]["source"] == f"{server.url}/nets/model.onnx_data"
    built = place.run()
    model = built.model("net")
    assert (model["status"], model["error"]) == ("built", None)
    assert [material["role"] for material in model["materials"]] == ["model", "external_data"]
    assert model["materials"][1]["sha256"] == files["external_data"]["sha256"]
    asked = len(server.asked)
    assert "up-to-date" in planned(place)
    assert place.run().model("net")["status"] == "up-to-date"
    shutil.rmtree(place.models_dir)
    assert place.run("--locked").model("net")["status"] == "restored"
    assert len(server.asked) == asked, "what is locked and here is asked of nobody"
    bundle = place.folder / "net.bundle"
    made = place.call("bundle", "create", str(place.manifest), "-o", str(bundle), "--no-wheels")
    assert made.status == 0, made.stderr
    closed = Workplace(place.folder / "closed")
    closed.folder.mkdir()
    server.answers.clear()
    done = closed.call(
        "run", "--bundle", str(bundle), "--executor", "local", "--json", "--models-dir", str(closed.models_dir)
    )
    assert done.model("net")["status"] == "built", done.stdout + done.stderr
    assert done.model("net")["build_key"] == model["build_key"]


def test_other_weights_on_the_server_give_another_engine(server: ModelServer, place: Workplace) -> None:
    place.write(serve(server, place, 0))
    assert place.call("lock", str(place.manifest)).status == 0
    first = place.run().model("net")
    serve(server, place, 1)
    assert "model.onnx_data has sha256" in place.call("lock", str(place.manifest), "--check", "--online").stderr
    assert place.run().model("net")["status"] == "up-to-date", "the lock holds the old weights"
    assert place.call("lock", str(place.manifest), "--update", "net").status == 0
    assert "external weights sha256" in planned(place)
    second = place.run().model("net")
    assert second["status"] == "built"
    assert second["engine"]["sha256"] != first["engine"]["sha256"]
    shutil.rmtree(place.cache_dir / "downloads")
    serve(server, place, 0)
    shutil.rmtree(place.models_dir)
    shutil.rmtree(place.cache_dir / "engines")
    failed = place.run().model("net")
    assert (failed["status"], failed["error"]["code"]) == ("failed", "digest-mismatch")


def test_a_model_in_an_archive(place: Workplace) -> None:
    write(place.folder / "nets", 0)
    subprocess.run(["tar", "czf", "a.tar.gz", "nets"], check=True, cwd=place.folder)
    shutil.rmtree(place.folder / "nets")
    place.write({"name": "net", "source": "a.tar.gz!nets/model.onnx", "precision": "fp16"})
    assert place.call("lock", str(place.manifest)).status == 0
    assert place.call("lock", str(place.manifest), "--check").status == 0
    model = place.run("--locked").model("net")
    assert (model["status"], model["error"]) == ("built", None)
    assert "up-to-date" in planned(place)
    bundle = place.folder / "net.bundle"
    made = place.call("bundle", "create", str(place.manifest), "-o", str(bundle), "--no-wheels")
    assert made.status == 0, made.stderr
    closed = Workplace(place.folder / "closed")
    closed.folder.mkdir()
    done = closed.call(
        "run", "--bundle", str(bundle), "--executor", "local", "--json", "--models-dir", str(closed.models_dir)
    )
    assert done.model("net")["status"] == "built", done.stdout + done.stderr
    assert done.model("net")["build_key"] == model["build_key"]


def test_an_archive_with_other_weights_beside_a_pinned_model(place: Workplace) -> None:
    def pack(seed: int) -> str:
        model, _ = write(place.folder / "nets", seed)
        subprocess.run(["tar", "czf", "a.tar.gz", "nets"], check=True, cwd=place.folder)
        return hashlib.sha256(model).hexdigest()

    place.write({"name": "net", "source": "a.tar.gz!nets/model.onnx", "sha256": pack(0)})
    first = place.run().model("net")
    assert "up-to-date" in planned(place)
    pack(1)
    assert "external weights sha256" in planned(place)
    second = place.run().model("net")
    assert (second["status"], second["error"]) == ("built", None)
    assert second["engine"]["sha256"] != first["engine"]["sha256"]
    (place.folder / "a.tar.gz").unlink()
    assert "up-to-date" in planned(place), "an engine does not need its pinned source"


LONG = "w" * 130 + ".bin"  # its length takes two bytes in the file


@pytest.mark.parametrize(
    ("source", "location"), [("net.onnx", "w.bin"), ("net.onnx", LONG), ("NET.Onnx", "w.bin"), ("net", LONG)]
)
def test_external_data_counts(place: Workplace, source: str, location: str) -> None:
    def write(seed: int) -> None:
        model = onnx.load(networks.conv(place.folder / "plain.onnx", seed=seed))
        (place.folder / location).unlink(missing_ok=True)
        onnx.save(model, place.folder / source, save_as_external_data=True, location=location, size_threshold=0)

    def planned() -> str:
        done = place.call("plan", str(place.manifest), "--models-dir", str(place.models_dir), "--executor", "local")
        return done.stdout

    write(0)
    place.write({"name": "net", "source": source})
    before = place.run().model("net")
    assert "up-to-date" in planned()
    network = (place.folder / source).read_bytes()
    write(1)
    assert (place.folder / source).read_bytes() == network, "the weights alone are others"
    assert "rebuild because: external weights sha256 " in planned()
    judged = place.call("status", str(place.models_dir))
    assert (judged.status, "external weights sha256 " in judged.stdout) == (1, True)
    after = place.run().model("net")
    assert after["status"] == "built"
    assert after["reason"].startswith("rebuild because: external weights sha256 ")
    assert after["engine"]["sha256"] != before["engine"]["sha256"]
    shutil.rmtree(place.models_dir)
    again = place.run().model("net")
    assert (again["status"], again["engine"]["sha256"]) == ("restored", after["engine"]["sha256"])


@pytest.mark.parametrize("defect", ["missing", "link", "pipe"])
def test_weights_that_a_model_may_not_have_are_refused_by_every_command(place: Workplace, defect: str) -> None:
    model = onnx.load(networks.conv(place.folder / "plain.onnx"))
    (place.folder / "nets").mkdir()
    source, weights = place.folder / "nets/net.onnx", place.folder / "nets/w.bin"
    onnx.save(model, source, save_as_external_data=True, location="w.bin", size_threshold=0)
    place.write({"name": "net", "source": "nets/net.onnx"})
    outside = weights.rename(place.folder / "secret")
    if defect == "link":
        weights.symlink_to(outside)
    elif defect == "pipe":
        os.mkfifo(weights)
    why = {"missing": "can't be found", "link": "a link that leads out", "pipe": "not a regular file"}[defect]
    assert why in place.call("plan", str(place.manifest), "--executor", "local").stdout
    failed = place.run()
    assert (failed.status, failed.model("net")["error"]["code"]) == (1, "onnx-external-data")
    assert why in failed.model("net")["error"]["message"]
    assert not list(place.models_dir.rglob("*.plan"))
    for command in ("check", "lock"):
        refused = place.call(command, str(place.manifest), *(["--executor", "local"] if command == "check" else []))
        assert refused.status in (1, 3)
        assert why in refused.stdout + refused.stderr
    assert why in place.call("inspect", str(source)).stdout
    assert not (place.folder / "models.lock").exists()


def test_a_download_cache_of_links_builds(place: Workplace) -> None:
    """As Hugging Face's cache is: model and weights are links into a directory of contents."""
    model = onnx.load(networks.conv(place.folder / "plain.onnx"))
    onnx.save(model, place.folder / "m", save_as_external_data=True, location="model.onnx_data", size_threshold=0)
    blobs, snapshot = place.folder / "blobs", place.folder / "snapshots/0123"
    blobs.mkdir()
    snapshot.mkdir(parents=True)
    for name, written, blob in (("model.onnx", "m", "aa"), ("model.onnx_data", "model.onnx_data", "bb")):
        (place.folder / written).rename(blobs / blob)
        (snapshot / name).symlink_to(f"../../blobs/{blob}")
    place.write({"name": "net", "source": "snapshots/0123/model.onnx"})
    built = place.run().model("net")
    assert (built["status"], built["error"]) == ("built", None)
    assert built["identity"]["weights_sha256"] is not None
    assert place.call("lock", str(place.manifest)).status == 0
    assert "snapshots/0123/model.onnx_data" in (place.folder / "models.lock").read_text(encoding="utf-8")


def test_weights_of_one_name_are_not_mixed_up_by_the_processes_that_share_many_files(
    place: Workplace, server: ModelServer
) -> None:
    weights = {}
    sources = []
    for number, name in enumerate(("a", "b")):
        model, weights[name] = write(place.folder / name, seed=number)
        server.serve(f"/{name}/model.onnx_data", Answer(weights[name]))
        sources.append(server.serve(f"/{name}/{name}.onnx", Answer(model)))
    sources += [server.serve(f"/{number}.bin", Answer(b"%d" % number * 100)) for number in range(100)]
    result = place.call("fetch", *sources, "--output", str(place.folder / "out"), "--json")
    told = {file["source"].rpartition("/")[2]: file for file in json.loads(result.stdout)["files"]}
    refused = [name for name in weights if told[f"{name}.onnx"]["status"] == "failed"]
    assert [told[f"{name}.onnx"]["error"]["code"] for name in refused] == ["output-name-taken"]
    (kept,) = set(weights) - set(refused)
    assert told[f"{kept}.onnx"]["status"] == "fetched"
    files = {file.name: file.read_bytes() for file in (place.folder / "out").iterdir()}
    assert set(files) == {f"{kept}.onnx", "model.onnx_data", *(f"{number}.bin" for number in range(100))}
    assert files["model.onnx_data"] == weights[kept]
