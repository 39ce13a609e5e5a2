"""Environment variables in a manifest's values, with the syntax of Compose."""

from __future__ import annotations

import os
import re

FORMS = "${V}, ${V:-default}, ${V-default}, ${V:?message}, ${V?message}, ${V:+text}, ${V+text}"
_HEAD = re.compile(r"\$\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?P<form>(?::?[-?+])?)")
_MARK = re.compile(r"\$\$|\$\{|\}")
_MAX_DEPTH = 20
_LARGEST = 1 << 20


class VariableError(ValueError):
    """A variable has no value, or a ``${`` is malformed. The message doesn't quote text, which may be secret."""


def substitute(text: str) -> str:
    """Return a text with its variables replaced; ``$$`` is a dollar sign, and a ``$`` without a brace stays.

    The colon in ``:-``, ``:?`` and ``:+`` treats empty variables as unset. Defaults and texts may contain variables, of
    which only those in use are evaluated.

    Raises:
        VariableError: one is not set and has no default, or has none of the ``FORMS``.
    """
    return _expanded(text, 0) if "$" in text else text


def _expanded(text: str, depth: int) -> str:
    if depth > _MAX_DEPTH:
        raise VariableError("variables are nested too deeply")
    parts, at, size = [], 0, 0
    while (found := text.find("$", at)) >= 0:
        parts.append(text[at:found])
        if text.startswith("${", found):
            head = _HEAD.match(text, found)
            end = _end(text, found)
            if head is None or end is None or (not head["form"] and head.end() != end):
                raise VariableError(
                    f"a ${{ does not begin a variable here: write {FORMS}; or $${{ for these two characters"
                )
            parts.append(_value(head["name"], head["form"], text[head.end() : end], depth))
            size += len(parts[-1])
            if size > _LARGEST:
                raise VariableError(f"the values of its variables are longer than {_LARGEST} characters")
            at = end + 1
        else:
            parts.append("$")
            at = found + (2 if text.startswith("$$", found) else 1)
    return "".join([*parts, text[at:]])


def _end(text: str, start: int) -> int | None:
    """Return where the brace that opens at ``start`` is closed, or None."""
    depth = 0
    for mark in _MARK.finditer(text, start):
        depth += {"${": 1, "}": -1}.get(mark[0], 0)
        if depth == 0:
            return mark.start()
    return None


def _value(name: str, form: str, argument: str, depth: int) -> str:
    value = os.environ.get(name)
    given = value is not None and (bool(value) or not form.startswith(":"))
    if form.endswith("+"):
        return _expanded(argument, depth + 1) if given else ""
    if value is not None and given:
        return value
    if form.endswith("-"):
        return _expanded(argument, depth + 1)
    lacking = f"environment variable {name} is {'empty' if value is not None else 'not set'}"
    if form.endswith("?"):
        raise VariableError(f"{lacking}: {argument}" if argument else lacking)
    raise VariableError(f"{lacking}; ${{{name}:-default}} gives a default")
