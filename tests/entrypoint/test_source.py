"""Sources as they stand in reports: nothing secret, and still recognisable."""

from __future__ import annotations

import pytest

from prepare_models_entrypoint.contract.source import Source

SIGNED = "https://user:canary@cdn.example/net.onnx?Signature=canary&Expires=1&path=net.onnx"


def test_user_password_and_query_values_are_left_out() -> None:
    assert Source.of(SIGNED).public == "https://cdn.example/net.onnx?Signature=...&Expires=...&path=net.onnx"


@pytest.mark.parametrize("source", ["/srv/net.onnx", "file:///srv/net.onnx", "ngc://nvidia/tao/net:1/net.onnx"])
def test_sources_without_secrets_stay(source: str) -> None:
    assert Source.of(source).public == source


def test_sources_that_differ_only_in_a_secret_are_told_apart() -> None:
    other = SIGNED.replace("canary", "another")
    assert Source.of(other).public == Source.of(SIGNED).public
    assert Source.of(other).id != Source.of(SIGNED).id
