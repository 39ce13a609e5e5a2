"""The README's commands, in its order, from a folder that holds a model and nothing else."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import pytest

from tests.command import Workplace

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def commands(section: str) -> list[list[str]]:
    """Return the commands of prepare-models in the first console block that has some, of a section."""
    text = README.partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    blocks = re.findall(r"```console\n(.*?)```", text, re.DOTALL)
    found = [shlex.split(line[2:], comments=True) for line in blocks[0].splitlines()]
    return [words[1:] for words in found if words[0] == "prepare-models"]


@pytest.fixture
def place(tmp_path: Path) -> Workplace:
    shutil.copy(ROOT / "examples/quickstart/model.onnx", tmp_path)
    return Workplace(tmp_path)


def test_the_first_engine(place: Workplace) -> None:
    (convert,) = commands("Your first engine")
    done = place.call(*convert)
    assert done.status == 0, done.stderr
    shown = README.partition("model: built in")[2].partition("```")[0]
    for line in shown.splitlines()[1:4] + shown.splitlines()[8:]:
        assert line in done.stdout
    tree = README.partition("\nmodels/\n")[2].partition("```")[0]
    files = {f"model/{line.split()[0]}" for line in tree.splitlines() if line.startswith("    ")}
    assert place.files() == {*files, "report.json"}


def test_the_use_of_a_manifest(place: Workplace) -> None:
    used = commands("Use")
    assert [words[0] for words in used] == ["init", "plan", "run", "lock", "inspect", "lint", "relocate"]
    for words in used:
        done = place.call(*words)
        found = words[0] == "lint"  # which objects to engines that Isaac ROS can't load, where TensorRT-RTX built them
        assert done.status in ((0, 1) if found else (0,)), (words, done.stdout, done.stderr)
        assert not found or "[rtx-engine]" in done.stdout or done.status == 0
