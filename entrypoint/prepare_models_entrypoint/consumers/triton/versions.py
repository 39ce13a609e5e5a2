"""Which version directories Triton loads, following VersionsToLoad in triton-inference-server/core."""

from __future__ import annotations

import re
from typing import Iterator, List, Optional, Sequence, Tuple

from .core_rules import Finding
from .text_format import Message, first, messages

_NUMBER = r"\s*[+-]?\d+"
_OTHERS = ("warmup", "initial_state", "configs")


def served(config: Message, folders: Sequence[str]) -> "Tuple[List[int], List[Finding]]":
    """Return the versions that the policy serves, and findings about it. A directory ``2.bak`` is version 2."""
    there = sorted({number for number in map(_number, folders) if number is not None}, reverse=True)
    wrong = list(_absent(config, there))
    versions = _chosen(config, there)
    if not versions and not wrong:
        text = ", ".join(map(str, there)) or "none"
        wrong.append(("triton-version", f"the version policy serves no version; the directory has {text}"))
    return versions, wrong


def leading_number(text: str) -> Optional[int]:
    """Return the number at the beginning of a text, as C++'s stoll reads it, or None."""
    match = re.match(_NUMBER, text)
    return int(match.group()) if match else None


def _number(folder: str) -> Optional[int]:
    ignored = folder in _OTHERS or (len(folder) > 1 and folder[0] == "0")
    return None if ignored else leading_number(folder)


def _specific(config: Message) -> Optional[List[int]]:
    specific = messages(config, "version_policy", "specific")
    return list(specific[0].get("versions", ())) if specific else None


def _absent(config: Message, there: Sequence[int]) -> Iterator[Finding]:
    given = _specific(config) or []
    absent = [version for version in given if version not in there]
    if absent:
        yield "triton-version", f"version_policy serves {given}, and there is no version {', '.join(map(str, absent))}"


def _chosen(config: Message, there: Sequence[int]) -> List[int]:
    specific = _specific(config)
    if specific is not None:
        return [version for version in there if version in specific]
    for policy in messages(config, "version_policy"):
        if "all" in policy:
            return list(there)
        for latest in messages(policy, "latest"):
            return list(there[: first(latest, "num_versions", 0)])
        return list(there)
    return list(there[:1])
