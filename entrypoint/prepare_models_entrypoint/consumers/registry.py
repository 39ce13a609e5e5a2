"""The consumers that there are: a new one is a folder beside this file, and a line here."""

from __future__ import annotations

from typing import Dict, List, Sequence, Tuple

from ..contract.consumers import check
from .consumer import AnyConsumer
from .deepstream.rules import CONSUMER as DEEPSTREAM
from .isaac_ros.rules import CONSUMER as ISAAC_ROS
from .triton.rules import CONSUMER as TRITON

CONSUMERS: Dict[str, AnyConsumer] = {consumer.name: consumer for consumer in (ISAAC_ROS, TRITON, DEEPSTREAM)}

Chosen = List[Tuple[AnyConsumer, str]]


def choose(names: Sequence[str]) -> Chosen:
    """Return consumers with their releases. ``names``: such as ``triton`` or ``isaac-ros@5.0``; none: all of them.

    Raises:
        ContractError: there is no such consumer or release.
    """
    chosen = [_one(check(name)) for name in names]
    return chosen or [(consumer, consumer.default) for consumer in CONSUMERS.values()]


def _one(text: str) -> "Tuple[AnyConsumer, str]":
    name, _, release = text.partition("@")
    return CONSUMERS[name], release or CONSUMERS[name].default
