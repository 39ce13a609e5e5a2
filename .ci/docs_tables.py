"""Writes the tables of the documentation from the tables of the code; ``--check`` only says whether they are current.

A table is between ``<!-- table: NAME -->`` and ``<!-- end -->``.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "orchestrator"), str(ROOT / "entrypoint")]

from prepare_models.machine.platforms import releases  # noqa: E402  # the tree's own, installed or not
from prepare_models.manifest.model import MODEL_ROWS, Ngc  # noqa: E402
from prepare_models_entrypoint.consumers.registry import CONSUMERS  # noqa: E402
from prepare_models_entrypoint.contract import known_faults  # noqa: E402
from prepare_models_entrypoint.contract.builder import BuilderConfig  # noqa: E402
from prepare_models_entrypoint.contract.conversion import OnnxConfig, TaoConfig  # noqa: E402
from prepare_models_entrypoint.contract.deployment import DeepStreamConfig, RosConfig  # noqa: E402
from prepare_models_entrypoint.contract.error_codes import ERRORS  # noqa: E402
from prepare_models_entrypoint.contract.kinds import OneOf  # noqa: E402
from prepare_models_entrypoint.contract.settings import Option, Setting, rows  # noqa: E402
from prepare_models_entrypoint.contract.verification import (  # noqa: E402
    CalibrationConfig,
    Thresholds,
    VerifyConfig,
)

FILES = ("manifest.md", "errors.md", "lint.md", "platforms.md")
_MARKED = re.compile(r"(<!-- table: (?P<name>[a-z-]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def table(head: Iterable[str], lines: Iterable[Iterable[str]]) -> str:
    """Return a Markdown table."""
    columns = list(head)
    found = [columns, ["---"] * len(columns), *lines]
    return "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |\n" for line in found)


def settings(some: Iterable[Setting]) -> str:
    """Return the table of a group of settings."""
    shown = [row for row in some if row.key and not row.inline]
    lines = [(f"`{f'{row.group}.' if row.group else ''}{row.key}`", _values(row), row.doc) for row in shown]
    return table(("key", "value", "meaning"), lines)


def builder() -> str:
    """Return the table of builder options, with their names in NVIDIA's programs."""
    lines = [
        (f"`{row.key}`", row.kind.values(), row.doc, _since(row.option), _rtx(row.option))
        for row in rows(BuilderConfig)
    ]
    return table(("key", "value", "meaning", "TensorRT", "TensorRT-RTX"), lines)


def _values(row: Setting) -> str:
    default = f"; `{row.default}` unless set" if isinstance(row.kind, OneOf) and isinstance(row.default, str) else ""
    return row.kind.values() + default


def _since(option: Option) -> str:
    if option.rtx_only:
        return "no"
    since, until = (".".join(map(str, version)) for version in (option.since, option.until))
    parts = (since and f"from {since}", until and f"before {until}", *_later(option))
    return " ".join(part for part in parts if part)


def _later(option: Option) -> list[str]:
    return [f"(`{value}` from {'.'.join(map(str, since))})" for value, since in option.values_since.items()]


def _rtx(option: Option) -> str:
    return "no" if option.rtx else "with a GPU" if option.rtx_gpu else ""


def errors(where: str) -> Callable[[], str]:
    """Return a function that returns the table of the error codes of a place."""
    return lambda: table(
        ("code", "meaning", "what to do"),
        ((f"`{code}`", row.meaning, row.hint) for code, row in ERRORS.items() if row.where == where),
    )


def rules() -> str:
    """Return the table of lint rules."""
    rows = [
        [f"`{code}`", consumer.name, rule.looks_at + (", a note" if rule.note else ""), rule.meaning, rule.hint]
        for consumer in CONSUMERS.values()
        for code, rule in consumer.rules.items()
    ]
    return table(["code", "consumer", "looks at", "what is wrong", "what to do"], rows)


def faults() -> str:
    """Return the table of known faults of TensorRT's versions."""
    lines = [
        (
            fault.first if fault.first == fault.last else f"{fault.first} to {fault.last}",
            _only(fault),
            f"{fault.what}; {fault.confirmed}",
            fault.hint,
            ", ".join(f"[{number}]({source})" for number, source in enumerate(fault.sources, 1)),
        )
        for fault in known_faults.table()
    ]
    return table(("TensorRT", "of", "what", "what to do", "reference"), lines)


def _only(fault: known_faults.Fault) -> str:
    options = [
        f"`{name}: {', '.join(map(str, values)).lower()}`" if values else f"`{name}`"
        for name, values in fault.settings.items()
    ]
    gpus = [f"compute capability {', '.join(fault.capabilities)}"] if fault.capabilities else []
    shapes = ["dynamic shapes"] if fault.dynamic else []
    return "; ".join([*(["/".join(fault.precisions)] if fault.precisions else []), *gpus, *shapes, *options])


def jetpacks() -> str:
    """Return the table of JetPacks."""
    lines = [
        (
            row.jetpack,
            _l4t(row.l4t),
            row.tensorrt + (f", {row.newer}" if row.newer else ""),
            row.cuda,
            row.python,
        )
        for row in releases()
    ]
    return table(("JetPack", "L4T", "TensorRT", "CUDA", "Python"), lines)


def _l4t(releases: tuple[str, ...]) -> str:
    if not releases:
        return "not known"
    first, last = releases
    open_end = last.partition(".99")[0]
    if last != open_end:
        return f"{first}, later {open_end}.x"
    return first if first == last else f"{first} to {last}"


TABLES: dict[str, Callable[[], str]] = {
    "model": lambda: settings(MODEL_ROWS),
    "builder": builder,
    "onnx": lambda: settings(rows(OnnxConfig)),
    "tao": lambda: settings(rows(TaoConfig)),
    "calibration": lambda: settings(rows(CalibrationConfig)),
    "verify": lambda: settings(rows(VerifyConfig)),
    "thresholds": lambda: settings(rows(Thresholds)),
    "ros": lambda: settings(rows(RosConfig)),
    "deepstream": lambda: settings(rows(DeepStreamConfig)),
    "ngc": lambda: settings(rows(Ngc)),
    "errors": errors("model"),
    "errors-containers": errors("container"),
    "errors-bundles": errors("bundle"),
    "errors-tool": errors("tool"),
    "rules": rules,
    "faults": faults,
    "jetpacks": jetpacks,
}


def main(arguments: list[str]) -> int:
    """Write the tables, or check them."""
    stale = []
    for name in FILES:
        file = ROOT / "docs" / name
        before = file.read_text(encoding="utf-8")
        after = _MARKED.sub(lambda match: match[1] + TABLES[match["name"]]() + match[3], before)
        if after != before:
            stale.append(name)
            if "--check" not in arguments:
                file.write_text(after, encoding="utf-8")
    if stale and "--check" in arguments:
        sys.stderr.write(f"tables in docs/ are not current: {', '.join(stale)}; run: python .ci/docs_tables.py\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
