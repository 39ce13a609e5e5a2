"""Where other people's code may raise what it likes. Their exceptions become one type here, which the caller names."""

from __future__ import annotations

import contextlib
from typing import Iterator

_LONGEST = 300


class ForeignError(Exception):
    """A library refused; the message is the first line of its own."""


@contextlib.contextmanager
def foreign() -> Iterator[None]:
    """Turn whatever a library raises into a ``ForeignError``; a lack of memory stays what it is.

    For libraries alone that promise no type: ONNX Runtime, ONNX's converter and reference operators, NVIDIA's codec and
    bindings raise several, which differ between versions.
    """
    try:
        yield
    except MemoryError:
        raise
    except Exception as error:  # that there is no narrower type is what this function is for
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise ForeignError(lines[0][:_LONGEST]) from error
