"""The kind of a job, read from its stages."""

from __future__ import annotations

from typing import Sequence

import pytest

from prepare_models_entrypoint.contract.codec import ContractError
from prepare_models_entrypoint.contract.job import JobKind


@pytest.mark.parametrize("kind", list(JobKind))
def test_stages_tell_the_kind_with_and_without_the_fetch(kind: JobKind) -> None:
    assert JobKind.of(kind.stages()) is kind
    assert kind.stages() == ("fetch", *kind.stages(fetch=False))


def test_a_build_may_leave_the_comparison_out() -> None:
    assert JobKind.of(("convert", "inspect")) is JobKind.RUN


@pytest.mark.parametrize("stages", [(), ("convert",), ("check", "convert"), ("inspect", "convert"), ("boil",)])
def test_other_stages_are_of_no_job(stages: Sequence[str]) -> None:
    with pytest.raises(ContractError, match="fetch, convert, inspect, verify"):
        JobKind.of(stages)
