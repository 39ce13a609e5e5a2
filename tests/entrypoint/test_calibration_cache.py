"""Calibration caches as TensorRT and TAO write them, and as nobody should."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Dict, List

import pytest

from prepare_models_entrypoint.errors import ConvertError
from prepare_models_entrypoint.onnx_graph.calibration_cache import CalibrationCache, check, coverage, read, write


def cache(tmp_path: Path, text: "str | bytes") -> CalibrationCache:
    path = tmp_path / "cal.bin"
    path.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8"))
    return read(path, "cal.bin")


def scales(tmp_path: Path, body: str) -> Dict[str, float]:
    return dict(cache(tmp_path, f"TRT-8601-EntropyCalibration2\n{body}").scales)


def bits(word: str) -> float:
    value: float = struct.unpack(">f", int(word, 16).to_bytes(4, "big"))[0]
    return value


def test_a_name_may_hold_colons_and_spaces(tmp_path: Path) -> None:
    found = scales(tmp_path, "input_1:0: 3c010a14\n(Unnamed Layer* 8) [Constant]_output: 3b000000\n")
    assert found == {"input_1:0": bits("3c010a14"), "(Unnamed Layer* 8) [Constant]_output": bits("3b000000")}
    assert found["input_1:0"] * 127 == pytest.approx(1.0001, abs=1e-3)


def test_leading_zeros_may_be_missing(tmp_path: Path) -> None:
    assert scales(tmp_path, "a: 3c010a14\nb: abc1234\n") == {"a": bits("3c010a14"), "b": bits("0abc1234")}


def test_blank_lines_and_carriage_returns_do_no_harm(tmp_path: Path) -> None:
    assert scales(tmp_path, "\r\na: 3c010a14\r\n\r\n\n") == {"a": bits("3c010a14")}


@pytest.mark.parametrize(
    ("number", "versions"),
    [("8601", ["8.6.1"]), ("100300", ["10.3.0"]), ("10300", ["10.3.0"]), ("101303", ["10.13.3"]), ("7103", ["7.1.3"])],
)
def test_both_readings_of_the_header_are_understood(tmp_path: Path, number: str, versions: List[str]) -> None:
    assert cache(tmp_path, f"TRT-{number}-MinMaxCalibration\na: 3c010a14\n").written_for() == versions


@pytest.mark.parametrize(
    ("version", "line"),
    [("8.6.1", b"TRT-8601-"), ("10.3.0", b"TRT-100300-"), ("10.13.3.9", b"TRT-101303-"), ("8.5.2.2", b"TRT-8502-")],
)
def test_only_the_first_line_is_written_anew(tmp_path: Path, version: str, line: bytes) -> None:
    found = cache(tmp_path, "TRT-8600-EntropyCalibration2\ninput_1:0: 3c010a14\nb: abc1234\n")
    assert found.for_version(version) == line + b"EntropyCalibration2\ninput_1:0: 3c010a14\nb: abc1234\n"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "it is empty"),
        (" \n \n", "it is empty"),
        ("TRT-8601-EntropyCalibration2\n", "no scale above zero"),
        ("TRT-8601-EntropyCalibration2\na: 0\n", "no scale above zero"),
        ("input: 3c010a14\n", "line 1"),
        ("TRT-8601-LegacyCalibration\na: 3c010a14\n", "LegacyCalibration"),
        ("TRT-8601-EntropyCalibration2\nno separator\n", "line 2"),
        ("TRT-8601-EntropyCalibration2\na: 3c010a14\nb: xyz\n", "line 3"),
        ("TRT-8601-EntropyCalibration2\na: 3c010a141\n", "line 2"),
        ("TRT-8601-EntropyCalibration2\na: 7f800000\n", "no scale above zero"),
        ("TRT-8601-EntropyCalibration2\na: bc010a14\n", "no scale above zero"),
        ("TRT-8601-EntropyCalibration2\na: 3c010a14\na: 3d010a14\n", "a second, different scale of a"),
        (b"TRT-8601-EntropyCalibration2\n\xff\xfe: 3c010a14\n", "not text"),
    ],
)
def test_what_is_no_cache_is_told_with_its_line(tmp_path: Path, text: "str | bytes", why: str) -> None:
    with pytest.raises(ConvertError) as caught:
        cache(tmp_path, text)
    assert caught.value.code == "calibration-cache-invalid"
    assert why in caught.value.message


def test_what_is_written_reads_back(tmp_path: Path) -> None:
    values = {"input_2:0": bits("3c010a14"), "x": bits("00000001")}
    assert cache(tmp_path, write(values)).scales == values


def test_coverage_names_what_is_missing_and_what_is_stale(tmp_path: Path) -> None:
    found = cache(tmp_path, "TRT-8601-EntropyCalibration2\na: 3c010a14\nold: 3c010a14\nzero: 0\n")
    told = coverage(found, ["a", "b", "zero"], ["a", "b", "c", "zero"])
    assert (told["wanted"], told["covered"]) == (3, 1)
    assert (told["missing"], told["stale"]) == (["b", "zero"], ["old"])


@pytest.mark.parametrize(
    ("wanted", "allowed", "refused"),
    [
        (["a"], False, False),
        (["a", "b"], False, False),
        (["a", "b", "c"], False, True),
        (["a", "b", "c"], True, False),
        (["b"], True, True),
    ],
)
def test_a_cache_of_another_model_is_refused(tmp_path: Path, wanted: List[str], allowed: bool, refused: bool) -> None:
    told = coverage(
        cache(tmp_path, "TRT-8601-EntropyCalibration2\na: 3c010a14\nx: 3c010a14\ny: 3c010a14\n"), wanted, wanted
    )
    if not refused:
        assert bool(check(told, allow_fallback=allowed)) == (told["missing_count"] > 0)
        return
    with pytest.raises(ConvertError) as caught:
        check(told, allow_fallback=allowed)
    assert caught.value.code == "calibration-cache-foreign"
    assert "b" in caught.value.message


@pytest.mark.parametrize(
    ("word", "why"),
    [("7f800000", "infinite"), ("7fc00000", "not a number"), ("bc010a14", "negative"), ("0", "zero")],
)
def test_a_scale_that_is_no_positive_number_is_named_where_it_is_wanted(tmp_path: Path, word: str, why: str) -> None:
    found = cache(tmp_path, f"TRT-8601-EntropyCalibration2\na: 3c010a14\nb: {word}\n")
    unwanted = coverage(found, ["a"], ["a", "b"])
    assert check(unwanted, allow_fallback=False) == []
    (told,) = check(coverage(found, ["a", "b"], ["a", "b"]), allow_fallback=False)
    assert f"b ({why})" in told["message"]


def test_a_cache_with_few_scales_of_this_network_is_taken(tmp_path: Path) -> None:
    found = cache(tmp_path, "TRT-8601-MinMaxCalibration\na: 3c010a14\n")
    (told,) = check(coverage(found, ["a", "b", "c"], ["a", "b", "c"]), allow_fallback=False)
    assert "1 of 3" in told["message"]


def test_names_that_differ_by_colon_zero_only_are_hinted_at(tmp_path: Path) -> None:
    found = cache(tmp_path, "TRT-8601-EntropyCalibration2\na:0: 3c010a14\nb:0: 3c010a14\n")
    with pytest.raises(ConvertError) as caught:
        check(coverage(found, ["a", "b"], ["a", "b"]), allow_fallback=False)
    assert "'a:0' in the cache, 'a' in the model" in str(caught.value.hint)


def test_a_network_without_layers_for_int8_is_told_so(tmp_path: Path) -> None:
    found = cache(tmp_path, "TRT-8601-EntropyCalibration2\na: 3c010a14\n")
    with pytest.raises(ConvertError) as caught:
        check(coverage(found, [], ["a"]), allow_fallback=False)
    assert caught.value.code == "precision-not-delivered"
