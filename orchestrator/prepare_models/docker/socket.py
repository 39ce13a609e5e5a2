"""One request to a local container engine without the Docker SDK, which takes longer to load than a run.

Only the container engine knows which image a name means: a tag may have been moved.
"""

from __future__ import annotations

import json
import socket
from urllib.parse import quote

from .daemon import Image

_TIMEOUT_S = 5.0
_LARGEST = 16 << 20


def image(address: str, name: str) -> Image | None:
    """Return an image by its name, or None if the container engine doesn't have it.

    Raises:
        OSError: nobody answers.
        ValueError: the answer is not that of a container engine.
    """
    # HTTP/1.0: the answer is not chunked, and ends with the connection.
    question = f"GET /images/{quote(name, safe='/:@')}/json HTTP/1.0\r\nHost: docker\r\n\r\n"
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(_TIMEOUT_S)
        connection.connect(address)
        connection.sendall(question.encode("ascii"))
        answer = b"".join(_pieces(connection))
    head, _, body = answer.partition(b"\r\n\r\n")
    status = head.split(b" ", 2)[1:2]
    if status == [b"404"]:
        return None
    if status != [b"200"]:
        raise ValueError(f"the engine answers {head[:80]!r}")
    try:
        return Image.of(json.loads(body))
    except (LookupError, TypeError, AttributeError) as error:
        raise ValueError(f"the engine describes no image: {error!r}") from None


def _pieces(connection: socket.socket) -> list[bytes]:
    pieces: list[bytes] = []
    while sum(map(len, pieces)) < _LARGEST and (piece := connection.recv(1 << 16)):
        pieces.append(piece)
    return pieces
