"""A model that takes over the build process: what it tries is refused by the kernel that this runs on."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any, Dict, Optional

import pytest

from prepare_models_entrypoint.confinement import note_secret
from prepare_models_entrypoint.contract.environment import BackendInfo, RuntimeInfo
from prepare_models_entrypoint.contract.event import Event
from prepare_models_entrypoint.contract.files import take
from prepare_models_entrypoint.contract.job import Job, ModelJob
from prepare_models_entrypoint.converters import convert
from prepare_models_entrypoint.converters.request import empty_result
from prepare_models_entrypoint.errors import ConvertError, StageError
from prepare_models_entrypoint.inspect import built_plan
from prepare_models_entrypoint.verify import comparison
from tests.entrypoint.children import environment
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


def build(tmp_path: Path, graph: Optional[Path] = None) -> None:
    """Build models/net.onnx with whatever TensorRT is."""
    plan = tmp_path / "output" / "model.plan.partial"
    plan.write_bytes(b"ftrt".ljust(64, b"\0"))
    convert.convert(
        job(tmp_path), tmp_path / "models" / "net.onnx", plan,
        work_dir=tmp_path / "work", runtime=RUNTIME, on_progress=lambda _: None, timing_dir=tmp_path / "timing",
        graph=graph,
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
            own=True,
        ),
    ):  # fmt: skip
        with pytest.raises((StageError, OSError)) as caught:
            step()
        told.append(str(caught.value))
    assert SECRET not in "".join(told)
    assert victim.read_bytes() == before


LYING = """
import json, os, pathlib, tempfile
aim = json.loads(pathlib.Path(__file__).with_name("aim.json").read_text())
pathlib.Path(tempfile.gettempdir(), "result.json").write_text(aim["result"])
for place in pathlib.Path("/proc/self/fd").iterdir():
    try:
        name = os.readlink(place)
        if name.startswith("pipe:") and name not in aim["pipes"]:
            os.write(int(place.name), aim["progress"].encode() * aim["times"])
    except OSError:
        pass
os._exit(0)
"""
UNKNOWN = {"code": "no-such-code", "stage": None, "message": "", "hint": "", "retryable": False}


@pytest.mark.parametrize(
    ("progress", "times", "result"),
    [
        ("junk\n", 1, {}),
        ('{"phase": "build", "done": "9", "total": 1}\n', 1, {}),
        ("[" * 100_000 + "\n", 1, {}),
        ("x", 4 << 20, {}),
        ("", 1, {**empty_result(), "error": UNKNOWN}),
    ],
)
def test_nonsense_of_a_build_process_is_an_error_of_its_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, progress: str, times: int, result: Dict[str, Any]
) -> None:
    for name in ("models", "output", "work"):
        (tmp_path / name).mkdir()
    (tmp_path / "models" / "net.onnx").write_bytes(b"\x08\x07\x3a\x02ab")
    pipes = [os.path.realpath(file).rpartition("/")[2] for file in Path("/proc/self/fd").iterdir()]
    aim = {"progress": progress, "times": times, "result": json.dumps(result), "pipes": pipes}
    install(tmp_path, monkeypatch, LYING, aim)
    with pytest.raises(ConvertError) as caught:
        build(tmp_path)
    assert caught.value.code == "build-crashed"
    assert len(str(caught.value)) < 300


LINKING = """
import json, os, pathlib, sys
from prepare_models_entrypoint.converters.request import empty_result
frame = sys._getframe()
while "request" not in frame.f_locals:
    frame = frame.f_back
request = frame.f_locals["request"]
os.symlink(request.source, request.graph)
pathlib.Path(request.result).write_text(json.dumps(empty_result()))
os._exit(0)
"""


def test_a_link_in_place_of_a_graph_is_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("models", "output", "work", "graph"):
        (tmp_path / name).mkdir()
    (tmp_path / "models" / "net.onnx").write_bytes(b"\x08\x07\x3a\x02ab")
    install(tmp_path, monkeypatch, LINKING, {})
    with pytest.raises(ConvertError, match="graph is not a file of its own"):
        build(tmp_path, graph=tmp_path / "graph" / "model.onnx")


def test_it_has_no_voice_of_its_own_in_the_events_of_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "net.onnx").write_bytes(b"\x08\x07\x3a\x02ab")
    forged = Event(0, 0.0, "model-finished", "another", None, {"status": "built"}).to_line()
    aim = {"progress": forged, "times": 1, "result": "{}", "pipes": []}
    install(tmp_path, monkeypatch, LYING, aim)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path / 'site'}:{environment()['PYTHONPATH']}")
    order = Job(run_id="run1", models=(job(tmp_path),), cache_dir=str(tmp_path / "cache"))
    (tmp_path / "job.json").write_text(json.dumps(order.to_dict()))
    done = subprocess.run(
        [sys.executable, "-m", "prepare_models_entrypoint", "run", str(tmp_path / "job.json"), str(tmp_path)],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    (model,) = json.loads((tmp_path / "report.json").read_text())["models"]
    assert (model["error"]["code"], "another" in done.stdout) == ("build-crashed", False), done.stderr


def test_only_a_file_of_its_own_is_taken_from_a_process(tmp_path: Path) -> None:
    victim, made, target = (tmp_path / name for name in ("bashrc", "made", "graph.onnx"))
    victim.write_text(SECRET)
    for make in (os.symlink, os.link, lambda _, place: os.mkfifo(place)):
        make(str(victim), str(made))
        with pytest.raises(OSError, match="not a regular file"):
            take(made, target)
        made.unlink()
    assert not target.exists()
    made.write_text("graph")
    take(made, target)
    assert target.read_text() == "graph"


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
