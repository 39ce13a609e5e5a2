"""``prepare-models cache``: what is kept for later runs, whether it is intact, and what can be removed."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence

from prepare_models_entrypoint.contract import sizes

from ...errors import EXIT_MODEL_FAILED, EXIT_OK, UsageError
from ...store.contents import KINDS, VARIABLE, VERIFIED, Cache, Item, chosen, limit
from ...support.page import Part, Table, told_time
from ...support.paths import cache_dir
from .. import printing
from ..options import add, add_table, beginning, command, days, size

EXAMPLE = """\
example:
  prepare-models cache ls
  prepare-models cache prune --max-size 20GiB --dry-run

The variable PREPARE_MODELS_CACHE_LIMIT=20GiB keeps the cache at that size: a run that builds removes what was used
longest ago.
"""

_PRUNED = """\
An engine in a models directory stays there. What a process works with is kept, and so is a download, finished or
not, that was used within the last hour. part: an unfinished download, which a run would continue.
"""


def add_arguments(cache: argparse.ArgumentParser) -> None:
    """Add what ``cache`` takes."""
    actions = cache.add_subparsers(dest="action", metavar="ACTION", required=True)
    listed = command(actions, "ls", "list engines, downloads, bundles, timing caches, logs", "")
    described = command(actions, "show", "print what an item is", "3f9a --json")
    add(described, "id", "build key, sha256 or name; its first digits are enough", "ID")
    statuses = "exit status: 0 everything is intact, 1 something is damaged"
    verify = command(actions, "verify", "read and check every byte again", "--remove", more=statuses)
    add(verify, "--remove", "remove what is damaged")
    examples = ("--max-size 20GiB --dry-run", "--unused 30 --kind download")
    prune = command(actions, "prune", "remove what was least recently used", *examples, more=_PRUNED)
    add(prune, "--max-size", "size to shrink the cache to, such as 20GiB", size)
    add(prune, "--unused", "remove what was not used for this many days", days)
    add(prune, "--dry-run", "only print what would be removed")
    for action in (listed, verify, prune):
        kinds = ("engine", "download", "part", "bundle", "timing", "log")
        add(action, "--kind", "only this kind; may be repeated", kinds, many=True)
    for action in (listed, described, verify, prune):
        add_table(action)


def main(arguments: argparse.Namespace) -> int:
    """Run one of the actions."""
    cache = Cache(cache_dir())
    actions = {"ls": _list, "show": _show, "verify": _verify, "prune": _prune}
    return actions[arguments.action](cache, arguments)


def _list(cache: Cache, arguments: argparse.Namespace) -> int:
    items, most = _of_kinds(cache, arguments), None if arguments.json else limit()
    summary = f"{len(items)} items, {sizes.readable(sum(item.bytes for item in items))} in {cache_dir()}"
    summary += f", limit {sizes.readable(most)}" if most is not None else ""
    document = {"cache_dir": str(cache_dir()), "items": [item.to_dict() for item in items]}
    printing.result(arguments, document, _table(items), "", summary)
    return EXIT_OK


def _show(cache: Cache, arguments: argparse.Namespace) -> int:
    items = cache.items()
    wanted = beginning(arguments.id, [item.id for item in items], "items", "prepare-models cache ls")
    item = next(item for item in items if item.id == wanted)
    facts = [("kind", item.kind), ("id", item.id), ("what", item.label), ("size", sizes.readable(item.bytes))]
    facts += [("last used", told_time(item.used_at)), ("path", str(item.path))]
    identity = item.record["identity"] if item.record else None
    identity = identity if isinstance(identity, dict) else {}
    facts += [(name, value if isinstance(value, str) else json.dumps(value)) for name, value in identity.items()]
    printing.result(arguments, {**item.to_dict(), "record": item.record}, Table((), facts))
    return EXIT_OK


def _verify(cache: Cache, arguments: argparse.Namespace) -> int:
    items = [item for item in _of_kinds(cache, arguments) if item.kind in VERIFIED]
    found = [(item, problem) for item in items if (problem := cache.problem(item)) is not None]
    gone = set(cache.prune(item for item, _ in found)) if arguments.remove else set()
    damaged = [{**item.to_dict(), "problem": problem, "removed": item in gone} for item, problem in found]
    lines = [
        f"{item.kind} {item.id[:16]} ({item.label}): {problem}" + (", removed" if item in gone else "")
        for item, problem in found
    ]
    summary = f"{len(items)} items read, {len(found)} damaged"
    printing.result(arguments, {"verified": len(items), "damaged": damaged}, *lines, summary)
    return EXIT_MODEL_FAILED if found else EXIT_OK


def _prune(cache: Cache, arguments: argparse.Namespace) -> int:
    most = arguments.max_size if arguments.max_size is not None else limit()
    if most is None and arguments.unused is None:
        raise UsageError(
            "nothing says what to remove", hint=f"give --max-size SIZE or --unused DAYS, or set {VARIABLE}"
        )
    unused_s = None if arguments.unused is None else arguments.unused * 86400.0
    doomed = chosen(cache.items(), max_bytes=most, unused_s=unused_s, kinds=arguments.kind or KINDS)
    gone = doomed if arguments.dry_run else cache.prune(doomed)
    busy = [item for item in doomed if item not in gone]
    verb = "would go" if arguments.dry_run else "removed"
    kept = f"; {len(busy)} in use are kept" if busy else ""
    line = f"{len(gone)} items, {sizes.readable(sum(item.bytes for item in gone))} {verb}{kept}"
    facts = {"removed": [item.to_dict() for item in gone], "in_use": [item.to_dict() for item in busy]}
    parts: list[Part] = [_table(gone), "", line] if gone else [line]
    printing.result(arguments, {"dry_run": arguments.dry_run, **facts}, *parts)
    return EXIT_OK


def _of_kinds(cache: Cache, arguments: argparse.Namespace) -> list[Item]:
    return [item for item in cache.items() if item.kind in (arguments.kind or KINDS)]


def _table(items: Sequence[Item]) -> Table:
    rows = [
        (
            item.kind,
            item.id[:16] if item.kind in VERIFIED else item.id,
            sizes.readable(item.bytes),
            told_time(item.used_at),
            item.label,
        )
        for item in items
    ]
    return Table(("KIND", "ID", "SIZE", "LAST USED", "WHAT"), rows)
