"""Bundles: everything that a run needs in one file, for a machine without a network."""

from pathlib import Path

from prepare_models_entrypoint.contract.files import open_regular

BEGINNING = "index-"  # of the name of its first member, and so of the whole file


def is_bundle(file: Path) -> bool:
    """Return whether a file begins like a bundle, as no manifest does."""
    try:
        with open_regular(file) as stream:
            return stream.read(len(BEGINNING)) == BEGINNING.encode("ascii")
    except OSError:
        return False
