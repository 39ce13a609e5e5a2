"""A file that kills its reader ends as an error with a code, or as what was told before."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any, Callable, Dict

import pytest

from prepare_models_entrypoint.errors import InspectError
from prepare_models_entrypoint.inspect.isolated import Tell, read_apart


def killed(number: int) -> None:
    os.kill(os.getpid(), number)


def raises(error: BaseException) -> None:
    raise error


ENDS: Dict[str, Callable[[], Any]] = {
    "died of SIGSYS": lambda: killed(signal.SIGSYS),  # as SIGSEGV, which pytest would describe at length
    "died of SIGKILL": lambda: killed(signal.SIGKILL),
    "ended with status 3": lambda: os._exit(3),
    "ended with status 1": lambda: raises(MemoryError()),
    "RecursionError": lambda: raises(RecursionError("too deep")),
    "took longer than 0.2 s": lambda: time.sleep(600),
}


@pytest.mark.parametrize("how", ENDS)
def test_a_reader_that_dies_at_once_is_an_error(how: str) -> None:
    with pytest.raises(InspectError, match=f"the process that reads a.onnx .*{how}") as caught:
        read_apart(lambda tell: ENDS[how](), Path("a.onnx"), timeout_s=0.2 if "longer" in how else 60)
    assert caught.value.code == "inspect-failed"


@pytest.mark.parametrize("how", ENDS)
def test_what_was_told_before_it_died_is_kept(how: str) -> None:
    def read(tell: Tell) -> None:
        tell({"nodes": 1})
        tell({"nodes": 2})
        ENDS[how]()

    document = read_apart(read, Path("a.onnx"), timeout_s=2 if "longer" in how else 60)
    assert document["nodes"] == 2
    assert document["died"]


def test_the_last_word_counts() -> None:
    def read(tell: Tell) -> None:
        for number in range(3):
            tell({"nodes": number})

    assert read_apart(read, Path("a.onnx")) == {"nodes": 2}


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (InspectError("network-empty", "nothing in it", hint="check"), "network-empty"),
        (PermissionError(13, "Permission denied", "a.onnx"), "source-unreadable"),
    ],
)
def test_a_refusal_comes_back_as_data(error: BaseException, code: str) -> None:
    assert read_apart(lambda tell: raises(error), Path("a.onnx"))["error"]["code"] == code
