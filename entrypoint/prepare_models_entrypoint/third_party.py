"""For third-party code that may raise anything: its exceptions become one type here, which the caller reports."""

from __future__ import annotations

import contextlib
from typing import Iterator

_LONGEST = 300


class ThirdPartyError(Exception):
    """A library failed; the message is the first line of the library's."""


@contextlib.contextmanager
def third_party() -> Iterator[None]:
    """Turn whatever a library raises into a ``ThirdPartyError``, except for ``MemoryError``.

    Only for libraries that document no type: ONNX Runtime, ONNX's converter and reference operators, NVIDIA's codec and
    bindings raise several, which differ between versions.
    """
    try:
        yield
    except MemoryError:
        raise
    except Exception as error:  # there is no narrower type: that is what this function is for
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise ThirdPartyError(lines[0][:_LONGEST]) from error
