"""The part of the command line that is about what earlier runs left: ``status`` and ``cache``."""

from __future__ import annotations

import argparse

from .options import add_json, add_models_dir, command, size

_CACHE_EXAMPLE = """\
example:
  prepare-models cache ls
  prepare-models cache prune --max-size 20GiB --dry-run

The variable PREPARE_MODELS_CACHE_LIMIT=20GiB keeps the cache at that size: a run that builds removes what was used
longest ago.
"""

_PRUNE_EXAMPLE = """\
example:
  prepare-models cache prune --max-size 20GiB --dry-run
  prepare-models cache prune --unused 30 --kind download

An engine in a models directory stays there. What a process works with is kept, and so is a download, finished or
not, that was used within the last hour. part: a download that was not finished, and would be continued.
"""


def _add_status(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    status = command(
        commands, "status", "tell which engines are valid on this very machine, and why others are not",
        "example:\n  prepare-models status ~/models --json\n\nNeither TensorRT nor a GPU is needed: what can't be"
        " compared here is told as unchecked.\n\nexit status: 0 no engine is stale, 1 one is, or there is none,"
        " 2 usage error",
    )  # fmt: skip
    add_models_dir(status)
    status.add_argument("--strict", action="store_true", help="an unchecked engine counts as a stale one, too")
    add_json(status)


def _add_cache(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    cache = command(commands, "cache", "list, show, verify or prune what is kept for later runs", _CACHE_EXAMPLE)
    actions = cache.add_subparsers(dest="action", metavar="ACTION", required=True)
    listed = command(
        actions, "ls", "list engines, downloads, bundles, timing caches, logs", "example:\n  prepare-models cache ls"
    )
    show = command(actions, "show", "print what an item is", "example:\n  prepare-models cache show 3f9a --json")
    show.add_argument("id", metavar="ID", help="build key, sha256 or name; its first digits are enough")
    verify = command(
        actions, "verify", "read all bytes again", "example:\n  prepare-models cache verify --remove\n\n"
        "exit status: 0 all is whole, 1 something is damaged",
    )  # fmt: skip
    verify.add_argument("--remove", action="store_true", help="remove what is damaged")
    prune = command(actions, "prune", "remove what was used longest ago", _PRUNE_EXAMPLE)
    prune.add_argument("--max-size", type=size, metavar="SIZE", help="what may stay, such as 20GiB")
    prune.add_argument("--unused", type=_days, metavar="DAYS", help="what was not used for so many days goes")
    prune.add_argument("--dry-run", action="store_true", help="only print what would go")
    for action in (listed, verify, prune):
        kinds = ("engine", "download", "part", "bundle", "timing", "log")
        action.add_argument("--kind", choices=kinds, action="append", help="only this kind; may be repeated")
    for action in (listed, show, verify, prune):
        add_json(action)


def _days(text: str) -> float:
    try:
        days = float(text)
    except ValueError:
        days = -1.0
    if not 0 <= days < float("inf"):
        raise argparse.ArgumentTypeError(f"expected a number of days, found {text!r}")
    return days


COMMANDS = {"status": _add_status, "cache": _add_cache}
