"""The air gap as a user crosses it: a bundle is made where there is a network, and used where there is none."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from tests import networks
from tests.command import COMMAND, Result, Workplace

from .bundles import CLOSED, WEIGHTS, Site, create

ROOT = Path(__file__).parents[2]


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
    (script,) = re.findall("```python[^\n]*\n(.*?)```", (ROOT / "docs" / "air-gap.md").read_text(), re.DOTALL)
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
    assert "every byte is intact" in subprocess.run(installed, check=True, capture_output=True, text=True).stdout


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
