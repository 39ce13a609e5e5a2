"""CONTRIBUTING.md is followed to the letter: each recipe adds its thing to a copy of the tree, and the tool has it."""

from __future__ import annotations

import functools
import http.server
import json
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests import networks
from tests.doubles import programs

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
_STEP = re.compile(
    r"^(?:New `(?P<new>[^`]+)`|In `(?P<file>[^`]+)`, in `(?P<anchor>[^`]+)`):\n\n```\w+\n(?P<code>.*?)```\n",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True)
class Tree:
    """A copy of both packages, to which a recipe was applied. touched: its files that are new or changed."""

    root: Path
    touched: list[str]

    def run(self, *command: str, **variables: str) -> subprocess.CompletedProcess[str]:
        places = os.pathsep.join([str(self.root / "orchestrator"), str(self.root / "entrypoint")])
        environment = {**os.environ, "PREPARE_MODELS_CACHE_DIR": str(self.root / "cache"), "PYTHONPATH": places}
        return subprocess.run(
            [sys.executable, *command], cwd=self.root, env={**environment, **variables}, capture_output=True, text=True,
            check=False,
        )  # fmt: skip

    def tool(self, *arguments: str, **variables: str) -> str:
        done = self.run("-m", "prepare_models", *arguments, **variables)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def documented(self, file: str) -> str:
        """Return a page after its tables were renewed."""
        done = self.run(".ci/docs_tables.py")
        assert done.returncode == 0, done.stderr
        return (self.root / "docs" / file).read_text(encoding="utf-8")


def follow(name: str, root: Path) -> Tree:
    """Copy the tree, and do what the recipe says."""
    for folder in ("orchestrator/prepare_models", "entrypoint/prepare_models_entrypoint", "docs"):
        shutil.copytree(ROOT / folder, root / folder, ignore=shutil.ignore_patterns("__pycache__"))
    (root / ".ci").mkdir()
    shutil.copy(ROOT / ".ci" / "docs_tables.py", root / ".ci")
    recipe = TEXT.partition(f"\n### {name}\n")[2].partition("\n##")[0]
    steps = list(_STEP.finditer(recipe))
    for step in steps:
        file = root / (step["new"] or step["file"])
        if step["new"]:
            assert not file.exists()
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(step["code"], encoding="utf-8")
        else:
            before, anchor, after = file.read_text(encoding="utf-8").partition(f"\n{step['anchor']}\n")
            if not anchor:  # the first line
                before, anchor, after = "", *_first(after, before, step["anchor"])
            file.write_text(f"{before}{anchor}{step['code']}{after}", encoding="utf-8")
    return Tree(root, [step["new"] or step["file"] for step in steps])


def _first(after: str, text: str, anchor: str) -> tuple[str, str]:
    assert not after
    assert text.startswith(f"{anchor}\n")
    return f"{anchor}\n", text[len(anchor) + 1 :]


@pytest.fixture
def tree(request: pytest.FixtureRequest, tmp_path: Path) -> Tree:
    found = follow(request.param, tmp_path / "tree")
    assert 1 <= len(found.touched) <= 2
    return found


def recipe(name: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("tree", [name], indirect=True)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    (tmp_path / "served").mkdir()
    networks.conv(tmp_path / "served" / "model.onnx")
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path / "served"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as serving:
        threading.Thread(target=serving.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{serving.server_port}"
        serving.shutdown()


def build(tree: Tree, folder: Path, *options: str, **model: Any) -> dict[str, Any]:
    """Build one model with the double of a program, and return its report."""
    manifest = folder / "models.yaml"
    manifest.write_text(yaml.safe_dump({"version": 1, "models": [{"name": "net", **model}]}), encoding="utf-8")
    places = str(programs.install("trtexec", folder / "bin" / "onnx2plan").parent)
    stdout = tree.tool(
        "run", str(manifest), "--models-dir", str(folder / "models"), "--executor", "local", "--json", *options,
        PATH=f"{places}{os.pathsep}{os.environ['PATH']}", PREPARE_MODELS_TRTEXEC=f"{places}/onnx2plan",
    )  # fmt: skip
    report: dict[str, Any] = json.loads(stdout)["models"][0]
    return report


@recipe("A converter")
def test_a_converter(tree: Tree, tmp_path: Path) -> None:
    source = networks.conv(tmp_path / "model.onnx")
    report = build(tree, tmp_path, source=str(source), converter="onnx2plan")
    assert (report["status"], report["converter"]) == ("built", "onnx2plan")
    assert report["trtexec_command"] == f"onnx2plan {source} {tmp_path}/models/net/1/model.plan"
    assert (tmp_path / "models/net/1/model.plan").stat().st_size == report["engine"]["bytes"]
    assert '"onnx2plan"' in tree.tool("schema", "manifest")
    assert '"onnx2plan"' in tree.tool("schema", "report")
    assert "`onnx2plan`" in tree.documented("manifest.md")


@recipe("A kind of source")
def test_a_kind_of_source(tree: Tree, tmp_path: Path, server: str) -> None:
    tree.tool("fetch", f"lan://{server}/model.onnx", "--output", str(tmp_path / "got"))
    assert (tmp_path / "got/model.onnx").read_bytes() == (tmp_path / "served/model.onnx").read_bytes()
    refused = tree.run("-m", "prepare_models", "fetch", "lan://host", "--output", str(tmp_path / "got"))
    assert "lan://host/file" in refused.stderr
    assert "lan://[^/]+/." in tree.tool("schema", "manifest")


@recipe("A consumer")
def test_a_consumer(tree: Tree, tmp_path: Path) -> None:
    build(tree, tmp_path, source=str(networks.conv(tmp_path / "model.onnx")), converter="trtexec")
    caption = tmp_path / "models/net/caption.txt"
    assert caption.read_text(encoding="utf-8") == "net in fp32\n"
    caption.unlink()
    found = tree.run("-m", "prepare_models", "lint", str(tmp_path / "models"), "--consumer", "gallery", "--json")
    assert "gallery-caption" in found.stdout
    assert "`gallery-caption`" in tree.documented("lint.md")


@recipe("A command")
def test_a_command(tree: Tree, tmp_path: Path) -> None:
    manifest = tmp_path / "models.yaml"
    manifest.write_text("version: 1\nmodels:\n  - {name: net, source: model.onnx}\n", encoding="utf-8")
    networks.conv(tmp_path / "model.onnx")
    assert tree.tool("count", str(manifest)) == "1\n"
    assert "count the models of a manifest" in tree.tool("--help")


@recipe("An error")
def test_an_error(tree: Tree) -> None:
    raised = tree.run(
        "-c",
        "from prepare_models_entrypoint.errors import ConvertError\n"
        "print(ConvertError('model-haunted', 'net said 7').info('convert'))",
    )
    assert "wait until the full moon is over" in raised.stdout
    assert "| `model-haunted` | the model answers before it is asked |" in tree.documented("errors.md")


@recipe("A builder option")
def test_a_builder_option(tree: Tree, tmp_path: Path) -> None:
    source = str(networks.conv(tmp_path / "model.onnx"))
    assert '"tiling_level"' in tree.tool("schema", "manifest")
    assert "| `tiling_level` | a level from 0 to 3 |" in tree.documented("manifest.md")
    manifest = tmp_path / "models.yaml"
    option = {"name": "net", "source": source, "converter": "api", "builder": {"tiling_level": 2}}
    manifest.write_text(yaml.safe_dump({"version": 1, "models": [option]}), encoding="utf-8")
    checked = tree.run("-m", "prepare_models", "check", str(manifest), "--executor", "local")
    assert "builder.tiling_level: TensorRT-RTX does not tile" in checked.stdout + checked.stderr


@recipe("A platform")
def test_a_platform(tree: Tree) -> None:
    refused = tree.run("-m", "prepare_models", "image", "build", "--platform", "none")
    assert "x86_64-trt10.9" in refused.stderr
