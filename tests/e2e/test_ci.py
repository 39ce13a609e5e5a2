"""What runs in somebody's CI: the steps of the GitHub action and the GitLab job, and the hooks of pre-commit."""

from __future__ import annotations

import http.server
import json
import os
import re
import subprocess
import threading
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
import yaml

from tests import networks
from tests.command import COMMAND, Workplace

ROOT = Path(__file__).parents[2]
ACTION = ROOT / ".github/actions/prepare-models"
GITLAB = ROOT / "examples/ci/gitlab/prepare-models.gitlab-ci.yml"


def read(file: Path) -> Any:
    return yaml.safe_load(file.read_text(encoding="utf-8"))


def bash(script: str, place: Workplace, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a step as a runner does, with the tool on the PATH."""
    path = f"{Path(COMMAND).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script], cwd=place.folder,
        env={**place.environment(), "PATH": path, **variables}, capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.fixture
def project(place: Workplace) -> Workplace:
    networks.conv(place.folder / "net.onnx")
    networks.unsupported(place.folder / "odd.onnx")
    return place


def models(*names: str) -> list[dict[str, Any]]:
    return [{"name": name, "source": f"{name}.onnx"} for name in names]


def github(place: Workplace, **inputs: str) -> tuple[int, str, dict[str, str]]:
    """Run the action's own step; return its status, the job's summary and the outputs."""
    action = read(ACTION / "action.yml")
    values = {name: each["default"] for name, each in action["inputs"].items()} | inputs
    step = next(step for step in action["runs"]["steps"] if step.get("id") == "run")

    def known(expression: re.Match[str]) -> str:
        name = expression[1]
        return str(place.folder / "temp") if name == "runner.temp" else values[name.removeprefix("inputs.")]

    environment = {name: re.sub(r"\$\{\{ (\S+) \}\}", known, text) for name, text in step["env"].items()}
    assert "${{" not in step["run"]  # text of strangers in a script would be run
    files = {"GITHUB_STEP_SUMMARY": place.folder / "step-summary", "GITHUB_OUTPUT": place.folder / "outputs"}
    for file in files.values():
        file.write_text("", encoding="utf-8")
    done = bash(step["run"], place, **environment, **{name: str(file) for name, file in files.items()})
    outputs = dict(line.split("=", 1) for line in files["GITHUB_OUTPUT"].read_text(encoding="utf-8").splitlines())
    assert set(outputs) <= set(action["outputs"])
    return done.returncode, files["GITHUB_STEP_SUMMARY"].read_text(encoding="utf-8"), outputs


def test_the_github_action_summarizes_a_run_and_ends_as_it_did(project: Workplace) -> None:
    project.write(*models("net", "odd"))
    status, summary, outputs = github(project, arguments="--jobs 2")
    assert status == 1
    assert re.search(r"\| `?net`? +\| built", summary)
    assert "mystery" in summary
    assert json.loads((project.folder / outputs["report"]).read_text())["summary"]["failed"] == 1
    cases = ET.parse(outputs["junit"]).getroot().iter("testcase")  # our own file
    assert sorted(case.attrib["name"] for case in cases) == ["net", "odd"]


def test_the_github_action_of_a_wrong_manifest(project: Workplace) -> None:
    project.write({"name": "net"})
    assert github(project) == (2, "", {})


def test_the_github_action_and_its_workflow_fit_each_other(tmp_path: Path) -> None:
    action, workflow = read(ACTION / "action.yml"), read(ROOT / "examples/ci/github/models.yml")
    assert action["runs"]["using"] == "composite"
    assert all("description" in each for each in (*action["inputs"].values(), *action["outputs"].values()))
    for step in action["runs"]["steps"]:
        assert ("run" in step) == ("shell" in step) != ("uses" in step)
    (job,) = workflow["jobs"].values()
    step = next(step for step in job["steps"] if step.get("id") == "engines")
    assert step["uses"].partition("@")[0].endswith(str(ACTION.relative_to(ROOT)))
    assert set(step["with"]) <= set(action["inputs"])
    assert (ACTION / "../../..").resolve() == ROOT  # from where it is installed


@pytest.fixture
def notes() -> Iterator[tuple[str, list[tuple[str, str | None, str]]]]:
    """A server that takes notes on merge requests: its address, and path, token and text of each."""
    found: list[tuple[str, str | None, str]] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            form = urllib.parse.parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode("utf-8"))
            found.append((self.path, self.headers["PRIVATE-TOKEN"], form["body"][0]))
            self.send_response(201)
            self.end_headers()

        def log_message(self, *arguments: Any) -> None: ...

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/api/v4", found
        server.shutdown()


def test_the_gitlab_job_leaves_its_reports_and_a_note(
    project: Workplace, notes: tuple[str, list[tuple[str, str | None, str]]]
) -> None:
    project.write(*models("net", "odd"))
    job = read(GITLAB)["prepare-models"]
    variables = {name: text for name, text in job["variables"].items() if "$" not in text}
    done = bash("\n".join(job["script"]), project, **variables)
    assert done.returncode == 1, done.stderr
    assert (project.folder / job["artifacts"]["reports"]["junit"]).is_file()
    address, found = notes
    merge_request = {"CI_API_V4_URL": address, "CI_PROJECT_ID": "7", "CI_MERGE_REQUEST_IID": "3"}
    after = "\n".join(job["after_script"])
    assert bash(after, project, **merge_request).returncode == 0
    assert found == []
    done = bash(after, project, **merge_request, MODELS_TOKEN="token")
    assert done.returncode == 0, done.stderr
    ((path, token, body),) = found
    assert (path, token) == ("/api/v4/projects/7/merge_requests/3/notes", "token")
    assert body == (project.folder / "summary.md").read_text(encoding="utf-8")


def hook(identifier: str, place: Workplace) -> subprocess.CompletedProcess[str]:
    """Run a hook's entry on the files that its pattern takes, as pre-commit does."""
    (found,) = [each for each in read(ROOT / ".pre-commit-hooks.yaml") if each["id"] == identifier]
    files = sorted(str(file.relative_to(place.folder)) for file in place.folder.rglob("*") if file.is_file())
    taken = [file for file in files if re.search(found["files"], file)]
    return bash(" ".join([found["entry"], *taken]), place)


def test_hooks_find_wrong_manifests_and_stale_locks(project: Workplace) -> None:
    project.write(*models("net"))
    (project.folder / "sub").mkdir()
    (project.folder / "sub/models.yml").write_text("version: 1\nmodels: [{name: a}]\n", encoding="utf-8")
    wrong = hook("prepare-models-manifest", project)
    assert wrong.returncode == 2
    assert "sub/models.yml:2: models[0]: key 'source' is missing" in wrong.stderr
    assert wrong.stdout.splitlines() == ["models.yaml: 1 model, no lock"]
    (project.folder / "sub/models.yml").unlink()
    assert hook("prepare-models-manifest", project).returncode == 0
    missing = hook("prepare-models-lock", project)
    assert (missing.returncode, missing.stdout) == (1, "")
    command = missing.stderr.partition("write it: prepare-models ")[2].split()
    assert project.call(*command).status == 0  # the hint, to the letter
    assert hook("prepare-models-lock", project).stdout == "models.yaml: 1 model, as locked\n"
    networks.conv(project.folder / "net.onnx", seed=1)
    assert hook("prepare-models-manifest", project).returncode == 1
    (project.folder / "net.onnx").unlink()
    gone = project.call("validate", "--json")
    (found,) = json.loads(gone.stdout)["manifests"]
    assert (gone.status, found["problems"]) == (1, [])
    assert "net.onnx can't be read" in found["drift"][0]
