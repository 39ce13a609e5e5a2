"""``prepare-models completion``."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import shtab

from ...errors import EXIT_OK
from ...reports import text
from ..options import add
from ..parser import parser

SHELLS = ("bash", "zsh", "fish")
EXAMPLE = """\
example:
  prepare-models completion bash > ~/.local/share/bash-completion/completions/prepare-models
  prepare-models completion zsh > ~/.zfunc/_prepare-models     (with fpath+=~/.zfunc before compinit in ~/.zshrc)
  prepare-models completion fish > ~/.config/fish/completions/prepare-models.fish
"""
_DIRECTORIES = ("DIR", "MODELS_DIR")
_FILES = ("FILE", "MANIFEST", "MODEL", "SOURCE")


def add_arguments(completion: argparse.ArgumentParser) -> None:
    """Add what ``completion`` takes."""
    add(completion, "shell", "shell that reads the script", SHELLS)


def main(arguments: argparse.Namespace) -> int:
    """Print a script that completes commands, options, their values, and paths."""
    root = parser()
    for action in _actions(root):
        if action.metavar in _DIRECTORIES:
            action.complete = shtab.DIRECTORY  # type: ignore[attr-defined]  # where shtab looks for it
        elif action.metavar in _FILES or action.type is Path:
            action.complete = shtab.FILE  # type: ignore[attr-defined]
    text.write(shtab.complete(root, arguments.shell).rstrip())
    return EXIT_OK


def _actions(command: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    for action in command._actions:  # noqa: SLF001  # argparse has no other way to them
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
            for inner in action.choices.values():
                yield from _actions(inner)
        else:
            yield action
