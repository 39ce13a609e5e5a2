"""A starting manifest with models of the catalog, and the catalog's notes on each as comments."""

from __future__ import annotations

from collections.abc import Sequence

from ..manifest import draft
from ..manifest.draft import Draft
from . import PREFIX, Entry


def manifest(chosen: Sequence[Entry]) -> str:
    """Return the text of a manifest with these models."""
    return draft.manifest([drafted(entry) for entry in chosen])


def drafted(entry: Entry) -> Draft:
    """Return a draft of a model with the catalog's settings."""
    about = [", ".join(filter(None, (entry.family, entry.task.replace("_", " "), entry.format)))]
    about += [f"- {note}" for note in entry.notes]
    if "eula" in entry.manifest:
        about.append("- has terms: read them at eula, then run with --accept-eula")
    return Draft(
        {"name": entry.name, "source": f"{PREFIX}{entry.name}"},
        about=about,
        beside={"source": str(entry.manifest["source"])},
        optional={key: value for key, value in entry.manifest.items() if key != "source"},
    )
