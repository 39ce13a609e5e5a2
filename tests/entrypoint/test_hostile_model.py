"""A model that takes over the build process: what it tries is refused by the kernel that this runs on."""

from __future__ import annotations

import json
import os
import socket
import sys
from pathlib import Path
from typing import Any, Dict

import pytest

from prepare_models_entrypoint.confinement import note_secret
from prepare_models_entrypoint.contract.environment import BackendInfo, RuntimeInfo
from prepare_models_entrypoint.contract.job import ModelJob
from prepare_models_entrypoint.converters import convert
from prepare_models_entrypoint.errors import ConvertError, StageError
from prepare_models_entrypoint.inspect import built_plan
from prepare_models_entrypoint.verify import comparison
from tests.entrypoint.test_confinement import confined_report

SECRET = "s3cr3t-of-the-user"
NAMES = ("build.log", "result.json", "verify.log", "verify.json", "verify-result.json", "inspect.log", "inspect.json")


def attack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Dict[str, Any]:
    """Return what a hostile backend could do in the build process of a model."""
    home, models, output, work = (tmp_path / name for name in ("home", "models", "output", "work"))
    for folder in (home, models, output, work):
        folder.mkdir()
    for file in (home / "headers", models / "key"):
        file.write_text(SECRET)
    (models / "net.onnx").write_bytes(b"\x08\x07\x3a\x02ab")
    descriptor = os.memfd_create("key")
    os.write(descriptor, SECRET.encode())
    note_secret(f"/proc/self/fd/{descriptor}")
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        aim = {
            "home": str(home), "key": str(models / "key"), "headers": str(home / "headers"), "output": str(output),
            "model": str(models / "net.onnx"), "descriptor": descriptor, "server": server.getsockname(),
        }  # fmt: skip
        install(tmp_path, monkeypatch, Path(__file__).with_name("hostile_backend.py").read_text(), aim)
        monkeypatch.setenv("HOME", str(home))
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
        with pytest.raises(ConvertError, match="it has seen enough"):
            build(tmp_path)
    os.close(descriptor)
    found: Dict[str, Any] = json.loads((work / "attack.json").read_text())
    assert (models / "net.onnx").read_bytes() == b"\x08\x07\x3a\x02ab"
    assert not (home / "mine").exists()
    return found


def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, aim: Dict[str, Any]) -> None:
    """Put a hostile module of TensorRT in place of any other."""
    backend, told = tmp_path / "site" / "tensorrt", tmp_path / "site" / "tensorrt-10.3.0.dist-info"
    for folder in (backend, told):
        folder.mkdir(parents=True)
    (backend / "__init__.py").write_text(code)
    (backend / "aim.json").write_text(json.dumps(aim))
    (told / "METADATA").write_text("Name: tensorrt\nVersion: 10.3.0\n")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    for name in [name for name in sys.modules if name.split(".")[0] in ("tensorrt", "tensorrt_rtx")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delitem(sys.modules, "prepare_models_entrypoint.converters.backend", raising=False)


RUNTIME = RuntimeInfo(
    python="3", machine="x86_64", backend=BackendInfo(name="tensorrt", version="10.3.0"), gpu=None, gpu_reason="none"
)


def job(tmp_path: Path) -> ModelJob:
    output = str(tmp_path / "output")
    return ModelJob(name="net", source=str(tmp_path / "models" / "net.onnx"), output_dir=output, deploy_dir=output)


def build(tmp_path: Path) -> None:
    """Build models/net.onnx with whatever TensorRT is."""
    plan = tmp_path / "output" / "model.plan.partial"
    plan.write_bytes(b"ftrt".ljust(64, b"\0"))
    convert.convert(
        job(tmp_path), tmp_path / "models" / "net.onnx", plan,
        work_dir=tmp_path / "work", runtime=RUNTIME, on_progress=lambda _: None, timing_dir=tmp_path / "timing",
    )  # fmt: skip


PLANTING = """
import json, os, pathlib, tempfile
aim = json.loads(pathlib.Path(__file__).with_name("aim.json").read_text())
for name in aim["names"]:
    place = pathlib.Path(tempfile.gettempdir(), name)
    place.unlink() if place.exists() else None
    os.mkfifo(place) if aim["victim"] is None else place.symlink_to(aim["victim"])
os._exit(0)
"""


@pytest.mark.timeout(60)
@pytest.mark.parametrize("what", ["links", "pipes"])
def test_what_it_leaves_leads_those_nowhere_who_work_there_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """They are not confined: a link would have them write, and tell, the user's files; a pipe would hold them up."""
    for name in ("models", "output", "work"):
        (tmp_path / name).mkdir()
    (tmp_path / "models" / "net.onnx").write_bytes(b"\x08\x07\x3a\x02ab")
    victim = tmp_path / "bashrc"
    victim.write_text(json.dumps({"error": None, "why_not": SECRET}))
    before = victim.read_bytes()
    aim = {"names": NAMES, "victim": str(victim) if what == "links" else None}
    install(tmp_path, monkeypatch, PLANTING, aim)
    plan, work = tmp_path / "output" / "model.plan.partial", tmp_path / "work"
    told = []
    for step in (
        lambda: build(tmp_path),
        lambda: built_plan.load_engine(plan, work, model=job(tmp_path), module="tensorrt"),
        lambda: comparison.verify(
            job(tmp_path), tmp_path / "models" / "net.onnx", plan,
            means=None, findings=None, runtime=RUNTIME, work_dir=work, cache_file=None, timing_dir=work, rescued=False,
        ),
    ):  # fmt: skip
        with pytest.raises((StageError, OSError)) as caught:
            step()
        told.append(str(caught.value))
    assert SECRET not in "".join(told)
    assert victim.read_bytes() == before


def test_a_model_that_takes_over_its_build_process_finds_nothing_to_take(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    missing = confined_report(tmp_path)["missing"]
    if missing:
        pytest.skip(f"this machine lacks {', '.join(missing)}")
    found = attack(tmp_path, monkeypatch)
    assert found.pop("read the model") == 6
    assert {name: told for name, told in found.items() if told not in ("PermissionError", "KeyError", "OSError")} == {}
    assert SECRET not in json.dumps(found)
