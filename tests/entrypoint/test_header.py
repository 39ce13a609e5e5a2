"""What the first bytes of a plan tell, without TensorRT and without a GPU."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Tuple

import pytest

from prepare_models_entrypoint.errors import InspectError
from prepare_models_entrypoint.inspect.header import read_header


def tensorrt(version: Tuple[int, ...] = (10, 3, 0, 30)) -> bytes:
    return struct.pack("<4sIIIQ4s", b"ftrt", 0, 239, 0, 64, bytes(version)).ljust(64, b"\0")


def tensorrt_rtx(size: int, mask: int = 0x7E) -> bytes:
    head = struct.pack("<4sIIIQ4s4sI", b"vtrt", 0, 2, 0, size, bytes((1, 7, 1, 116)), b"vtrt", mask)
    return head.ljust(64, b"\0")


@pytest.fixture
def plan(tmp_path: Path) -> Path:
    return tmp_path / "model.plan"


def refusal(plan: Path) -> str:
    with pytest.raises(InspectError) as caught:
        read_header(plan)
    assert caught.value.code == "engine-invalid"
    return caught.value.message


def test_a_tensorrt_plan_tells_its_version(plan: Path) -> None:
    plan.write_bytes(tensorrt() + b"weights")
    assert read_header(plan) == {"format": "tensorrt", "version": "10.3.0.30"}


@pytest.mark.parametrize(
    ("mask", "capabilities"),
    [
        (0x7E, ["8.0", "8.6", "8.9", "12.0", "12.1"]),
        (0x01, ["7.5"]),
        (0x00, []),
    ],
)
def test_an_rtx_plan_tells_its_version_and_capabilities(plan: Path, mask: int, capabilities: "list[str]") -> None:
    plan.write_bytes(tensorrt_rtx(164, mask) + bytes(100))
    assert read_header(plan) == {
        "format": "tensorrt_rtx",
        "version": "1.7.1.116",
        "compute_capabilities": capabilities,
        "and_later": bool(mask & 0x40),
        "weights_bytes": 0,
    }


def test_a_truncated_rtx_plan_is_found_by_the_size_that_it_declares(plan: Path) -> None:
    plan.write_bytes(tensorrt_rtx(1000) + bytes(100))
    assert "164 of the 1000 bytes" in refusal(plan)


@pytest.mark.parametrize(
    "content",
    [b"", b"ftrt", tensorrt()[:63], tensorrt_rtx(64)[:63], b"\x08\x07\x12\x07pytorch".ljust(64, b"\0"), bytes(64)],
)
def test_another_file_is_refused_with_what_it_starts_with(plan: Path, content: bytes) -> None:
    plan.write_bytes(content)
    message = refusal(plan)
    assert f"{len(content)} bytes" in message
    assert (content[:4].hex() or "nothing") in message
