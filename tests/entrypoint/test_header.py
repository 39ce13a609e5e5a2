"""What the first bytes of a plan tell, without TensorRT and without a GPU."""

from __future__ import annotations

import json
import struct
import subprocess
from pathlib import Path
from typing import Tuple

import pytest

from prepare_models_entrypoint.errors import InspectError
from prepare_models_entrypoint.inspect.header import read_header


def tensorrt(version: Tuple[int, ...] = (10, 3, 0, 30), size: int = 64) -> bytes:
    return struct.pack("<4sIIIQ4s", b"ftrt", 0, 239, 0, size, bytes(version)).ljust(64, b"\0")


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


def test_a_plan_of_tensorrt_8_5_tells_its_version_and_size(plan: Path) -> None:
    head = (Path(__file__).parents[1] / "data" / "plan-8.5.2.2-head.bin").read_bytes()  # of 104,878 bytes
    plan.write_bytes(head.ljust(104878, b"\0"))
    assert read_header(plan) == {"format": "tensorrt", "version": "8.5.2.2"}
    plan.write_bytes(head.ljust(104877, b"\0"))
    assert "has 104877 of the 104878 bytes" in refusal(plan)


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


def test_a_truncated_tensorrt_plan_is_found_by_the_size_that_it_declares(plan: Path) -> None:
    plan.write_bytes(tensorrt(size=1000) + bytes(100))
    assert "164 of the 1000 bytes" in refusal(plan)


@pytest.mark.parametrize("content", [b"ftrt", tensorrt()[:63], tensorrt_rtx(64)[:63]])
def test_a_plan_that_ends_within_its_header_is_told_so(plan: Path, content: bytes) -> None:
    plan.write_bytes(content)
    assert f"after {len(content)} bytes" in refusal(plan)


def test_metadata_before_a_plan_are_named_and_the_hint_cuts_them_off(plan: Path) -> None:
    metadata = json.dumps({"description": "Ultralytics YOLO11n", "imgsz": [640, 640]}).encode()
    plan.write_bytes(struct.pack("<i", len(metadata)) + metadata + tensorrt())
    with pytest.raises(InspectError) as caught:
        read_header(plan)
    assert "Ultralytics YOLO11n" in caught.value.message
    command = caught.value.hint.partition(": ")[2]
    subprocess.run(["sh", "-c", command.replace("> model.plan", "> cut.plan")], check=True, cwd=str(plan.parent))
    assert read_header(plan.parent / "cut.plan")["version"] == "10.3.0.30"
    plan.write_bytes(plan.read_bytes()[:-1])
    assert "it is truncated" in refusal(plan)


@pytest.mark.parametrize(
    "head", [struct.pack("<I", 9) + b"{}       ", struct.pack("<I", 1 << 31) + b"{}", b"\2\0\0\0[]ftrt"]
)
def test_other_numbers_before_a_plan_are_no_metadata(plan: Path, head: bytes) -> None:
    plan.write_bytes(head.ljust(80, b"\0"))
    assert "is not a TensorRT plan" in refusal(plan)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 12345\n", "a Git LFS pointer"),
        (b"PK\3\4".ljust(64, b"\0"), "a zip archive"),
        (b"\x08\x08:\x02\n\x00", "an ONNX model"),
    ],
)
def test_what_is_another_format_is_named(plan: Path, content: bytes, told: str) -> None:
    plan.write_bytes(content)
    with pytest.raises(InspectError) as caught:
        read_header(plan)
    assert caught.value.code == "source-not-a-model"
    assert told in caught.value.message


@pytest.mark.parametrize("content", [b"", b"\x08\x07\x12\x07pytorch".ljust(64, b"\0"), bytes(64)])
def test_another_file_is_refused_with_what_it_starts_with(plan: Path, content: bytes) -> None:
    plan.write_bytes(content)
    message = refusal(plan)
    assert f"{len(content)} bytes" in message
    assert (content[:4].hex() or "nothing") in message
