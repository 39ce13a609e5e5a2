"""Writes docs/images/first-engine.svg: a tmux terminal in which the README's first example really runs."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console
from rich.text import Text

ROOT = Path(__file__).parents[1]
COMMAND = "prepare-models convert model.onnx --precision fp16"
_WIDTH, _HEIGHT, _LIMIT_S = 100, 40, 600
_END = "~END~"
_FONTS = re.compile(r"\s*@font-face \{.*?\}", re.DOTALL)  # loaded from a third-party server


def screen(folder: Path) -> str:
    """Return what a terminal shows after the command, with its colours."""
    variables = {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PREPARE_MODELS_CACHE_DIR": str(folder / "cache"),
        "TERM": "xterm-256color",
    }
    typed = f"clear; printf '$ {COMMAND}\\n'; {COMMAND}; printf {_END}"
    size = ("-x", str(_WIDTH), "-y", str(_HEIGHT))
    tmux("new-session", "-d", *size, "-c", str(folder), "bash", "--norc", env={**os.environ, **variables})
    try:
        tmux("send-keys", typed, "Enter")
        for _ in range(_LIMIT_S):
            time.sleep(1)
            shown = tmux("capture-pane", "-e", "-p", "-J").partition(f"$ {COMMAND}\n")[2]
            if _END in shown:
                return f"$ {COMMAND}\n{shown.partition(_END)[0].rstrip()}\n"
        raise TimeoutError(COMMAND)
    finally:
        tmux("kill-server")


def tmux(*words: str, env: Mapping[str, str] | None = None) -> str:
    """Run a command of our own tmux server, and return what it prints."""
    done = subprocess.run(
        ["tmux", "-L", f"picture-{os.getpid()}", *words], check=True, capture_output=True, text=True, env=env
    )
    return done.stdout


def main() -> None:
    """Write the picture."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shutil.copy(ROOT / "examples/quickstart/model.onnx", folder)
        text = screen(folder).replace(str(folder), "/home/me")
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere:
        console = Console(record=True, width=_WIDTH, file=nowhere, force_terminal=True, color_system="truecolor")
        console.print(Text.from_ansi(text), soft_wrap=False)
    (ROOT / "docs/images").mkdir(exist_ok=True)
    picture = _FONTS.sub("", console.export_svg(title="prepare-models", unique_id="first-engine"))
    (ROOT / "docs/images/first-engine.svg").write_text(picture, encoding="utf-8")


if __name__ == "__main__":
    main()
