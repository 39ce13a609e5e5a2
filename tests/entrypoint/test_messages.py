"""The builder's own words, each with what they mean for the user."""

from __future__ import annotations

import re

import pytest

from prepare_models_entrypoint.convert.messages import TABLE, from_builder_log
from prepare_models_entrypoint.errors import CODES

REAL = [
    ("[virtualMemoryBuffer.cpp::resizePhysical::127] Error Code 2: OutOfMemory (no further information)", 0),
    ("Tactic Device request: 504MB Available: 220MB. Device memory is insufficient to use tactic.", 0),
    ("Requested amount of GPU memory could not be allocated: std::bad_alloc", 0),
    ("Error Code 4: there are no tactics for node conv1 within workspace limit", 1),
    ("Could not find any implementation for node Conv_0 due to insufficient workspace.", 1),
    ("FP32 GEMM is not supported", 2),
    ("Error Code 10: Internal Error (Could not find any implementation for node {ForeignNode[a...b]}.)", 3),
    ("Error Code 4: API Usage Error (Network input images has missing dimensions in profile 0.)", 4),
]


@pytest.mark.parametrize(("message", "row"), REAL)
def test_a_known_message_gets_its_code_and_hint(message: str, row: int) -> None:
    error = from_builder_log(["[I] nothing of note", message])
    assert (error.code, error.hint) == TABLE[row][1:]
    assert message in error.message


def test_every_row_of_the_table_has_a_real_message() -> None:
    assert {row for _, row in REAL} == set(range(len(TABLE)))


def test_the_table_speaks_in_known_codes() -> None:
    for pattern, code, hint in TABLE:
        assert re.compile(pattern).pattern == pattern
        assert code in CODES
        assert hint


def test_a_cause_counts_more_than_its_consequences() -> None:
    error = from_builder_log(["Error: the profile is void", "Error Code 2: OutOfMemory"])
    assert error.code == "out-of-memory"


def test_an_unknown_message_is_passed_on_in_one_line() -> None:
    error = from_builder_log(["first", "second", "third\n   and more", "fourth"])
    assert error.code == "build-failed"
    assert error.message == "the builder gave up: second; third and more; fourth"


def test_a_silent_builder_is_an_error_too() -> None:
    error = from_builder_log([])
    assert error.code == "build-failed"
    assert "no reason" in error.message
