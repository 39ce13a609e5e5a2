"""What the tests with changed documents have in common: how often, how a document is changed, and what must hold.

``PREPARE_MODELS_FUZZ=20000`` sets how many of each are tried, none of which may take two seconds or 500 MB then.
"""

from __future__ import annotations

import functools
import json
import os
import resource
import time
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from prepare_models.__main__ import main
from prepare_models.errors import EXIT_BUG

_MOST_KB, _MOST_S = 500_000, 2.0
COUNT = int(os.environ.get("PREPARE_MODELS_FUZZ", "0"))
LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20),
    st.sampled_from(["", "..", "/etc/passwd", "a\0b", "\ud800", "0" * 64, 10**400, -1, 1 << 63, [], {}]),
    st.just("9999-12-31T23:59:59Z"),
)  # fmt: skip
TOKENS = (  # that mean something in YAML
    b"&a ", b"*a", b"<<: *a", b"- ", b": ", b"{", b"}", b"[", b"]", b"!!python/object/apply:os.system", b"!env X",
    b"|\n",
    b"---\n", b"${A}", b"${A:-${B:-x}}", b"'", b'"', b"\t", b"#", b"? ", b"~", b".inf", b"0x", b"1e999", b"2026-01-01",
    b"\xed\xa0\x80", b"\x85", "\u2028".encode(),
    b"sha256: 0", b"inputs: {x: 1x3}", b"precision: int8", b"source: /dev/zero",
    b"builder: {workspace: 9999999999999999999GiB}", b"name: ../x", b"calibration: {images: /proc}",
    b"keep_fp32: [a]",
)  # fmt: skip
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3)
)


def fuzzed(test: Callable[..., None]) -> Callable[..., None]:
    """Try a test with ``data`` as often as the environment says. A short run, on a busy machine, has no limits."""
    checks = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large]
    often = settings(max_examples=COUNT or 60, deadline=None, suppress_health_check=checks)
    return often(given(data=st.data())(within_limits(test) if COUNT else test))


def within_limits(test: Callable[..., None]) -> Callable[..., None]:
    """Let an example fail that takes 500 MB more than this process ever had."""

    @functools.wraps(test)
    def watched(*arguments: Any, **named: Any) -> None:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        test(*arguments, **named)
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        assert grown < _MOST_KB, f"{grown} kB"

    return watched


def places(value: Any, here: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the way to each value of a document."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [here, *(place for key, each in inner for place in places(each, (*here, key)))]


@st.composite
def changed(draw: st.DrawFn, document: Any) -> bytes:
    """Return a document of which one or two values are others, gone or twice, or whose text is cut."""
    document = json.loads(json.dumps(document))
    for _ in range(draw(st.integers(1, 2))):
        where = places(document)
        place = where[draw(st.integers(0, len(where) - 1))]
        if not place:
            continue
        holder = document
        for key in place[:-1]:
            holder = holder[key]
        action = draw(st.sampled_from(["replace", "replace", "remove", "more"]))
        if action == "remove":
            del holder[place[-1]]
        elif action == "more" and isinstance(holder, dict):
            holder[draw(st.text(max_size=9))] = draw(VALUES)
        else:
            holder[place[-1]] = draw(VALUES)
    data = json.dumps(document).encode()
    if draw(st.integers(0, 19)) == 0:
        data = b"[" * 200_000
    return data[: draw(st.integers(0, len(data)))] if draw(st.integers(0, 9)) == 0 else data


@st.composite
def mangled(draw: st.DrawFn, seeds: Sequence[bytes], pieces: Sequence[bytes] = ()) -> bytes:
    """Return a file of which bytes are others, gone, twice, or cut; or that has pieces where they don't belong."""
    data = bytearray(draw(st.sampled_from(seeds)))
    pieces = [*pieces, b"", b"\0", b"\xff" * 4, b"\n", b"-1", b"9" * 400]
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(data)))
        end = draw(st.integers(start, min(len(data), start + 40)))
        data[start:end] = draw(st.one_of(st.binary(max_size=12), st.sampled_from(pieces), st.just(data[start:end] * 3)))
    return bytes(data[: draw(st.integers(0, len(data)))] if draw(st.integers(0, 9)) == 0 else data)


def never_a_bug(capsys: pytest.CaptureFixture[str], *command: str) -> None:
    """Run a command in this process; a long run gives each two seconds of the processor."""
    started = time.thread_time()
    status = main(command)
    took, said = time.thread_time() - started, capsys.readouterr().err
    assert status != EXIT_BUG, said
    assert not COUNT or took < _MOST_S, f"{command} takes {took:.1f} s"
