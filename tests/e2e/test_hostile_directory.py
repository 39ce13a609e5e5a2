"""A working directory of somebody else's: no module in it is ever imported, no link followed by what is written."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tests import networks
from tests.command import COMMAND, Workplace

NAMES = (
    "onnx", "types", "platform", "inspect", "tempfile", "tensorrt_rtx", "tensorrt", "linecache", "numpy", "keyword",
    "prepare_models_entrypoint", "sitecustomize", "warnings", "contextlib", "pip",
)  # fmt: skip
COMMANDS = (
    ("run", "models.yaml", "--models-dir", "models", "--executor", "local"),
    ("check", "models.yaml", "--executor", "local"),
    ("inspect", "model.onnx"),
    ("lint", "models"),
    ("verify", "models.yaml", "--models-dir", "models", "--executor", "local"),
    ("lock", "models.yaml"),
    ("fetch", "model.onnx", "--output", "fetched"),
)
SOME = (COMMANDS[0], COMMANDS[2], COMMANDS[3])  # a build, and readers in processes of their own
# Python itself imports these for ``-m``, before anything of ours runs.
BY_PYTHON_ITSELF = {"warnings", "contextlib", "keyword", "types"}


@pytest.fixture
def hostile(place: Workplace) -> Workplace:
    networks.conv(place.folder / "model.onnx")
    place.write({"name": "net", "source": "model.onnx", "precision": "fp16"})
    for name in NAMES:
        (place.folder / f"{name}.py").write_text(f"open({str(place.folder / 'ran')!r}, 'a').write('{name} ')\n")
    for name in ("models.lock", "draft.yaml"):
        (place.folder / name).symlink_to(place.folder / "elsewhere")
    return place


def started(
    place: Workplace, argv: list[str], commands: Sequence[tuple[str, ...]] = SOME, **variables: str
) -> str:  # fmt: skip
    """Run commands in the directory, and return which of its modules were executed."""
    environment = {name: value for name, value in place.environment().items() if name != "PYTHONPATH"}
    for command in commands:
        done = subprocess.run(
            [*argv, *command], cwd=place.folder, env={**environment, **variables}, capture_output=True, text=True,
            check=False,
        )  # fmt: skip
        assert done.returncode in (0, 1), done.stderr
        assert "ModuleNotFoundError" not in done.stderr
    assert (place.models_dir / "net" / "1" / "model.plan").is_file()
    ran = place.folder / "ran"
    return ran.read_text() if ran.exists() else ""


def test_no_command_imports_from_the_current_directory(hostile: Workplace) -> None:
    assert started(hostile, [COMMAND], COMMANDS) == ""
    assert (hostile.folder / "models.lock").is_file()
    assert hostile.call("init", "-o", "draft.yaml").status == 2
    assert not (hostile.folder / "elsewhere").exists()


def test_a_module_search_path_with_an_empty_entry_does_not_lead_there(hostile: Workplace) -> None:
    (hostile.folder / "sitecustomize.py").unlink()  # which Python imports at its start, as its user asks for here
    for name in BY_PYTHON_ITSELF:  # so are these, by what the interpreter runs before the tool
        (hostile.folder / f"{name}.py").unlink()
    assert started(hostile, [COMMAND], PYTHONPATH=f":{os.sep}opt") == ""


def test_nor_does_the_module_switch(hostile: Workplace) -> None:
    for name in BY_PYTHON_ITSELF:
        (hostile.folder / f"{name}.py").unlink()
    assert started(hostile, [sys.executable, "-m", "prepare_models"]) == ""


def test_what_the_user_installed_is_found(place: Workplace, tmp_path: Path) -> None:
    """PYTHONPATH and the user's own packages serve children as they serve the command."""
    networks.conv(place.folder / "model.onnx")
    place.write({"name": "net", "source": "model.onnx"})
    user, given = tmp_path / "user", tmp_path / "given"
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    for folder, name in ((user / "lib" / version / "site-packages", "usercustomize"), (given, "sitecustomize")):
        folder.mkdir(parents=True)
        (folder / f"{name}.py").write_text(f"open({str(tmp_path / name)!r}, 'a').write('x')\n")
    argv = [*place.command("--quiet")[1:]]
    base = Path(sys.executable).resolve()  # a virtual environment hides the user's packages
    paths = os.pathsep.join([str(given), *[path for path in sys.path if path and Path(path).is_dir()]])
    done = subprocess.run(
        [base, "-m", "prepare_models", *argv], env=place.environment(PYTHONPATH=paths, PYTHONUSERBASE=str(user)),
        cwd=place.folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "sitecustomize").read_text() >= "xx"
    assert (tmp_path / "usercustomize").read_text() >= "xx"


def test_links_and_pipes_in_a_models_directory_lead_nowhere(place: Workplace) -> None:
    """A models directory out of a stranger's archive: what the tool writes there stays there, and nothing waits."""
    networks.conv(place.folder / "net.onnx")
    place.write({"name": "net", "source": "net.onnx"})
    assert place.run().status == 0
    outside = place.folder / "outside"
    outside.write_text("the user's")
    folder = place.models_dir / "net"
    names = ["../report.json", *(file.name for file in folder.iterdir() if file.is_file() and file.suffix != ".json")]
    record = (folder / "report.json").read_bytes()

    def trap(kind: Callable[[Path], None]) -> None:
        for name in names:
            (folder / name).unlink(missing_ok=True)
            kind(folder / name)
        (folder / "report.json").write_bytes(record)

    for kind in (lambda path: path.symlink_to(outside), os.mkfifo):
        for command in (
            ("relocate", str(place.models_dir), "--deploy-dir", "/deployed"),
            ("run", "models.yaml", "--executor", "local", "--models-dir", str(place.models_dir), "--force"),
        ):
            trap(kind)
            done = place.call(*command)
            assert done.status == 0, done.stderr
            assert outside.read_text() == "the user's"
        trap(kind)
        (folder / "provenance.json").unlink()
        kind(folder / "provenance.json")
        for look in (("lint",), ("status",), ("provenance", "verify")):
            assert place.call(*look, str(place.models_dir)).status in (0, 1)


def test_an_engine_in_a_strangers_models_directory_serves_no_other(place: Workplace) -> None:
    networks.conv(place.folder / "model.onnx")
    networks.conv(place.folder / "other.onnx", seed=1)
    place.write({"name": "model", "source": "model.onnx"}, {"name": "other", "source": "other.onnx"})
    digests = {name: place.run().model(name)["engine"]["sha256"] for name in ("model", "other")}
    folder = place.models_dir / "model"
    (folder / "1/model.plan").unlink()
    shutil.copyfile(place.models_dir / "other/1/model.plan", folder / "1/model.plan")
    record = json.loads((folder / "report.json").read_text())
    record["engine"].update(sha256=digests["other"], bytes=(folder / "1/model.plan").stat().st_size)
    (folder / "report.json").write_text(json.dumps(record))
    (folder / "config.pbtxt").unlink()
    for stored in (place.cache_dir / "engines").glob("[0-9a-f]*"):  # whose turns are still remembered
        shutil.rmtree(stored)
    place.write({"name": "model", "source": "model.onnx"})
    assert place.run().model("model")["engine"]["sha256"] == digests["other"], "not defended: it says it was built here"
    (folder / "config.pbtxt").unlink()
    provisioned = place.call(
        "provision", str(place.manifest), "--models-dir", str(place.models_dir), "--executor", "local"
    )
    assert provisioned.status == 0, provisioned.stderr
    assert json.loads((folder / "report.json").read_text())["engine"]["sha256"] == digests["other"], "nor here"
    assert list(place.models_dir.rglob("*partial*")) == []
    shutil.rmtree(place.models_dir)
    elsewhere = place.run().model("model")
    assert (elsewhere["status"], elsewhere["engine"]["sha256"]) == ("built", digests["model"])
