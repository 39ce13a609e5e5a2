"""Completion in real shells, and the manual page in groff; a shell that is not installed is skipped."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.command import COMMAND, Workplace

# Types a line in bash as a user does, presses tab, and prints what is offered.
_BASH = """
source ./script
complete -p prepare-models > /dev/null || exit 1
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMP_LINE="$*"; COMP_POINT=${#COMP_LINE}; COMP_TYPE=9
function_name=$(complete -p prepare-models | sed 's/.*-F \\([^ ]*\\).*/\\1/')
"$function_name" prepare-models "${!#}" ""
printf '%s\\n' "${COMPREPLY[@]}"
"""
_FISH = "source ./script; complete --do-complete '{line}'"


def needs(program: str) -> str:
    path = shutil.which(program)
    if path is None:
        pytest.skip(f"{program} is not installed")
    return path


def script(place: Workplace, shell: str) -> Path:
    made = place.call("completion", shell)
    assert made.status == 0, made.stderr
    (place.folder / "script").write_text(made.stdout, encoding="utf-8")
    return place.folder / "script"


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["ru"], {"run"}),
        (["c"], {"convert", "check", "catalog", "cache", "completion"}),
        (["run", "--exe"], {"--executor"}),
        (["run", "--executor", ""], {"auto", "local", "docker", "dask"}),
        (["run", "mo"], {"models.yaml", "models"}),
        (["lint", "mo"], {"models"}),
        (["bundle", "cr"], {"create"}),
        (["report", "render", "--format", ""], {"html", "markdown", "junit"}),
        (["completion", ""], {"bash", "zsh", "fish"}),
    ],
)
def test_bash_completes(place: Workplace, words: list[str], offered: set[str]) -> None:
    bash = needs("bash")
    script(place, "bash")
    place.write({"name": "net", "source": "net.onnx"})
    place.models_dir.mkdir()
    done = subprocess.run(
        [bash, "-c", _BASH, "bash", "prepare-models", *words],
        cwd=place.folder,
        capture_output=True,
        text=True,
        check=True,
    )
    assert set(done.stdout.split()) == offered


def test_zsh_completes(place: Workplace) -> None:
    """Through zsh's own completion system, on a terminal of its own."""
    zsh = needs("zsh")
    script(place, "zsh").rename(place.folder / "_prepare-models")
    typed = (
        "zmodload zsh/zpty; zpty shell zsh -f -i\n"
        "say() { zpty -w shell $1 }\n"
        'say \'PS1=; fpath+=($PWD); autoload -U compinit; compinit -u -D; zstyle ":completion:*" list-colors ""\'\n'
        "say 'LISTMAX=1000; unsetopt list_ambiguous'; sleep 1; zpty -w -n shell 'prepare-models bundle '$'\\t\\t'\n"
        "sleep 3; zpty -r -t shell out '*show*'; print -r -- $out"
    )
    done = subprocess.run([zsh, "-f", "-c", typed], cwd=place.folder, capture_output=True, text=True, check=False)
    assert "create" in done.stdout, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("line", "offered"),
    [("prepare-models ru", {"run"}), ("prepare-models run --executor ", {"auto", "local", "docker", "dask"})],
)
def test_fish_completes(place: Workplace, line: str, offered: set[str]) -> None:
    fish = needs("fish")
    script(place, "fish")
    done = subprocess.run(
        [fish, "--no-config", "-c", _FISH.format(line=line)],
        cwd=place.folder,
        capture_output=True,
        text=True,
        check=True,
    )
    assert {each.split("\t")[0] for each in done.stdout.splitlines()} == offered


def test_the_manual_page_has_every_command_and_option_and_no_roff_that_groff_warns_of(place: Workplace) -> None:
    groff = needs("groff")
    page = place.call("man").stdout
    done = subprocess.run(
        [groff, "-man", "-ww", "-Tutf8", "-P-c"], input=page, capture_output=True, text=True, check=True,
        env={**os.environ, "LC_ALL": "C.UTF-8"},
    )  # fmt: skip
    assert done.stderr == ""
    text = " ".join(done.stdout.replace("\u2010\n", "").replace("\u2010", "-").split())
    helped = subprocess.run([COMMAND, "--help"], capture_output=True, text=True, check=True).stdout
    commands = [line.split()[0] for line in helped.splitlines() if line.startswith("    ") and line[4] != " "]
    assert len(commands) > 20
    assert not [command for command in commands if f"prepare-models {command}" not in text]
    assert "--models-dir DIR" in text
    assert ".onnx, .etlt, .plan, .engine or a models directory" in text  # a line that begins with a dot
