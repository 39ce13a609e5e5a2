"""Values never change, compare by their fields, and are made with each field once."""

from __future__ import annotations

import pickle
from dataclasses import FrozenInstanceError, field, replace
from typing import Any

import pytest

from prepare_models_entrypoint.contract.values import Value


class Place(Value):
    """A value with all kinds of fields."""

    name: str
    line: int = 1
    notes: dict[str, str] = field(default_factory=dict, compare=False)
    secret: str | None = field(default=None, repr=False)


class Labelled(Place):
    """One that inherits fields."""

    label: str = ""


def test_fields_are_given_in_order_or_by_name() -> None:
    place = Place("a", 2)
    assert (place.name, place.line, place.notes, place.secret) == ("a", 2, {}, None)
    assert place == Place(line=2, name="a") == replace(Place("b", 2), name="a")
    assert Place("a").notes is not Place("a").notes
    assert Labelled("a", label="l").label == "l"
    assert pickle.loads(pickle.dumps(place)) == place


def test_equal_values_are_one_key() -> None:
    assert len({Place("a"), Place("a", notes={"x": "y"}), Place("b"), Labelled("a")}) == 3
    assert Place("a") != Place("a", secret="s")
    assert Place("a") != "a"
    assert repr(Place("a", secret="s")) == "Place(name='a', line=1, notes={})"


@pytest.mark.parametrize(
    ("given", "named"),
    [((), {}), (("a",), {"lines": 1}), (("a",), {"name": "a"}), (("a", 1, {}, None, "more"), {})],
    ids=["missing", "unknown", "twice", "too many"],
)
def test_a_wrong_call_names_the_fields(given: Any, named: Any) -> None:
    with pytest.raises(TypeError, match=r"Place takes name, line, notes, secret; given were \d values and"):
        Place(*given, **named)


def test_nothing_changes_a_value() -> None:
    place = Place("a")
    with pytest.raises(FrozenInstanceError):
        place.name = "b"  # type: ignore[misc]  # what the type checker refuses, too
    with pytest.raises(FrozenInstanceError):
        del place.line
    assert place == Place("a")


def test_documents_have_fields_in_their_order() -> None:
    assert list(vars(Place("a", line=2))) == ["name", "line", "notes", "secret"]
