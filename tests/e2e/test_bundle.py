"""The air gap as a user crosses it: a bundle is made where there is a network, and used where there is none."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
import pytest
import yaml

from prepare_models_entrypoint.onnx_graph.calibration_cache import write
from tests import networks
from tests.command import COMMAND, Result, Workplace
from tests.simulators.ngc import LEGACY_KEY, NgcSimulator

ROOT = Path(__file__).parents[2]
WEIGHTS = f"{'big' * 45}.weights"  # longer than one byte of a length can say
# A network namespace without any interface.
CLOSED = ("unshare", "--net", *(() if os.geteuid() == 0 else ("--map-root-user",)))
# Writes down every use of the network that a Python process tries.
WITNESS = """\
import os, sys
def note(*words):
    with open(os.environ["WITNESS"], "a") as file:
        print(*words, file=file)
def hear(event, arguments):
    if event in ("socket.bind", "socket.connect", "socket.sendto", "socket.getaddrinfo", "socket.gethostbyname"):
        note(event, arguments)
sys.addaudithook(hear)
note("process")
"""


@dataclass(frozen=True)
class Site:
    """A workplace on the connected side, with a bundle, and the closed side's command line."""

    place: Workplace
    bundle: Path

    def closed(self, folder: Path, *arguments: str, bundle: Path | None = None) -> Result:
        """Run a bundle in a network namespace of its own, with another cache and nothing else of the connected side."""
        folder.mkdir(exist_ok=True)
        witness = folder / "witness"
        witness.mkdir(exist_ok=True)
        (witness / "sitecustomize.py").write_text(WITNESS)
        kept = {name: text for name, text in os.environ.items() if not name.startswith("NGC_")}
        environment = {
            **kept, "PREPARE_MODELS_CACHE_DIR": str(folder / "cache"), "PYTHONPATH": str(witness),
            "WITNESS": str(folder / "heard"),
        }  # fmt: skip
        done = subprocess.run(
            [*CLOSED, COMMAND, "run", "--bundle", str(bundle or self.bundle), "--executor", "local",
             "--json", "--models-dir", str(folder / "models"), *arguments],
            capture_output=True, text=True, cwd=folder, check=False, env=environment,
        )  # fmt: skip
        return Result(done.returncode, done.stdout, done.stderr)


def models(folder: Path) -> list[dict[str, Any]]:
    """A remote model, one with weights beside it, and one in an archive, whose calibration cache is remote."""
    networks.conv(folder / "big.onnx", channels=64, seed=3)
    loaded = onnx.load(str(folder / "big.onnx"))
    (folder / "nets").mkdir()
    onnx.save_model(
        loaded, str(folder / "nets" / "big.onnx"), save_as_external_data=True, location=WEIGHTS, size_threshold=0
    )
    networks.conv(folder / "inner.onnx", seed=4)
    subprocess.run(["tar", "czf", "nets/pack.tar.gz", "inner.onnx"], check=True, cwd=folder)
    return [
        {"name": "remote", "source": "ngc://nvidia/tao/net:v1/net.onnx", "eula": "https://example.com/terms"},
        {"name": "weights", "source": "nets/big.onnx", "precision": "fp16"},
        {
            "name": "packed",
            "source": "nets/pack.tar.gz!inner.onnx",
            "precision": "int8",
            "calibration_cache": "ngc://nvidia/tao/net:v1/cache.txt",
        },
    ]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("connected")
    (folder / "ngc.key").write_text(LEGACY_KEY)  # the closed side has none
    with NgcSimulator() as sim, pytest.MonkeyPatch.context() as patch:
        patch.setenv("NGC_CLI_API_URL", sim.url)
        patch.setenv("NGC_CLI_AUTH_URL", sim.url)
        patch.setenv("NO_PROXY", "127.0.0.1")
        net = networks.conv(folder / "net.onnx").read_bytes()
        cache = write({"input": 0.02, "hidden": 0.03, "output": 0.03})
        sim.publish("nvidia/tao/net", "v1", {"net.onnx": net, "cache.txt": cache})
        place = Workplace(folder)
        place.write(*models(folder), defaults={"ngc": {"key_file": "ngc.key"}})
        locked = place.call("lock", str(place.manifest), "--platform", "local", "--accept-eula")
        assert locked.status == 0, locked.stderr
        bundle = folder / "site.bundle"
        made = create(place, bundle, "--no-wheels")
        assert made.status == 0, made.stderr
        yield Site(place, bundle)


def create(place: Workplace, bundle: Path, *arguments: str, **variables: str) -> Result:
    return place.call(
        "bundle", "create", str(place.manifest), "-o", str(bundle), "--accept-eula", "--json", *arguments, **variables
    )


def test_everything_is_built_without_any_network(site: Site, tmp_path: Path) -> None:
    moved = tmp_path / "medium" / "carried.bundle"
    moved.parent.mkdir()
    moved.write_bytes(site.bundle.read_bytes())
    done = site.closed(tmp_path / "closed", bundle=moved)
    assert done.status == 0, done.stderr
    report = done.report
    assert report["summary"]["built"] == 3
    heard = (tmp_path / "closed" / "heard").read_text().splitlines()
    assert set(heard) == {"process"}
    assert len(heard) > 3  # the command and its children, for each model one
    assert done.model("remote")["source"] == "ngc://nvidia/tao/net:v1/net.onnx"
    assert "https://example.com/terms" in done.model("remote")["licences"]
    locked = json.loads((site.place.folder / "models.lock").read_text())["models"]
    for name in ("remote", "weights", "packed"):
        assert (tmp_path / "closed" / "models" / name / "1" / "model.plan").stat().st_size > 1000
        assert done.model(name)["materials"][0]["sha256"] == locked[name][0]["sha256"]
    again = site.closed(tmp_path / "closed", "remote", bundle=moved)
    assert [model["status"] for model in again.report["models"]] == ["up-to-date"]
    connected = site.place.run("--accept-eula", "--locked", "remote")
    assert connected.model("remote")["build_key"] == done.model("remote")["build_key"]
    assert connected.model("remote")["engine"]["sha256"] == done.model("remote")["engine"]["sha256"]


# What the tool keeps of a few bytes each: for engines, sources, models directories, boots.
NOTES = (
    "digests.json", "digests.json.lock", "environments/", "durations/", "notices/", "locks/", "engines/locks/",
    "engines/sizes/", "downloads/sources.txt", "downloads/lock", "work/.lock",
)  # fmt: skip


def test_whatever_lies_in_the_cache_is_listed_or_small(site: Site, tmp_path: Path) -> None:
    assert site.closed(tmp_path, "--accept-eula").status == 0
    (tmp_path / "bad.onnx").write_bytes(b"\x08\x07\x12")
    place = Workplace(tmp_path)
    place.write({"name": "bad", "source": "bad.onnx"})
    assert place.run().status == 1

    def unlisted() -> list[str]:
        items = json.loads(place.call("cache", "ls", "--json").stdout)["items"]
        paths = [Path(item["path"]) for item in items]
        files = [file for file in place.cache_dir.rglob("*") if file.is_file() and not file.is_symlink()]
        rest = [file for file in files if not any(file == path or path in file.parents for path in paths)]
        large = [str(file) for file in rest if file.stat().st_size > 100_000]
        names = [file.relative_to(place.cache_dir).as_posix() for file in rest]
        locks = [name for name in names if name.startswith("bundles/") and name.endswith(".lock")]
        return large + [name for name in names if not name.startswith(NOTES) and name not in locks]

    assert unlisted() == []
    for kind in ("blobs", "records"):
        for path in (place.cache_dir / "downloads" / kind).glob("*"):
            os.utime(path, (0, 0))
    pruned = place.call("cache", "prune", "--unused", "0", "--json")
    assert json.loads(pruned.stdout)["in_use"] == []
    assert json.loads(place.call("cache", "ls", "--json").stdout)["items"] == []
    assert unlisted() == []


def test_a_bundle_is_made_the_same_wherever_and_whenever(site: Site, tmp_path: Path) -> None:
    other = tmp_path / "other.bundle"
    made = create(
        site.place, other, "--no-wheels", PREPARE_MODELS_CACHE_DIR=str(tmp_path / "fresh"), TZ="Asia/Tokyo", LC_ALL="C",
        HOME=str(tmp_path),
    )  # fmt: skip
    assert made.status == 0, made.stderr
    assert other.read_bytes() == site.bundle.read_bytes()
    with_tool = [tmp_path / f"{number}.bundle" for number in range(2)]
    for target, zone in zip(with_tool, ("Asia/Tokyo", "America/Lima"), strict=True):
        made = create(site.place, target, TZ=zone)
        assert made.status == 0, made.stderr
    assert with_tool[0].read_bytes() == with_tool[1].read_bytes()
    installs_without_an_index(with_tool[0], tmp_path)


def installs_without_an_index(bundle: Path, tmp_path: Path) -> None:
    """Install the tool that is in a bundle as the documentation says."""
    wheels, fresh = tmp_path / "wheels", tmp_path / "venv"
    (script,) = re.findall("```python\n(.*?)```", (ROOT / "docs" / "air-gap.md").read_text(), re.DOTALL)
    with bundle.open("rb") as stream:  # by a Python that has nothing installed
        subprocess.run([sys.executable, "-I", "-S", "-c", script, str(wheels)], check=True, stdin=stream)
    uv = str(Path(sys.executable).parent / "uv")
    subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, str(fresh)], check=True)
    subprocess.run(
        [*CLOSED, uv, "pip", "install", "--quiet", "--no-index", "--find-links", str(wheels), "--python",
         str(fresh / "bin" / "python"), "prepare-models"],
        check=True, env={**os.environ, "UV_CACHE_DIR": str(tmp_path / "uv")},
    )  # fmt: skip
    installed = [str(fresh / "bin" / "prepare-models"), "bundle", "verify", str(bundle)]
    assert (
        "every byte is as it was written"
        in subprocess.run(installed, check=True, capture_output=True, text=True).stdout
    )


def test_who_can_reach_no_index_leaves_the_tool_out(site: Site, tmp_path: Path) -> None:
    closed = {"PIP_INDEX_URL": "http://127.0.0.1:9/simple", "PIP_RETRIES": "0", "PIP_CONFIG_FILE": os.devnull}
    closed |= {"PIP_FIND_LINKS": "", "PIP_EXTRA_INDEX_URL": "", "PIP_CACHE_DIR": str(tmp_path / "pip")}
    made = create(site.place, tmp_path / "x.bundle", **closed)
    assert (made.status, "[wheel-missing]" in made.stderr, "--no-wheels" in made.stderr) == (1, True, True), made.stderr
    assert not (tmp_path / "x.bundle").exists()


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone that the tool was installed from, without ``--editable``, into an environment that has no pip."""
    folder = tmp_path_factory.mktemp("clone")
    (folder / "source").mkdir()
    for name in ("orchestrator", "entrypoint", "docker"):
        shutil.copytree(ROOT / name, folder / "source" / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder / "source" / name)
    uv = str(Path(sys.executable).parent / "uv")
    python = str(folder / "venv" / "bin" / "python")
    subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, str(folder / "venv")], check=True)
    for what in (("-r", str(ROOT / ".ci/locks/local.txt")), (str(folder / "source"),)):
        subprocess.run([uv, "pip", "install", "--quiet", "--no-deps", "--python", python, *what], check=True)
    return folder


def test_an_installation_from_a_clone_is_carried_while_the_clone_is_there(clone: Path, tmp_path: Path) -> None:
    networks.conv(tmp_path / "own.onnx")
    place = Workplace(tmp_path)
    place.write({"name": "own", "source": "own.onnx"})
    assert place.call("lock", str(place.manifest), "--platform", "local").status == 0

    def create() -> Result:
        arguments = ("bundle", "create", place.manifest, "-o", tmp_path / "x.bundle", "--json")
        done = subprocess.run(
            [clone / "venv/bin/prepare-models", *arguments],
            capture_output=True, text=True, cwd=tmp_path, check=False, env=place.environment(),
        )  # fmt: skip
        return Result(done.returncode, done.stdout, done.stderr)

    lacking = create()
    assert lacking.status == 3, lacking.stderr
    (advice,) = re.findall(r"(uv pip install .* pip|\S+ -m ensurepip); or", lacking.stderr)
    subprocess.run(advice, shell=True, check=True)  # the hint, to the letter
    made = create()
    assert made.status == 0, made.stderr
    assert "prepare_models-" in "".join(wheel["name"] for wheel in json.loads(made.stdout)["wheels"])
    ours = clone / "source/orchestrator/prepare_models/__init__.py"
    ours.write_text(ours.read_text() + "# pulled\n")
    changed = create()
    assert (changed.status, "[wheel-changed]" in changed.stderr) == (1, True), changed.stderr
    shutil.rmtree(clone / "source")
    gone = create()
    assert (gone.status, f"{clone / 'source'}, which no longer exists" in gone.stderr) == (1, True), gone.stderr
    assert "--wheels DIR" in gone.stderr


def test_a_damaged_bundle_runs_nothing(site: Site, tmp_path: Path) -> None:
    data = bytearray(site.bundle.read_bytes())
    data[len(data) // 2] ^= 4
    bad = tmp_path / "bad.bundle"
    bad.write_bytes(data)
    done = site.closed(tmp_path / "closed", bundle=bad)
    assert (done.status, "[bundle-damaged]" in done.stderr) == (1, True)
    assert not [file for file in (tmp_path / "closed" / "models").rglob("*") if file.is_file()]
    checked = site.place.call("bundle", "verify", str(bad))
    assert (checked.status, checked.stdout, "[bundle-damaged]" in checked.stderr) == (1, "", True)
    assert site.place.call("bundle", "verify", str(site.bundle)).status == 0


def test_a_bundle_may_come_through_a_pipe(site: Site, tmp_path: Path) -> None:
    for action in (("bundle", "verify"), ("bundle", "ls"), ("run", "--executor", "local", "remote", "--bundle")):
        done = subprocess.run(
            f"cat {site.bundle} | {COMMAND} {' '.join(action)} /dev/stdin", shell=True, capture_output=True, text=True,
            check=False, cwd=tmp_path, env={**os.environ, "PREPARE_MODELS_CACHE_DIR": str(tmp_path / "cache")},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "models" / "remote" / "1" / "model.plan").exists()


def test_what_a_base_has_is_not_repeated(site: Site, tmp_path: Path) -> None:
    place = Workplace(tmp_path / "next")
    place.folder.mkdir()
    for path in ("nets/big.onnx", f"nets/{WEIGHTS}", "nets/pack.tar.gz"):
        (place.folder / path).parent.mkdir(exist_ok=True)
        (place.folder / path).write_bytes((site.place.folder / path).read_bytes())
    networks.conv(place.folder / "new.onnx", seed=9)
    (place.folder / "models.lock").write_text((site.place.folder / "models.lock").read_text())
    old = yaml.safe_load(site.place.manifest.read_text())["models"]
    place.write(*old, {"name": "new", "source": "new.onnx"})
    cache = {"PREPARE_MODELS_CACHE_DIR": str(site.place.cache_dir)}
    assert place.call("lock", str(place.manifest), "--platform", "local", "--accept-eula", **cache).status == 0
    small = tmp_path / "small.bundle"
    made = create(place, small, "--no-wheels", "--base", str(site.bundle), **cache)
    assert made.status == 0, made.stderr
    assert sum(content["base"] for content in json.loads(made.stdout)["contents"]) >= 4
    alone = site.closed(tmp_path / "closed", bundle=small)
    assert (alone.status, "[bundle-incomplete]" in alone.stderr) == (1, True)
    done = site.closed(tmp_path / "closed", "new", "weights", "--base", str(site.bundle), bundle=small)
    assert done.status == 0, done.stderr
    assert [model["status"] for model in done.report["models"]] == ["built", "built"]


def test_engines_that_were_built_here_are_taken_there(site: Site, tmp_path: Path) -> None:
    target = tmp_path / "engines.bundle"
    early = create(site.place, target, "--no-wheels", "--engines", PREPARE_MODELS_CACHE_DIR=str(tmp_path / "fresh"))
    assert (early.status, "[engine-missing]" in early.stderr) == (1, True)
    assert site.place.run("--accept-eula").status == 0
    assert create(site.place, target, "--no-wheels", "--engines", "--timing-caches").status == 0
    done = site.closed(tmp_path / "closed", bundle=target)
    assert done.status == 0, done.stderr
    assert {model["status"] for model in done.report["models"]} == {"restored"}


def test_another_tool_than_the_locked_one_builds_nothing(place: Workplace, tmp_path: Path) -> None:
    networks.conv(place.folder / "own.onnx")
    place.write({"name": "own", "source": "own.onnx"})
    assert place.call("lock", str(place.manifest), "--platform", "local").status == 0
    lock = place.folder / "models.lock"
    lock.write_text(lock.read_text().replace('"tool": "', '"tool": "0.'))
    bundle = place.folder / "x.bundle"
    assert create(place, bundle, "--no-wheels").status == 0
    done = Site(place, bundle).closed(tmp_path / "closed")
    assert done.status == 1
    assert "tool is" in done.stderr
    assert "on the connected side: prepare-models lock" in done.stderr
    assert not [file for file in (tmp_path / "closed" / "models").rglob("*") if file.is_file()]


def test_what_drifted_is_not_carried(site: Site, tmp_path: Path) -> None:
    weights = site.place.folder / "nets" / WEIGHTS
    good = weights.read_bytes()
    try:
        weights.write_bytes(good + b"\0")
        made = create(site.place, tmp_path / "x.bundle", "--no-wheels")
        assert made.status == 1
        assert f"weights: external_data nets/{WEIGHTS} has sha256" in made.stderr
        assert list(tmp_path.iterdir()) == []
    finally:
        weights.write_bytes(good)


def test_a_killed_create_leaves_no_bundle_and_the_next_one_tidies(site: Site, tmp_path: Path) -> None:
    target = tmp_path / "x.bundle"
    command = [COMMAND, "bundle", "create", str(site.place.manifest), "-o", str(target), "--accept-eula"]
    with subprocess.Popen(command, env=site.place.environment(), stdout=subprocess.DEVNULL) as process:
        while not list(tmp_path.glob(".x.bundle.*.spool*")):
            assert process.poll() is None
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
    assert not target.exists()
    assert create(site.place, target, "--no-wheels").status == 0
    assert [file.name for file in tmp_path.iterdir()] == ["x.bundle"]


def test_a_bundle_brings_its_manifest(site: Site) -> None:
    missing = site.place.call("run", "--bundle", "no-such.bundle", "--executor", "local")
    assert (missing.status, "[bundle-missing]" in missing.stderr) == (1, True)
    listed = site.place.call("bundle", "ls", str(site.bundle))
    assert listed.status == 0
    for told in ("models.yaml", "models.lock", "weights/model/big.onnx", f"weights/model/{WEIGHTS}"):
        assert told in listed.stdout


def forged(site: Site, folder: Path) -> tuple[Path, str]:
    """Return a bundle whose engine of ``remote`` has bytes of an attacker under a true build key, and their sha256."""
    cache = {"PREPARE_MODELS_CACHE_DIR": str(folder / "attacker")}
    honest = site.place.run("--accept-eula", "--models-dir", str(folder / "theirs"), **cache)
    entry = folder / "attacker" / "engines" / honest.model("remote")["build_key"]
    evil = (entry / "model.plan").read_bytes()[:-1] + b"!"
    record = json.loads((entry / "record.json").read_text())
    record["engine"]["sha256"] = hashlib.sha256(evil).hexdigest()
    for name, content in (("model.plan", evil), ("record.json", json.dumps(record).encode())):
        (entry / name).unlink()
        (entry / name).write_bytes(content)
    bundle = folder / "forged.bundle"
    assert create(site.place, bundle, "--no-wheels", "--engines", **cache).status == 0
    return bundle, record["engine"]["sha256"]


def test_an_unsigned_bundle_serves_its_own_runs_alone(site: Site, tmp_path: Path) -> None:
    bundle, evil = forged(site, tmp_path)
    here = tmp_path / "here"
    assert site.closed(here, "remote", bundle=bundle).model("remote")["engine"]["sha256"] == evil
    cache = {"PREPARE_MODELS_CACHE_DIR": str(here / "cache")}
    reasons = []
    for models_dir in ("elsewhere", "models"):  # another directory, and the one that has the bundle's engine
        own = site.place.run("--accept-eula", "--locked", "remote", "--models-dir", str(here / models_dir), **cache)
        assert own.status == 0, own.stderr
        assert own.model("remote")["engine"]["sha256"] != evil
        assert own.model("remote")["origin"] is None
        reasons.append(own.model("remote")["reason"])
    assert reasons[-1].endswith("because: the engine came from an unsigned bundle")
    listed = site.place.call("cache", "ls", **cache)
    assert re.search(r"unpacked bundle [0-9a-f]{16}, unsigned", listed.stdout)


def test_an_engine_that_was_put_into_the_store_out_of_an_unsigned_bundle_is_not_delivered(
    site: Site, tmp_path: Path
) -> None:
    bundle, evil = forged(site, tmp_path)
    here = tmp_path / "here"
    theirs = site.closed(here, "remote", bundle=bundle).model("remote")
    assert theirs["engine"]["sha256"] == evil
    cache = {"PREPARE_MODELS_CACHE_DIR": str(here / "cache")}
    (scope,) = (here / "cache" / "bundles").glob(f"*/cache/engines/{theirs['build_key']}")
    shutil.copytree(scope, here / "cache" / "engines" / scope.name)
    checked = site.place.call("cache", "verify", "--kind", "engine", **cache)
    assert (checked.status, "from an unsigned bundle" in checked.stdout) == (1, True), checked.stdout
    own = site.place.run("--accept-eula", "remote", "--models-dir", str(here / "elsewhere"), **cache)
    assert (own.model("remote")["status"], own.model("remote")["origin"]) == ("built", None)
    assert own.model("remote")["engine"]["sha256"] != evil


def write_key(folder: Path) -> None:
    for command in ("genpkey -algorithm ed25519 -out key.pem", "pkey -in key.pem -pubout -out key.pub"):
        subprocess.run(["openssl", *command.split()], check=True, cwd=folder)


def test_an_engine_of_a_signed_bundle_is_delivered_while_its_signer_is_trusted(site: Site, tmp_path: Path) -> None:
    write_key(tmp_path)
    call, here = site.place.call, tmp_path / "here"
    assert site.place.run("--accept-eula").status == 0
    signed = ("--no-wheels", "--engines", "--sign", str(tmp_path / "key.pem"))
    made = create(site.place, tmp_path / "signed.bundle", *signed)
    assert made.status == 0, made.stderr
    assert call("trust", "add", str(tmp_path / "key.pub")).status == 0
    done = site.closed(here, "remote", "--require-signed", bundle=tmp_path / "signed.bundle")
    assert done.model("remote")["status"] == "restored", done.stderr
    (keyid,) = json.loads(call("trust", "ls", "--json").stdout)["keys"]
    assert done.model("remote")["origin"]["signed_by"] == keyid
    again = ("--accept-eula", "remote", "--models-dir", str(here / "models"))
    cache = {"PREPARE_MODELS_CACHE_DIR": str(here / "cache")}
    assert site.place.run(*again, **cache).model("remote")["status"] == "up-to-date"
    assert call("cache", "verify", **cache).status == 0
    assert call("trust", "revoke", keyid[:16]).status == 0
    later = site.place.run(*again, **cache).model("remote")
    assert (later["status"], later["origin"]) == ("built", None)
    assert f"by key {keyid[:16]}, which is not trusted here now" in later["reason"]


def test_a_trusted_signature_beside_an_engine_vouches_for_it_too(site: Site, tmp_path: Path) -> None:
    write_key(tmp_path)
    here = tmp_path / "here"
    assert site.closed(here, "remote").status == 0  # of an unsigned bundle
    sign = ("provenance", "sign", str(here / "models" / "remote"), "--key", str(tmp_path / "key.pem"))
    assert site.place.call(*sign).status == 0
    planned = ("--accept-eula", "remote", "--models-dir", str(here / "models"))
    cache = {"PREPARE_MODELS_CACHE_DIR": str(here / "cache")}
    dry = site.place.run("--dry-run", *planned, **cache)
    assert "from an unsigned bundle" in json.loads(dry.stdout)["models"][0]["reason"]
    assert site.place.call("trust", "add", str(tmp_path / "key.pub")).status == 0
    assert site.place.run(*planned, **cache).model("remote")["status"] == "up-to-date"


def test_a_bundle_says_nothing_about_sources_to_later_runs(site: Site, tmp_path: Path) -> None:
    here = tmp_path / "here"
    assert site.closed(here, "remote").status == 0
    wanted = [{"name": "remote", "source": "ngc://nvidia/tao/net:v1/net.onnx"}]
    own = Workplace(here)
    own.write(*wanted, defaults={"ngc": {"key_file": str(site.place.folder / "ngc.key")}})
    silent = own.run(PREPARE_MODELS_CACHE_DIR=str(here / "cache"), NGC_CLI_API_URL="http://127.0.0.1:9")
    assert silent.model("remote")["error"] is not None, silent.model("remote")
    assert silent.model("remote")["error"]["code"] == "source-unreachable", "the server is asked, not the bundle"
