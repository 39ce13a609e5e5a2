"""The Python API as a program uses it: results, exceptions, events, threads, types, and nothing printed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import prepare_models
from tests import networks
from tests.command import Workplace

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    networks.conv(tmp_path / "net.onnx")
    networks.unsupported(tmp_path / "odd.onnx")
    return tmp_path


def document(*names: str, **more: Any) -> dict[str, object]:
    return {"version": 1, "models": [{"name": name, "source": f"{name}.onnx", **more} for name in names]}


def python(code: str, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=cwd, capture_output=True, text=True, check=False
    )


def test_a_manifest_as_a_dict_becomes_engines_and_a_report(folder: Path) -> None:
    report = prepare_models.run(document("net", precision="fp16"), models_dir="out", executor="local")
    assert report.ok
    assert report.engines == {"net": folder / "out/net/1/model.plan"}
    assert report.models["net"]["precision_proof"]["delivered"] == "fp16"
    assert json.loads(report.render()) == json.loads((folder / "out/report.json").read_text(encoding="utf-8"))
    report.save("junit.xml", "junit")
    assert "<testsuite" in (folder / "junit.xml").read_text(encoding="utf-8")


def test_a_failed_model_is_a_result_and_an_exception_where_one_asks_for_it(folder: Path) -> None:
    report = prepare_models.run(document("net", "odd"), executor="local")
    assert [model["name"] for model in report.failed] == ["odd"]
    assert not report.ok
    assert list(report.engines) == ["net"]
    with pytest.raises(prepare_models.ModelsFailedError, match="mystery_node") as caught:
        report.raise_for_failure()
    error = report.models["odd"]["error"]
    assert error is not None
    assert (caught.value.code, caught.value.hint) == (error["code"], error["hint"])


def test_what_stops_a_call_is_an_exception_with_code_and_hint(folder: Path) -> None:
    (folder / "file").touch()
    calls: list[tuple[str, Callable[[], object]]] = [
        ("usage", lambda: prepare_models.run("missing.yaml")),
        ("usage", lambda: prepare_models.plan(document("net"), models=["other"])),
        ("usage", lambda: prepare_models.plan(document("net"), executor="cloud")),
        ("usage", lambda: prepare_models.run(document("net"), reports={"pdf": "report.pdf"})),
        ("environment", lambda: prepare_models.run(document("net"), models_dir="file", executor="local")),
        ("source-not-found", lambda: prepare_models.inspect("missing.onnx")),
        ("source-not-a-model", lambda: prepare_models.inspect("file")),
        ("source-not-found", lambda: prepare_models.lint("missing")),
    ]
    for code, call in calls:
        with pytest.raises(prepare_models.PrepareModelsError) as caught:
            call()
        assert caught.value.code == code
        assert caught.value.hint


def test_problems_of_a_manifest_have_their_paths(folder: Path) -> None:
    wrong = {"version": 1, "models": [{"name": "net", "source": "net.onnx", "precision": "fp61", "builder": None}]}
    with pytest.raises(prepare_models.ManifestError) as caught:
        prepare_models.load(wrong)
    problems = [(problem.path, problem.message) for problem in caught.value.problems]
    assert [path for path, _ in problems] == ["models[0].precision", "models[0].builder"]
    assert str(caught.value).splitlines()[0] == f"models[0].precision: {problems[0][1]}"


def test_texts_of_a_dict_are_taken_as_they_are(folder: Path) -> None:
    shutil.move("net.onnx", "${HOME}.onnx")
    values = {"name": "net", "source": "${HOME}.onnx", "allow_fallback": True, "outputs": ("output",)}
    (spec,) = prepare_models.load({"version": 1, "models": [values]}).models
    assert (spec.source, spec.allow_fallback, spec.outputs) == (str(folder / "${HOME}.onnx"), True, ("output",))
    assert prepare_models.load(prepare_models.load({"version": 1, "models": [values]})).models == (spec,)


def test_plan_says_what_run_would_do_and_changes_nothing(folder: Path) -> None:
    plan = prepare_models.plan(document("net"), models_dir="out", executor="local")
    assert [(each.name, each.action, each.converter) for each in plan.models] == [("net", "build", "api")]
    assert not (folder / "out").exists()
    prepare_models.run(document("net"), models_dir="out", executor="local")
    again = prepare_models.plan(prepare_models.load(document("net")), models_dir="out", executor="local")
    assert again.models[0].told() == "up-to-date"


def test_convert_takes_shapes_as_numbers_and_returns_the_manifest(folder: Path) -> None:
    networks.conv(folder / "dynamic.onnx", ("batch", 3, 32, 32))
    made = prepare_models.convert(
        "dynamic.onnx", name="net", precision="fp16", executor="local",
        shapes={"input": {"min": (1, 3, 32, 32), "opt": "2x3x32x32", "max": [4, 3, 32, 32]}},
    )  # fmt: skip
    made.raise_for_failure()
    (profile,) = next(binding for binding in made.model["io"] if binding["mode"] == "input")["profiles"]
    assert (profile["min"], profile["max"]) == ([1, 3, 32, 32], [4, 3, 32, 32])
    (folder / "models.yaml").write_text(made.manifest, encoding="utf-8")
    assert prepare_models.run("models.yaml", executor="local").models["net"]["status"] == "up-to-date"
    with pytest.raises(prepare_models.UsageError, match="precision: expected"):
        prepare_models.convert("net.onnx", precision="fp61")


def test_inspect_and_lint_are_values(folder: Path) -> None:
    networks.conv(folder / "dynamic.onnx", ("batch", 3, 32, 32))
    found = prepare_models.inspect("dynamic.onnx")
    assert (found.format, found.inputs) == (
        "onnx", (prepare_models.Tensor("input", "float32", ("batch", 3, 32, 32)),)
    )  # fmt: skip
    prepare_models.run(document("net"), executor="local")
    assert [model.format for model in prepare_models.inspect("models").models] == ["plan"]
    assert prepare_models.lint(consumers=["triton"]).ok
    (folder / "models/net/config.pbtxt").write_text('name: "other"\n', encoding="utf-8")
    report = prepare_models.lint("models", consumers=["triton"])
    assert not report.ok
    assert report.models[0].warnings[0]["hint"]


def test_events_come_one_at_a_time_and_tell_each_model_to_its_end(folder: Path) -> None:
    networks.conv(folder / "more.onnx", seed=1)
    events: list[prepare_models.Event] = []
    busy = threading.Lock()

    def on_event(event: prepare_models.Event) -> None:
        assert busy.acquire(blocking=False)
        events.append(event)
        busy.release()

    prepare_models.run(document("net", "more"), executor="local", jobs=2, on_event=on_event)
    assert [event.seq for event in events] == list(range(len(events)))
    for name in ("net", "more"):
        of_model = [event for event in events if event.model == name]
        assert (of_model[0].kind, of_model[0].data["action"]) == ("planned", "build")
        assert [each.stage for each in of_model if each.kind == "stage-finished"] == ["fetch", "convert", "inspect"]
        assert (of_model[-1].kind, of_model[-1].data["status"]) == ("finished", "built")


def test_what_a_callback_raises_ends_the_run_and_reaches_the_caller(folder: Path) -> None:
    class EnoughError(Exception):
        pass

    def on_event(event: prepare_models.Event) -> None:
        if event.kind == "stage-started":
            raise EnoughError

    with pytest.raises(EnoughError):
        prepare_models.run(document("net", "odd"), executor="local", on_event=on_event)
    statuses = [model["status"] for model in json.loads(Path("models/report.json").read_text())["models"]]
    assert statuses == ["skipped", "skipped"]


def test_calls_in_several_threads_do_not_meet(folder: Path) -> None:
    handlers = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)]
    found: dict[str, str] = {}

    def work(place: str) -> None:
        found[place] = prepare_models.run(document("net"), models_dir=place, executor="local").models["net"]["status"]

    threads = [threading.Thread(target=work, args=(place,)) for place in ("a", "b", "c")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found.values()) == ["built", "restored", "restored"]
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)] == handlers


def test_a_bundle_serves_its_own_call_alone(folder: Path, place: Workplace) -> None:
    place.write({"name": "net", "source": "net.onnx"})
    assert place.call("lock", "models.yaml", "--platform", "local").status == 0
    made = place.call("bundle", "create", "models.yaml", "-o", "site.tar", "--platform", "local")
    assert made.status == 0, made.stderr
    phases: list[object] = []
    report = prepare_models.run(
        prepare_models.Bundle("site.tar"), models_dir="site", executor="local",
        on_event=lambda event: phases.append(event.data.get("phase")),
    )  # fmt: skip
    assert report.models["net"]["origin"] is not None
    assert phases[0] == "verify"
    after = prepare_models.run(document("net"), models_dir="own", executor="local")
    assert (after.models["net"]["status"], after.models["net"]["origin"]) == ("built", None)


def test_nothing_is_printed_and_nothing_ends(folder: Path) -> None:
    code = """
import prepare_models, sys
models = [{"name": name, "source": name + ".onnx"} for name in ("net", "odd")]
prepare_models.run({"version": 1, "models": models}, executor="local")
prepare_models.plan({"version": 1, "models": [{"name": "net", "source": "net.onnx"}]}, executor="local")
prepare_models.convert("net.onnx", name="other", executor="local")
prepare_models.inspect("net.onnx")
prepare_models.lint("models")
try:
    prepare_models.run("missing.yaml")
except prepare_models.PrepareModelsError:
    sys.exit(7)
"""
    done = python(code, cwd=folder)
    assert (done.returncode, done.stdout, done.stderr) == (7, "", "")


def test_a_program_keeps_its_own_module_search_path(folder: Path) -> None:
    (folder / "mine.py").touch()
    code = "import prepare_models, mine"
    environment = {**os.environ, "PYTHONPATH": "."}
    subprocess.run([sys.executable, "-P", "-c", code], cwd=folder, env=environment, check=True)


def test_import_loads_next_to_nothing() -> None:
    code = "import sys; before = set(sys.modules); import prepare_models; print(*(set(sys.modules) - before))"
    assert python(code, cwd=ROOT).stdout.split() == ["prepare_models"]


def test_every_public_name_is_there_and_documented() -> None:
    page = (ROOT / "docs/python.md").read_text(encoding="utf-8")
    for name in prepare_models.__all__:
        assert getattr(prepare_models, name).__doc__
        assert f"`{name}" in page, name
    assert set(prepare_models.__all__) <= set(dir(prepare_models))
    with pytest.raises(AttributeError, match="has no attribute 'no_such_name'"):
        prepare_models.no_such_name  # noqa: B018


def test_types_are_seen_from_outside(tmp_path: Path) -> None:
    shutil.copy(EXAMPLES / "python/convert_all.py", tmp_path / "program.py")
    (tmp_path / "wrong.py").write_text("import prepare_models\nprepare_models.run(1)\n", encoding="utf-8")
    argv = [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", f"--cache-dir={tmp_path / 'cache'}"]
    for file, expected in (("program.py", ""), ("wrong.py", 'wrong.py:2: error: Argument 1 to "run"')):
        done = subprocess.run([*argv, file], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.stdout.startswith(expected), done.stdout
        assert bool(expected) == bool(done.stdout), done.stdout


def test_the_example_program(folder: Path) -> None:
    program = EXAMPLES / "python/convert_all.py"
    done = subprocess.run(
        [sys.executable, program, ".", "out"], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1, done.stderr
    assert f"net: built {folder}/out/net/1/model.plan" in done.stdout.splitlines()
    assert any(line.startswith("odd: failed [") for line in done.stdout.splitlines())


def test_the_notebook_runs_from_its_first_cell_to_its_last(tmp_path: Path) -> None:
    """Its cells, in their order, in a fresh interpreter; Jupyter itself is not installed here."""
    for name in ("python", "quickstart"):
        shutil.copytree(EXAMPLES / name, tmp_path / name)
    notebook = json.loads((EXAMPLES / "python/prepare_models.ipynb").read_text(encoding="utf-8"))
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    assert len({cell["id"] for cell in notebook["cells"]}) == len(notebook["cells"])
    code = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    done = python("\n\n".join(code), cwd=tmp_path / "python")
    assert done.returncode == 0, done.stderr
    assert "delivered: fp16" in done.stdout.splitlines()
    assert "False source-not-found" in done.stdout.splitlines()
