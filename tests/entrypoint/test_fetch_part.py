"""A file that is coming: what others see of how far it is."""

from __future__ import annotations

from pathlib import Path

from prepare_models_entrypoint.download.part import Part, progress_of

MODEL = bytes(2_000_000)


def test_a_download_that_comes_to_its_end_is_never_one_of_unknown_size(tmp_path: Path) -> None:
    path = tmp_path / "x.part"
    with Part.opened(path, resume_without_validator=True) as part:
        part.mark(None, len(MODEL))
        part.append(MODEL)
        assert progress_of(path) == (len(MODEL), len(MODEL))
        part.forget_mark()
        assert progress_of(path) == (0, 0)
