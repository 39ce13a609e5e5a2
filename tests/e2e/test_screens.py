"""What a person sees on a terminal: nothing overlaps, no line is longer than the terminal is wide, no row is broken."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import networks
from tests.command import COMMAND, Workplace

from .terminal import Screen, Terminal

pytestmark = [
    pytest.mark.skipif(shutil.which("tmux") is None, reason="there is no tmux"),
    pytest.mark.timeout(600),
]
WIDTHS = (80, 120)
LONG = "a-name-as-export-scripts-make-them.of-a-detector-with-eight-heads.v2"
WIDE = ["画像/入力:0", "é́ combining", "🤖🚗 emoji", "bell\x07 and \x1b[31mred\x1b[0m"]
BAR = re.compile("[━╸╺]")
LOG = re.compile(r"\d\d:\d\d:\d\d \[")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Workplace:
    """Ten models that are built, one that fails, one with eight outputs of long names, one with names of all kinds."""
    place = Workplace(tmp_path_factory.mktemp("site"))
    names = [f"net{number}" for number in range(10)]
    for number, name in enumerate(names):
        networks.conv(place.folder / f"{name}.onnx", seed=number)
    precisions = {**dict.fromkeys(names, "fp32"), "net1": "fp16"}
    networks.named(place.folder / "many.onnx", ["input"], [f"{LONG}/output_{number}:0" for number in range(8)])
    networks.named(place.folder / "模型.onnx", WIDE[:2], WIDE[2:])
    place.write(
        *({"name": name, "source": f"{name}.onnx", "precision": precisions[name]} for name in names),
        {"name": "gone", "source": "gone.onnx"},
        {"name": LONG, "source": "many.onnx"},
        {"name": "wide", "source": "模型.onnx"},
    )
    done = place.run()
    assert done.status == 1, done.stderr
    assert done.report["summary"]["built"] == 12, done.stderr
    return place


@pytest.fixture(params=WIDTHS)
def terminal(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Terminal]:
    with Terminal(tmp_path, request.param) as opened:
        yield opened


def whole(screen: Screen) -> Screen:
    assert screen.too_long() == []
    assert "Traceback" not in screen.text
    assert "\x1b" not in screen.text
    return screen


def shown(terminal: Terminal, site: Workplace, *words: str, **variables: str) -> Screen:
    settings = {"PREPARE_MODELS_CACHE_DIR": str(site.cache_dir), "DOCKER_HOST": "unix:///nowhere/sock", **variables}
    return whole(terminal.after([COMMAND, *words], site.folder, **settings))


def test_a_run_while_it_goes_on_and_when_it_is_done(terminal: Terminal, site: Workplace) -> None:
    command = [*site.command("--force", "--jobs", "2")]
    screens = list(terminal.run(command, site.folder, PREPARE_MODELS_CACHE_DIR=str(site.cache_dir)))
    for screen in screens:
        whole(screen)
        assert not [line for line in screen.lines if LOG.search(line) and BAR.search(line)], "a log line inside a bar"
        assert all(LOG.match(line) for line in screen.lines if "[info]" in line)
    drawn = [[line for line in screen.lines if re.search(r"\d:\d\d:\d\d$", line)] for screen in screens]
    assert max(map(len, drawn)) == 2, "a line for each model at work"
    assert not drawn[-1], "bars end with what they show"
    last = screens[-1]
    assert terminal.status == 1
    rows = {line.split()[0]: line.split()[1] for line in last.lines if re.match(r"[a-z0-9]+ +(built|failed) ", line)}
    assert rows == {**{f"net{number}": "built" for number in range(10)}, "wide": "built", "gone": "failed"}
    assert "8 outputs" in last.text
    assert last.text.count("[rtx-engine]") == 1
    assert last.text.count("error [source-not-found] gone, fetch:") == 1


def test_a_run_that_has_nothing_to_do(terminal: Terminal, site: Workplace) -> None:
    screen = shown(terminal, site, *site.command("net0", "net1", LONG)[1:])
    assert len(re.findall(r"^net\d +up-to-date ", screen.text, re.MULTILINE)) == 2


def test_wide_shows_every_name(terminal: Terminal, site: Workplace) -> None:
    command = [COMMAND, "run", str(site.manifest), LONG, "--models-dir", str(site.models_dir), "--wide"]
    screen = terminal.after(command, site.folder, PREPARE_MODELS_CACHE_DIR=str(site.cache_dir))
    (row,) = [line for line in screen.lines if line.startswith(LONG)]
    assert all(f"{LONG}/output_{number}:0" in row for number in range(8))


VIEWS = [
    ("plan", "models.yaml"),
    ("plan", "models.yaml", "--force"),
    ("doctor",),
    ("inspect", "models/net0/1/model.plan", "--layers"),
    ("inspect", "模型.onnx", "--layers", "--weights"),
    ("inspect", "many.onnx"),
    ("inspect", "models"),
    ("lint", "models"),
    ("lint", "gone"),
    ("status", "models"),
    ("check", "models.yaml"),
    ("verify", "models", "net1", "wide"),
    ("cache", "ls"),
    ("cache", "verify"),
    ("cache", "prune", "--max-size", "1MiB", "--dry-run"),
    ("catalog", "list"),
    ("catalog", "search", "onnx"),
    ("fetch", "net0.onnx", "模型.onnx", "gone.onnx", "-o", "fetched"),
    ("convert", "many.onnx", "--name", LONG, "-o", "converted"),
    ("convert", "模型.onnx", "--name", "wide", "-o", "converted"),
    ("report", "diff", "models/net0", "models/wide"),
    ("lock", "models.yaml"),
    ("trust", "ls"),
    ("run", "no-such-manifest-in-a-folder-with-a-name-that-does-not-fit/and-more-of-it/models.yaml"),
    ("run", "models.yaml", "--executor", "nowhere"),
]


@pytest.mark.parametrize("words", VIEWS, ids=" ".join)
def test_views_fit_the_terminal(terminal: Terminal, site: Workplace, words: tuple[str, ...]) -> None:
    screen = shown(terminal, site, *words)
    assert screen.text.strip()
    heads = [number for number, line in enumerate(screen.lines) if re.match(r"(MODEL|NAME|KIND|FILE)  ", line)]
    for head in heads:  # columns begin below their names
        starts = [found.start() for found in re.finditer(r"\S+(?: \S+)*", screen.lines[head])]
        row = screen.lines[head + 1]
        assert all(start >= len(row) or start == 0 or row[start - 1] == " " for start in starts), row


ENVIRONMENTS = [
    {"NO_COLOR": "1"},
    {"TERM": "dumb"},
    {"COLUMNS": "40"},
    {"COLUMNS": "nonsense"},
    {"CI": "true"},
    {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    {"LC_ALL": "POSIX", "PYTHONIOENCODING": "ascii"},
]


@pytest.mark.parametrize("variables", ENVIRONMENTS, ids=str)
def test_odd_terminals(tmp_path: Path, site: Workplace, variables: dict[str, str]) -> None:
    with Terminal(tmp_path, 80) as terminal:
        for words in (site.command("wide", "net0", "gone", "--force")[1:], ["inspect", "模型.onnx"], ["doctor"]):
            shown(terminal, site, *words, **variables)


@pytest.mark.parametrize("variables", ENVIRONMENTS, ids=str)
def test_pipes_are_plain_whatever_the_environment(site: Workplace, variables: dict[str, str]) -> None:
    done = site.call(*site.command("wide", "net0", "gone", "--force")[1:], **variables)
    assert done.status == 1
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f]", done.stdout + done.stderr)
    assert not BAR.search(done.stdout + done.stderr)
    assert re.search(r"^net0 +built +fp32 +input 1x3x32x32 +output 1x4x32x32 ", done.stdout, re.MULTILINE)


def test_colours_are_for_status_alone(tmp_path: Path, site: Workplace) -> None:
    """In what a terminal gets, colours are around a status or the first word of a message, and nothing else."""
    script = f"{COMMAND} run models.yaml net0 gone --models-dir models --executor local"
    for variables, coloured in (({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)):
        typescript = tmp_path / "typescript"
        subprocess.run(
            ["script", "-qec", script, str(typescript)], cwd=site.folder, check=False, capture_output=True,
            env={"TERM": "xterm-256color", **site.environment(**variables)}, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        written = typescript.read_text(encoding="utf-8")
        found = re.findall(r"\x1b\[3[0-9]m(.*?)\x1b\[0m", written)
        assert bool(found) is coloured, variables
        assert {word.strip() for word in found} <= {"up-to-date", "built", "failed", "error", "warning"}


def test_backend_noise_is_in_the_log_of_the_build(site: Workplace) -> None:
    done = site.call(*site.command("net0", "gone", "--force")[1:])
    assert "[TRT]" not in done.stdout + done.stderr
    report = json.loads((site.models_dir / "net0/report.json").read_text(encoding="utf-8"))
    assert report["log"] is None or Path(report["log"]).is_file()
