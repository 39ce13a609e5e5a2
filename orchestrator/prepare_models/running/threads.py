"""Several things done at once, of which the first failure ends the others."""

from __future__ import annotations

import contextvars
import queue
import threading
from collections.abc import Callable, Iterable
from typing import TypeVar

T = TypeVar("T")


def for_each(
    items: Iterable[T], task: Callable[[T], None], at_once: int, *, halt: Callable[[BaseException], None]
) -> None:
    """Call a function with each item, in threads with this one's context, and wait for all of them.

    The first failure, or what a signal raises here, goes to ``halt``, which must make the other calls end; it is raised
    once they have. ``concurrent.futures`` would import ``logging``, which takes as long as ten models.
    """
    left, ended = iter(list(items)), queue.SimpleQueue[BaseException | None]()

    def work() -> None:
        try:
            for item in left:  # shared: each item goes to one thread
                task(item)
            ended.put(None)
        except BaseException as error:  # noqa: BLE001  # raised in the thread that waits
            ended.put(error)

    threads = [
        threading.Thread(target=contextvars.copy_context().run, args=(work,), name=f"model-{number}")
        for number in range(at_once)
    ]
    try:
        for thread in threads:
            thread.start()
        _raise_first(ended.get() for _ in threads)
    except BaseException as error:
        halt(error)
        raise
    finally:
        for thread in threads:
            if thread.is_alive():  # not all were started where a signal, or the limit of processes, came first
                thread.join()


def _raise_first(failures: Iterable[BaseException | None]) -> None:
    for failure in failures:
        if failure is not None:
            raise failure
