"""Errors about the weights that a model keeps in other files."""

from __future__ import annotations


class ExternalDataError(ValueError):
    """A model names weights that are missing or not allowed. The message says which and why.

    ``why``: the message without the name of the file.
    """

    def __init__(self, message: str, *, why: str = "") -> None:
        super().__init__(message)
        self.why = why or message


class UnreadableError(ExternalDataError):
    """The structure of a model can't be read, so it is unknown which files belong to it."""
