"""The rules of DeepStream: its file as a run leaves it, and what people make of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.entrypoint.model_folders import tensor

from .left_models import BATCH, Left, edit


@pytest.fixture
def left(tmp_path: Path) -> Left:
    return Left(tmp_path / "models")


# Changes of deepstream.txt.
DEEPSTREAM_BROKEN = {
    "seg/1/model.plan": ("other/1/model.plan", "deepstream-engine-file"),
    "model-engine-file=": ("#model-engine-file=", "deepstream-engine-file"),
    "batch-size=8": ("batch-size=64", "deepstream-batch"),
    "batch-size=8\n": ("batch-size=eight\n", "deepstream-key"),
    "batch-size=": ("batchsize=", "deepstream-key"),
    "gpu-id=0": ("gpu-id=0\nmaintain-aspect-ratio=yes", "deepstream-key"),
    "network-type=100": ("network-type=7", "deepstream-key"),
    "output-blob-names=y;z": ("output-blob-names=y;boxes", "deepstream-outputs"),
    "network-input-order=0": ("network-input-order=1", "deepstream-dims"),
    "model-color-format=0": ("model-color-format=2", "deepstream-dims"),
    "gpu-id=0\n": ("gpu-id=0\ninfer-dims=8;8;3\n", "deepstream-dims"),
    "gpu-id=0\ng": ("gpu-id=0\ninfer-dims=3;8\ng", "deepstream-key"),
    "[property]\n": ("[property]\nlabelfile-path=labels.txt\n", "deepstream-missing-file"),
    "[property]": ("[propperty]", "deepstream-file"),
    "gie-unique-id=1": ("gie-unique-id", "deepstream-file"),
    "output-tensor-meta=1": ("output-tensor-meta=1\n[class-attr-all]\ntopk=20\n[property]", "deepstream-key"),
    "output-tensor-meta=1\n": ("output-tensor-meta=1\n[class-attrs-all]\ntop-k=20\n[property]\n", "deepstream-key"),
}
DEEPSTREAM_HARMLESS = {
    "batch-size=8": "batch-size=4",
    "gpu-id=0": "gpu-id=0 \ninfer-dims=3;8;8\nnet-scale-factor=0.0039\noffsets=1;2;3;\nmax-gpu-mem-per=90",
    "model-engine-file=": "# a comment\nmodel-engine-file=",
    "output-blob-names=y;z": "output-blob-names=z;",
    "output-tensor-meta=1": "output-tensor-meta=1\n[class-attrs-all]\ntopk=20\nnms-iou-threshold=0.5\n[property]",
}


@pytest.mark.parametrize("old", DEEPSTREAM_BROKEN)
def test_what_nvinfer_would_not_take_is_found(left: Left, old: str) -> None:
    new, code = DEEPSTREAM_BROKEN[old]
    edit(left.run(BATCH) / "deepstream.txt", old, new)
    assert code in left.codes()


@pytest.mark.parametrize("old", DEEPSTREAM_HARMLESS)
def test_what_people_add_to_deepstream_txt_is_good(left: Left, old: str) -> None:
    edit(left.run(BATCH) / "deepstream.txt", old, DEEPSTREAM_HARMLESS[old])
    assert left.lint() == []


def test_a_relative_engine_file_is_relative_to_the_configuration(left: Left) -> None:
    folder = left.run(BATCH)
    edit(folder / "deepstream.txt", f"{folder}/", "")
    assert left.lint() == []


def test_labels_beside_the_configuration_are_good(left: Left) -> None:
    folder = left.run(BATCH)
    edit(folder / "deepstream.txt", "[property]", "[property]\nlabelfile-path=labels.txt")
    (folder / "labels.txt").write_text("person\n", encoding="utf-8")
    assert left.lint() == []


def test_a_misspelt_key_leads_to_the_right_one(left: Left) -> None:
    edit(left.run(BATCH) / "deepstream.txt", "network-input-order", "netwrok-input-order")
    assert any("did you mean network-input-order?" in each["message"] for each in left.lint())


def test_what_nvinfer_can_not_feed_is_found_where_it_is_asked_for(left: Left) -> None:
    left.run([tensor("x", "input", (1, 3)), tensor("y", "output", (1, 5), "int64")])
    assert left.lint("triton") == []
    assert left.codes("deepstream") == ["deepstream-input", "deepstream-output-type"]
