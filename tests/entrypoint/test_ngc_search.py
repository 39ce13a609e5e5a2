"""Searches of NGC's catalogue."""

from __future__ import annotations

import pytest

from prepare_models_entrypoint.sources.ngc.catalogue import answer
from tests.simulators.ngc import document
from tests.simulators.web import Server


@pytest.mark.parametrize("attributes", ["words", [None], {"key": "latestVersionIdStr"}])
def test_a_search_that_is_not_understood_is_an_error(attributes: object) -> None:
    odd = document({"results": [{"resources": [{"name": "net", "attributes": attributes}]}]})
    with Server(lambda _: odd) as server:
        told = answer({"ask": "search", "about": "net", "network": {"ngc_api": server.url}})
    assert told["rows"] is None
    assert isinstance(told["error"], dict)
    assert told["error"]["code"] == "source-unreachable"
