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
from prepare_models_entrypoint.errors import ConvertError
from tests.entrypoint.test_confinement import confined_report

SECRET = "s3cr3t-of-the-user"


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
        backend = tmp_path / "site" / "tensorrt"
        backend.mkdir(parents=True)
        (backend / "__init__.py").write_text(Path(__file__).with_name("hostile_backend.py").read_text())
        (backend / "aim.json").write_text(json.dumps(aim))
        (tmp_path / "site" / "tensorrt-10.3.0.dist-info").mkdir()
        (tmp_path / "site" / "tensorrt-10.3.0.dist-info" / "METADATA").write_text("Name: tensorrt\nVersion: 10.3.0\n")
        monkeypatch.syspath_prepend(str(tmp_path / "site"))
        monkeypatch.setenv("HOME", str(home))
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
        for name in [name for name in sys.modules if name.split(".")[0] in ("tensorrt", "tensorrt_rtx")]:
            monkeypatch.delitem(sys.modules, name)
        monkeypatch.delitem(sys.modules, "prepare_models_entrypoint.converters.backend", raising=False)
        model = ModelJob(name="net", source=str(models / "net.onnx"), output_dir=str(output), deploy_dir=str(output))
        runtime = RuntimeInfo(
            python="3", machine="x86_64", backend=BackendInfo(name="tensorrt", version="10.3.0"), gpu=None,
            gpu_reason="none",
        )  # fmt: skip
        (output / "model.plan.partial").write_bytes(b"")
        with pytest.raises(ConvertError, match="it has seen enough"):
            convert.convert(
                model, models / "net.onnx", output / "model.plan.partial",
                work_dir=work, runtime=runtime, on_progress=lambda _: None, timing_dir=tmp_path / "timing",
            )  # fmt: skip
    os.close(descriptor)
    found: Dict[str, Any] = json.loads((work / "attack.json").read_text())
    assert (models / "net.onnx").read_bytes() == b"\x08\x07\x3a\x02ab"
    assert not (home / "mine").exists()
    return found


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
