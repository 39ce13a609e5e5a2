"""Which models of a manifest a command works on."""

from __future__ import annotations

from pathlib import Path

import pytest

from prepare_models.errors import UsageError
from prepare_models.manifest.model import Manifest, ModelSpec
from prepare_models.planning import planner as plan


def specs(*names: str) -> Manifest:
    return Manifest(Path("models.yaml"), tuple(ModelSpec(name=name, source="/a", line=1) for name in names))


def test_models_are_selected_in_the_manifests_order() -> None:
    manifest = specs("a", "b", "c")
    assert plan.select(manifest, []) == manifest.models
    assert [spec.name for spec in plan.select(manifest, ["c", "a", "c"])] == ["a", "c"]


def test_an_unknown_model_is_told_with_the_known_ones() -> None:
    with pytest.raises(UsageError) as caught:
        plan.select(specs("b", "a"), ["a", "x", "y"])
    assert (caught.value.message, caught.value.hint) == ("models.yaml has no model x, y", "its models: a, b")
