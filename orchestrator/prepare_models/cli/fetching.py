"""What ``prepare-models fetch`` does once its child has started."""

from __future__ import annotations

import argparse

from prepare_models_entrypoint.contract import sizes
from prepare_models_entrypoint.contract.fetch import FetchJob, FetchResult, Wanted
from prepare_models_entrypoint.contract.source import Source, ngc_advice, split_pin

from ..errors import EXIT_MODEL_FAILED, EXIT_OK, UsageError
from ..running.child import FetchChild
from ..running.connection import ConnectionSpec
from ..running.fetch_process import Fetching, counted
from ..support.page import Part, Table, byte_lines
from ..support.paths import Use, make, make_cache, refuse_other_bytes
from . import printing


def fetched(arguments: argparse.Namespace, started: FetchChild) -> int:
    """Fetch the sources into a directory, print the results and return the exit status. ``started``: what fetches."""
    sources = tuple(_source(text) for text in arguments.sources)
    output = make(arguments.output, Use("output directory", "--output DIR"))
    cache = make_cache()
    network = ConnectionSpec(
        ngc_key_file=arguments.ngc_key_file,
        headers_file=arguments.headers_file,
        stall_s=arguments.stall_timeout,
        attempts=arguments.attempts,
    )
    job = FetchJob(sources=sources, cache_dir=str(cache), output_dir=str(output), connections=arguments.connections)
    shown = not (arguments.quiet or arguments.json)
    on_result = _show if shown else lambda _: None
    with (
        byte_lines(show=shown) as line,
        Fetching(job, network, on_result=on_result, on_event=counted(line("fetched")), started=started) as fetching,
    ):
        results = fetching.results()
    document = {"schema_version": 1, "output": str(output), "files": results}
    printing.result(arguments, document, *_summary(results), quiet=arguments.quiet)
    failed = [result for result in results if result["status"] == "failed"]
    if arguments.quiet or arguments.json:
        for each in failed:
            _show(each)
    return EXIT_MODEL_FAILED if failed or not results else EXIT_OK


def _source(text: str) -> Wanted:
    refuse_other_bytes(text)
    source, sha256 = split_pin(text)
    if "#sha256=" in source:
        raise UsageError(
            f"{Source.of(source).public} has no sha256 at its end", hint="write #sha256= and 64 hexadecimal digits"
        )
    parsed = Source.of(source)
    if parsed.problem is not None and not _is_whole_version(source):
        raise UsageError(f"{parsed.public} is not a source", hint=f"write {parsed.problem}")
    here = parsed.outer.path
    if here is not None and not here.exists() and (advice := ngc_advice(text)) is not None:
        raise UsageError(f"{text} doesn't exist here; it looks like a name on NGC", hint=advice)
    if here is not None:
        source = str(here.absolute()) + (f"!{parsed.inner}" if parsed.archive else "")
    return Wanted(source=source, sha256=sha256)


def _is_whole_version(source: str) -> bool:
    """Return whether a source is ``ngc://org[/team]/model:version``, which only this command accepts and expands."""
    rest = source.removeprefix("ngc://").rstrip("/")
    return source.startswith("ngc://") and rest.count("/") in (1, 2) and ":" in rest.rpartition("/")[2]


def _show(result: FetchResult) -> None:
    error = result["error"]
    if error is not None:
        printing.failure(error, result["source"])


def _summary(results: list[FetchResult]) -> list[Part]:
    rows = [_row(result) for result in results if result["status"] != "failed"]
    parts: list[Part] = [Table(("FILE", "STATUS", "SIZE", "SHA256", "PROMISED BY"), rows, 1)] if rows else []
    pages = sorted({result["licence"] for result in results if result["licence"]})
    parts += [f"licence  {page}" for page in pages]
    bad = sum(result["status"] == "failed" for result in results)
    parts.append(f"{len(rows)} verified, {bad} failed")
    return parts


def _row(result: FetchResult) -> tuple[str, ...]:
    return (
        result["path"] or "",
        result["status"],
        sizes.readable(result["bytes"] or 0),
        (result["sha256"] or "")[:16],
        result["promised"] or "nobody",
    )
