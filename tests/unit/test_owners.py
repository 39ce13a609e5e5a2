"""Which containers may go: those of dead processes of this machine, and nobody else's."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from prepare_models.docker.daemon import owner_labels, owner_lives

HOST, MACHINE, OWNER = (f"io.prepare-models.{name}" for name in ("host", "machine", "owner"))


def test_a_container_of_this_process_has_an_owner() -> None:
    labels = owner_labels({"a": "b"})
    assert labels["a"] == "b"
    assert owner_lives(labels)


def test_a_process_that_ended_owns_nothing() -> None:
    code = "from prepare_models.docker.daemon import owner_labels; print(owner_labels({})['io.prepare-models.owner'])"
    owner = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    assert not owner_lives({**owner_labels({}), OWNER: owner})


@pytest.mark.parametrize(
    ("changed", "lives"),
    [
        ({HOST: "another-boot/pid:[1]"}, False),
        ({HOST: "another-boot/pid:[1]", MACHINE: "another"}, True),
        ({HOST: "BOOT/pid:[1]"}, True),
    ],
)
def test_of_other_processes_only_those_before_the_boot_are_known_dead(changed: dict[str, str], lives: bool) -> None:
    labels = owner_labels({})
    boot = labels[HOST].partition("/")[0]
    assert labels[HOST] == f"{boot}/{os.readlink('/proc/self/ns/pid')}"
    labels.update({name: value.replace("BOOT", boot) for name, value in changed.items()})
    assert owner_lives(labels) is lives
