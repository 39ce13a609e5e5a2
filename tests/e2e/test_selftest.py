"""``selftest``: a verdict for each step, and a file that strangers may read."""

from __future__ import annotations

import getpass
import json
import socket
import subprocess
import sys
from pathlib import Path

from tests.command import Workplace


def test_it_builds_compares_and_cleans_up_and_its_file_names_nobody(place: Workplace) -> None:
    secret = "hunter2-hunter2"
    done = place.call(
        "selftest", "--executor", "local", "--json", "-o", "found.json",
        NGC_API_KEY=secret, USE_TOKEN="true",
        HTTPS_PROXY=f"http://me:{secret}@proxy.invalid:3128", TMPDIR=str(place.folder),
    )  # fmt: skip
    assert done.status == 0, done.stderr
    text = (place.folder / "found.json").read_text(encoding="utf-8")
    assert json.loads(text) == done.report
    steps = {step["name"]: step["verdict"] for step in done.report["steps"]}
    assert steps["environment"] == steps["second run"] == steps["cleanup"] == "ok"
    for precision in ("fp32", "fp16", "bf16", "int8"):
        assert steps[f"build {precision}"] == "ok"
        assert steps[f"load and inspect {precision}"] == "skip", "there is no GPU"
    assert steps["parity fp16"] == steps["parity int8"] == "warn", "compared, but not on a GPU"
    private = [secret, str(place.folder), socket.gethostname(), *({getpass.getuser()} - {"root"})]
    assert not [word for word in private if word in text]
    left = {path.name for path in place.folder.iterdir()} - {".ses"}  # onnxruntime's own
    assert left == {"found.json"}


def test_a_step_that_fails_is_named_with_its_fix(place: Workplace) -> None:
    (place.folder / "onnxruntime.py").write_text("raise ImportError('no onnxruntime here')", encoding="utf-8")
    done = place.call("selftest", "--executor", "local", "--json", "-o", "found.json", PYTHONPATH=str(place.folder))
    failed = {step["name"]: step for step in done.report["steps"] if step["verdict"] == "fail"}
    assert done.status == 1
    assert "pip install" in failed["build fp32"]["fix"]


def test_tests_of_gpus_refuse_politely_where_there_is_none() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "tests/gpu"], capture_output=True, text=True, check=False,
        cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert done.returncode == 3
    assert "these tests need a GPU: no NVIDIA driver" in done.stdout + done.stderr
