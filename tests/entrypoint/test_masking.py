"""Secrets in texts are masked, and nothing else is."""

from __future__ import annotations

import json
from pathlib import Path

from prepare_models_entrypoint import masking
from prepare_models_entrypoint.errors import FetchError
from prepare_models_entrypoint.sources.access import read_secrets


def test_a_masked_text_keeps_what_is_no_secret() -> None:
    masking.register("hunter2-is-secret")
    text = "GET https://u:p@h/x?token=hunter2-is-secret: Authorization: Bearer abcdefgh; see https://h/page"
    assert masking.mask(text) == "GET https://***@h/x?*** Authorization: Bearer ***; see https://h/page"
    assert masking.mask("at https://h/x?bare, and at /x?sig=abc") == "at https://h/x?*** and at /x?***"


def test_an_error_of_a_download_is_masked_whoever_words_it() -> None:
    error = FetchError("source-refused", "https://u:p@h/x refuses", hint="get https://h/x?sig=abc again")
    assert (error.message, error.hint) == ("https://***@h/x refuses", "get https://h/x?*** again")


def test_the_token_of_a_header_is_masked_without_its_scheme(tmp_path: Path) -> None:
    (tmp_path / "secrets").write_text(json.dumps({"headers": [["Authorization", "Token canary-1234"]]}))
    read_secrets(str(tmp_path / "secrets"))
    assert masking.mask("403 canary-1234 may not read this") == "403 *** may not read this"
