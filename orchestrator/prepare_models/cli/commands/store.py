"""``prepare-models store``: engines of a team, in a store that its machines share."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from prepare_models_entrypoint.contract import sizes
from prepare_models_entrypoint.contract.digest import is_sha256

from ...errors import EXIT_MODEL_FAILED, EXIT_OK, SharedStoreError
from ...signing.envelopes import short
from ...signing.origins import untrusted
from ...store.local import open_store
from ...store.shared import Kept, SharedStore
from ...support.page import Part, Table, told_time
from ...support.paths import cache_dir, make_cache
from .. import printing
from ..options import add, add_key, add_table, beginning, command, days, signer, size

EXAMPLE = """\
example:
  prepare-models store push s3://bucket/engines --sign key.pem
  prepare-models store ls s3://bucket/engines
  prepare-models run --store s3://bucket/engines

What is kept on this machine: prepare-models cache
"""
_HERE = "up-to-date"
_ENDS = (
    "exit status: 0 done, 1 an engine was refused or the store can't be reached, 2 usage error, 3 a module is missing"
)


def add_arguments(store: argparse.ArgumentParser) -> None:
    """Add what ``store`` takes."""
    actions = store.add_subparsers(dest="action", metavar="ACTION", required=True)
    url = "s3://bucket/engines"
    examples = {
        "push": ("put engines there that are in the store of this machine", f"{url} 3f9a --sign key.pem"),
        "pull": ("take engines from there into the store of this machine", "https://cdn.example/engines 3f9a..."),
        "ls": ("list the engines that are there", f"{url} --json"),
        "gc": ("remove old engines, and what uploads left that did not end", f"{url} --older 90 --dry-run"),
    }
    made = [command(actions, name, what, example, more=_ENDS) for name, (what, example) in examples.items()]
    push, pull, _, collect = made
    for action in made:
        add(action, "url", "of the store: s3://bucket/prefix, or any URL of fsspec", "URL")
        add_table(action)
    add(push, "keys", "first digits of build keys (default: all built here)", "KEY", nargs="*")
    add_key(push, "signs where engines come from")
    add(push, "--replace", "put engines there that are there already, too")
    add(pull, "keys", "build keys; first digits are enough where URL can be listed", "KEY", nargs="+")
    add(pull, "--bandwidth", "bytes a second at most, such as 2MiB", size)
    add(collect, "--older", "also engines that were put there before that", days)
    text = "what was written within that time stays: its upload may be under way (default 1)"
    add(collect, "--margin", text, days, default=1.0)
    add(collect, "--dry-run", "only print what would be removed")


def main(arguments: argparse.Namespace) -> int:
    """Run one of the actions."""
    make_cache()
    shared = SharedStore(arguments.url, bytes_per_s=getattr(arguments, "bandwidth", None) or None)
    actions = {"push": _push, "pull": _pull, "ls": _list, "gc": _collect}
    return actions[arguments.action](shared, arguments)


def _push(shared: SharedStore, arguments: argparse.Namespace) -> int:
    signs = signer(arguments)
    entries = {entry.key: entry for entry in open_store().entries()}
    own = [key for key, entry in entries.items() if entry.record["origin"] is None]
    listing = "prepare-models cache ls --kind engine"
    wanted = [beginning(key, entries, "engines", listing) for key in arguments.keys] or own
    done, failed = {}, []
    for key in wanted:
        try:
            done[key] = shared.push(entries[key], signs, replace=arguments.replace)
        except SharedStoreError as error:
            failed.append((key, error))
    return _shown(shared, arguments, [(key, "pushed" if new else _HERE) for key, new in done.items()], failed)


def _pull(shared: SharedStore, arguments: argparse.Namespace) -> int:
    whole = all(map(is_sha256, arguments.keys))
    names, listing = [] if whole else sorted(shared.keys()), f"prepare-models store ls {shared.url}"
    keys = [key if whole else beginning(key, names, "engines", listing) for key in arguments.keys]
    store, done, failed = open_store(), [], []
    for key in keys:
        try:
            with store.turn(key, cache_dir()):
                there = store.find(key)
                usable = there is not None and untrusted(there.record) is None
                found = None if usable else shared.pull(key, store)
            done.append((key, _HERE if usable else "pulled" if found else "missing"))
        except SharedStoreError as error:
            failed.append((key, error))
    return _shown(shared, arguments, done, failed)


def _shown(
    shared: SharedStore,
    arguments: argparse.Namespace,
    done: Sequence[tuple[str, str]],
    failed: Sequence[tuple[str, SharedStoreError]],
) -> int:
    """Show what became of engines, and return the exit status."""
    rows = [*((key, status, None) for key, status in done), *((key, "failed", error.info()) for key, error in failed)]
    engines = [{"build_key": key, "status": status, "error": error} for key, status, error in rows]
    table = Table(("BUILD KEY", "STATUS"), [(key[:16], status) for key, status, _ in rows], 1)
    messages: list[Part] = []
    for _, error in failed:
        messages += ["", *error.shown()]
    printing.result(arguments, {"store": shared.url, "engines": engines}, table, *messages)
    return EXIT_MODEL_FAILED if failed or any(status == "missing" for _, status in done) else EXIT_OK


def _list(shared: SharedStore, arguments: argparse.Namespace) -> int:
    found = shared.listed()
    engines = [{**vars(each.offer), "bytes": each.bytes, "put_at": each.put_at} for each in found]
    rows = [
        (each.offer.key[:16], sizes.readable(each.bytes), told_time(each.put_at), each.offer.model, _signer(each))
        for each in found
    ]
    total = f"{len(found)} engines, {sizes.readable(sum(each.bytes for each in found))} in {shared.url}"
    table = Table(("BUILD KEY", "SIZE", "PUT THERE", "MODEL", "SIGNED BY"), rows)
    printing.result(arguments, {"store": shared.url, "engines": engines}, table, "", total)
    return EXIT_OK


def _signer(kept: Kept) -> str:
    if kept.offer.problem is not None:
        return kept.offer.problem
    if kept.offer.signed_by is not None:
        return short(kept.offer.signed_by)
    return "nobody" if not kept.offer.keyids else "nobody who is trusted here"


def _collect(shared: SharedStore, arguments: argparse.Namespace) -> int:
    older = None if arguments.older is None else arguments.older * 86400.0
    gone = shared.collect(unused_s=older, margin_s=arguments.margin * 86400.0, dry_run=arguments.dry_run)
    verb = "would go" if arguments.dry_run else "removed"
    text = f"{len(gone.engines)} engines and {len(gone.objects)} files, {sizes.readable(gone.bytes)} {verb}"
    facts = {"engines": gone.engines, "objects": gone.objects, "bytes": gone.bytes}
    printing.result(arguments, {"store": shared.url, "dry_run": arguments.dry_run, **facts}, text)
    return EXIT_OK
