"""docs/migrate.md names every option that the programs have and the tool uses; what it says of each is a manifest."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml

from prepare_models.manifest.load import load
from prepare_models_entrypoint.contract.builder import BuilderConfig
from prepare_models_entrypoint.contract.settings import rows

TESTS = Path(__file__).parents[1]
PAGE = (TESTS.parent / "docs/migrate.md").read_text(encoding="utf-8")
PROGRAMS = json.loads((TESTS / "doubles/programs/options.json").read_text(encoding="utf-8"))


def table(program: str) -> list[list[str]]:
    lines = PAGE.partition(f"<!-- options: {program} -->")[2].partition("<!-- end -->")[0].strip().splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def options(program: str) -> set[str]:
    return {word.split()[0] for row in table(program) for word in re.findall("`(-[^`]*)`", row[0])}


def test_every_option_of_tao_converter_is_there() -> None:
    known = PROGRAMS["tao-converter"]
    assert options("tao-converter") == {*known["with_value"], *known["without"]}


def test_every_option_of_trtexec_that_a_setting_knows_is_there() -> None:
    known = {f"--{option}" for version in PROGRAMS["trtexec"].values() for option in version}
    assert known - options("trtexec") == set()
    for row in rows(BuilderConfig):
        forms = row.option.trtexec
        texts = [forms] if isinstance(forms, str) else (forms or {}).values()
        assert {f"--{text.partition('=')[0]}" for text in texts if text} <= options("trtexec")


@pytest.mark.parametrize(
    "cell", sorted({row[1] for name in ("tao-converter", "trtexec") for row in table(name)} - {""})
)
def test_what_stands_there_is_a_manifest(cell: str, tmp_path: Path) -> None:
    for file in ("cal.txt", "libmine.so"):
        (tmp_path / file).touch()
    model = {"name": "m", "source": "m.onnx", **yaml.safe_load(cell.strip("`"))}
    (tmp_path / "models.yaml").write_text(yaml.safe_dump({"version": 1, "models": [model]}), encoding="utf-8")
    assert load(tmp_path / "models.yaml").models[0].name == "m"
