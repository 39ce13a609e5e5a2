"""Secrets in texts are masked, and nothing else is."""

from __future__ import annotations

from prepare_models_entrypoint import masking


def test_a_masked_text_keeps_what_is_no_secret() -> None:
    masking.register("hunter2-is-secret")
    text = "GET https://u:p@h/x?token=hunter2-is-secret: Authorization: Bearer abcdefgh; see https://h/page"
    assert masking.mask(text) == "GET https://***@h/x?*** Authorization: Bearer ***; see https://h/page"
