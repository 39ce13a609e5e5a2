"""``prepare-models selftest``: the whole way of a model on this machine, with a verdict for each step."""

from .outcome import FAIL, Outcome
from .steps import Selftest

__all__ = ["FAIL", "Outcome", "Selftest"]
