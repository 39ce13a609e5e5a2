"""Writes a page for each command from the parser, and docs/llms.txt; ``--check`` only says whether they are current."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "orchestrator"), str(ROOT / "entrypoint")]

from prepare_models.cli.parser import COMMANDS, parser  # noqa: E402  # the tree's own, installed or not

DOCS = ROOT / "docs"
_SITE = "https://github.com/prepare-models/prepare-models/blob/main/"
_NOTE = "<!-- Written by .ci/docs_commands.py from the command's parser. -->\n"
_INTRODUCTION = """\
# prepare-models

> Turns trained networks (ONNX, .etlt; from files, NGC, Hugging Face or the web) into TensorRT engines for the machine
> that will run them, proves their precision, and writes the files that Isaac ROS, Triton and DeepStream read. Start
> with `prepare-models convert MODEL --precision fp16`; for several models, let `prepare-models init` write a manifest.
"""


def pages() -> dict[Path, str]:
    """Return every generated file with its content."""
    found = {DOCS / "commands" / f"{name}.md": page(name) for name in COMMANDS}
    return {**found, DOCS / "llms.txt": index(found)}


def page(name: str) -> str:
    """Return the page of a command."""
    (command,) = _commands(parser(name), name)
    return _NOTE + "\n".join(_sections(command, f"prepare-models {name}", "#")) + "\n"


def _commands(root: argparse.ArgumentParser, *names: str) -> list[argparse.ArgumentParser]:
    """Return the parsers of commands below another one; without names, all, each once."""
    groups = [action for action in root._actions if isinstance(action, argparse._SubParsersAction)]  # noqa: SLF001
    return [each for group in groups for key, each in group.choices.items() if not names or key in names]


def _sections(command: argparse.ArgumentParser, called: str, level: str) -> Iterator[str]:
    yield f"{level} {called}\n\n{_sentence(command.description or '')}\n"
    below = _commands(command)
    shown = [action for action in command._actions if _shown(action)]  # noqa: SLF001
    places = [_place(action) for action in shown if not action.option_strings]
    options = ["[OPTIONS]"] if any(action.option_strings for action in shown) else []
    yield f"```text\n{' '.join([called, *places, *(['ACTION'] if below else []), *options])}\n```\n"
    if shown:
        yield "| argument | meaning |\n| --- | --- |"
        for action in shown:
            yield f"| {_written(action)} | {_cell(_meaning(command, action))} |"
        yield ""
    if command.epilog:
        yield f"```text\n{command.epilog.strip()}\n```\n"
    for each in below:
        yield from _sections(each, f"{called} {each.prog.rpartition(' ')[2]}", f"{level}#")


def _shown(action: argparse.Action) -> bool:
    hidden = argparse.SUPPRESS in (action.help, action.default) and not action.option_strings
    return not hidden and not isinstance(action, argparse._SubParsersAction | argparse._HelpAction)  # noqa: SLF001


def _place(action: argparse.Action) -> str:
    name = _value(action)
    return {"?": f"[{name}]", "*": f"[{name} ...]", "+": f"{name} [{name} ...]"}.get(str(action.nargs), name)


def _value(action: argparse.Action) -> str:
    if action.metavar:
        return str(action.metavar)
    return "|".join(map(str, action.choices)) if action.choices else action.dest.upper()


def _written(action: argparse.Action) -> str:
    names = action.option_strings or [_value(action)]
    value = "" if not action.option_strings or action.nargs == 0 else f" {_value(action)}"
    return ", ".join(f"`{_cell(name + value)}`" for name in names)


def _meaning(command: argparse.ArgumentParser, action: argparse.Action) -> str:
    return command._get_formatter()._expand_help(action) if action.help else ""  # noqa: SLF001


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:].rstrip('.')}."


def index(generated: dict[Path, str]) -> str:
    """Return llms.txt: every page with the first sentence of its text."""
    written = sorted(file for file in DOCS.glob("*.md"))
    decisions = sorted((DOCS / "decisions").glob("*.md"))
    parts = [
        _INTRODUCTION,
        "## Documentation\n",
        _entry(ROOT / "README.md", (ROOT / "README.md").read_text(encoding="utf-8")),
        *(_entry(file, file.read_text(encoding="utf-8")) for file in written),
        "\n## Commands\n",
        *(_entry(file, text) for file, text in generated.items()),
        "\n## Optional\n",
        *(_entry(file, file.read_text(encoding="utf-8")) for file in decisions),
    ]
    return "\n".join(parts) + "\n"


def _entry(file: Path, text: str) -> str:
    plain = re.sub(r"<!--.*?-->\s*", "", text, flags=re.DOTALL)
    title, _, rest = plain.partition("\n")
    paragraphs = [part.strip() for part in rest.split("\n\n") if not re.match(r"\s*(#|\||```|!|[*-] |$)", part)]
    first = " ".join(paragraphs[0].split()) if paragraphs else ""
    sentence = re.split(r"(?<=[.:;])\s", re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", first), maxsplit=1)[0].rstrip(":;.")
    return f"- [{title.lstrip('# ')}]({_SITE}{file.relative_to(ROOT)}): {sentence}"


def main(arguments: list[str]) -> int:
    """Write the pages, or check them."""
    wanted = pages()
    old = {file for file in (DOCS / "commands").glob("*.md") if file not in wanted}
    stale = {file for file, text in wanted.items() if not file.exists() or file.read_text(encoding="utf-8") != text}
    if "--check" in arguments:
        if old | stale:
            names = ", ".join(sorted(str(file.relative_to(ROOT)) for file in old | stale))
            sys.stderr.write(f"pages are not current: {names}; run: python .ci/docs_commands.py\n")
        return bool(old | stale)
    (DOCS / "commands").mkdir(exist_ok=True)
    for file in stale:
        file.write_text(wanted[file], encoding="utf-8")
    for file in old:
        file.unlink()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
