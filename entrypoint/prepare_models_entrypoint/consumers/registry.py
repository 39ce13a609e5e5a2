"""The known consumers: each folder next to this file whose ``rules.py`` has a ``CONSUMER``."""

from __future__ import annotations

import importlib
from typing import Dict, List, Sequence, Tuple

from ..contract.consumers import check, releases_by_consumer
from .consumer import AnyConsumer


def _of_folder(name: str) -> AnyConsumer:
    rules = importlib.import_module(f"{__package__}.{name.replace('-', '_')}.rules")
    consumer: AnyConsumer = rules.CONSUMER
    return consumer


CONSUMERS: Dict[str, AnyConsumer] = {
    consumer.name: consumer
    for consumer in sorted(map(_of_folder, releases_by_consumer()), key=lambda consumer: consumer.place)
}

Chosen = List[Tuple[AnyConsumer, str]]


def choose(names: Sequence[str]) -> Chosen:
    """Return consumers with their releases. ``names``: such as ``triton`` or ``isaac-ros@5.0``; empty: all.

    Raises:
        ContractError: there is no such consumer or release.
    """
    parts = (check(name).partition("@") for name in names)
    chosen = [(CONSUMERS[name], release or CONSUMERS[name].default) for name, _, release in parts]
    return chosen or [(consumer, consumer.default) for consumer in CONSUMERS.values()]
