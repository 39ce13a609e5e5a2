"""What the comparison of a page's output with a command's lets pass, and what not."""

from __future__ import annotations

import pytest

from tests.docs.compare import difference


@pytest.mark.parametrize(
    ("shown", "printed"),
    [
        ("built in 2.7 s", "built in 19.2 s"),
        ("model  built  1.2 MB  0.6", "model   built    1.3 MB   1.8"),
        ("id …", "id 3f9a"),
        ("first\n…\nlast", "first\n1\n2\nlast"),
        ("first\n…", "first"),
    ],
)
def test_what_varies_passes(shown: str, printed: str) -> None:
    assert difference(shown.splitlines(), printed.splitlines()) is None


@pytest.mark.parametrize(
    ("shown", "printed"),
    [
        ("1 built", "2 built"),
        ("TensorRT 1.7.1.116", "TensorRT 1.7.1.117"),
        ("input 1x3x544x960", "input 1x3x544x961"),
        ("one", "one\ntwo"),
        ("one\ntwo", "one"),
        ("first\n…\nlast", "first\n1"),
    ],
)
def test_what_is_wrong_is_found(shown: str, printed: str) -> None:
    assert difference(shown.splitlines(), printed.splitlines()) is not None
