"""The keys of an nvinfer configuration, by release, and how nvinfer reads the file."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import Callable, Dict, Iterator, List, Mapping, Optional, Tuple

from ...contract.consumers import releases
from ...contract.spelling import near
from ...contract.values import Value

DEFAULT = "9.2"
_FOLDER = Path(__file__).with_name("releases")
RELEASES = releases(Path(__file__).parent)
PROPERTY, CLASS = "property", "class-attrs-"
_CUSTOM = "user-configs"  # read by the application
_BOOLEANS = ("true", "false", "1", "0")


KeyFile = Mapping[str, Mapping[str, str]]  # values by group and key


class KeyFileError(ValueError):
    """GLib would refuse the file; the message gives the line."""


class Key(Value):
    """One key. type: boolean, integer, double, string or file, with [] for a list separated by semicolons."""

    type: str
    min: Optional[float] = None
    max: Optional[float] = None
    values: Tuple[float, ...] = ()
    length: Optional[int] = None
    max_length: Optional[int] = None

    def problem(self, text: str) -> Optional[str]:
        """Return why nvinfer refuses a value, or None."""
        parts = split(text) if self.type.endswith("[]") else [text.strip()]
        if self.length is not None and len(parts) != self.length:
            return f"it takes {self.length} values"
        if self.max_length is not None and len(parts) > self.max_length:
            return f"it takes at most {self.max_length} values"
        return next((why for why in map(self._one, parts) if why), None)

    def _one(self, text: str) -> Optional[str]:
        kind = self.type.replace("[]", "")
        if kind == "boolean":
            return None if text in _BOOLEANS else "it takes 0 or 1"
        if kind not in _NUMBERS:
            return None
        try:
            number = _NUMBERS[kind](text)
        except ValueError:
            return f"it takes {'a whole number' if kind == 'integer' else 'a number'}"
        if self.values and number not in self.values:
            return f"it takes {', '.join(str(int(value)) for value in self.values)}"
        low, high = self.min, self.max
        if (low is not None and number < low) or (high is not None and number > high):
            return f"it takes {low:g} to {high:g}" if None not in (low, high) else f"it takes {low:g} or more"
        return None


_NUMBERS: Dict[str, Callable[[str], float]] = {"integer": int, "double": float}


@lru_cache(maxsize=None)
def keys(release: str) -> Mapping[str, Mapping[str, Key]]:
    """Return the keys of each group in a release; ``class-attrs-`` covers the groups of all classes."""
    raw = json.loads((_FOLDER / f"{release}.json").read_text(encoding="utf-8"))
    return {
        group: {name: Key(**{**entry, "values": tuple(entry.get("values", ()))}) for name, entry in listed.items()}
        for group, listed in raw["groups"].items()
    }


def read(text: str) -> KeyFile:
    """Return the groups of a configuration as GLib reads them: if a key appears twice, the last one counts.

    Raises:
        KeyFileError: GLib refuses it, or it has no group ``property``.
    """
    groups: Dict[str, Dict[str, str]] = {}
    current: Optional[Dict[str, str]] = None
    for number, line in enumerate(map(str.strip, text.split("\n")), 1):
        if not line or line.startswith("#"):
            continue
        if line.startswith("["):
            if not line.endswith("]") or "[" in line[1:] or "]" in line[:-1]:
                raise KeyFileError(f"line {number}: {line!r} is not a group")
            current = groups.setdefault(line[1:-1], {})
            continue
        key, equals, value = line.partition("=")
        if current is None or not equals or not key.strip():
            raise KeyFileError(f"line {number}: {line!r} is not a key=value of a group")
        current[key.strip()] = value.strip()
    if PROPERTY not in groups:
        raise KeyFileError(f"it has no group [{PROPERTY}]")
    return groups


def split(text: str) -> List[str]:
    """Return the values of a list."""
    parts = [part.strip() for part in text.split(";")]
    return parts[:-1] if parts and not parts[-1] else parts


def problems(file: KeyFile, release: str) -> Iterator[str]:
    """Yield keys that nvinfer doesn't know, and values that it refuses."""
    known = keys(release)
    for group, given in file.items():
        if group == _CUSTOM:
            continue
        declared = known.get(CLASS if group.startswith(CLASS) else group)
        if declared is None:
            yield f"nvinfer reads no group [{group}]"
            continue
        for key, value in given.items():
            if key not in declared:
                meant = near(key, declared)
                yield f"{key} is not a key of nvinfer" + (f"; did you mean {meant[0]}?" if meant else "")
                continue
            why = declared[key].problem(value)
            if why is not None:
                yield f"{key} is {value!r}, and {why}"
