from __future__ import annotations

import dataclasses
import os

import pytest

from prepare_models.engine import container_user, is_local
from prepare_models.gpu import Engine


@pytest.mark.parametrize(
    ("address", "local"),
    [
        ("http+docker://localhost", True),  # what the SDK calls a Unix socket
        ("http+docker://ssh", False),
        ("https://127.0.0.1:2376", True),
        ("http://localhost:2375", True),
        ("https://[::1]:2376", True),
        ("https://10.0.0.7:2376", False),
        ("https://builder.example:2376", False),
    ],
)
def test_only_an_engine_on_this_machine_sees_its_files(address: str, local: bool) -> None:
    assert is_local(address) is local


def test_root_of_a_rootless_engine_is_the_caller() -> None:
    engine = Engine("26.1.5", (1, 45))
    assert container_user(engine) == f"{os.getuid()}:{os.getgid()}"
    assert container_user(dataclasses.replace(engine, rootless=True)) == "0:0"
