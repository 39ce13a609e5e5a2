"""Kinds of values: how a job (JSON) and a manifest (text) write them, and their JSON Schema."""

from __future__ import annotations

import math
import re
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

from . import codec, sizes
from .codec import ContractError
from .source import EXPECTED
from .spelling import near

Schema = Dict[str, object]

MOST_DIGITS = 18  # that always fit into 64 bits

VARIABLE: Schema = {"$ref": "#/$defs/variable"}
TEXT: Schema = {"$ref": "#/$defs/text"}


def or_variable(pattern: str) -> str:
    """Return a schema's pattern for texts that match as a whole, or contain a variable."""
    return f"^{pattern}$|\\$\\{{"


class Kind:
    """A kind of value. ``expected`` completes the sentence "expected ..." of an error."""

    json: type = str
    expected = "a text"
    pattern = ""  # of the whole text in a manifest

    def parse(self, text: str) -> object:
        """Return the value of a text in a manifest.

        Raises:
            ValueError: the message says what was expected.
        """
        if self.pattern and not re.fullmatch(self.pattern, text):
            raise ValueError(self.expected)
        return text

    def meant(self, text: str) -> Optional[str]:
        """Return what an invalid text was probably meant to be, or None."""
        del text
        return None

    def decode(self, raw: object, what: str) -> object:
        """Return the value of parsed JSON; ``what`` names it in the ContractError if it is invalid."""
        value: object = codec.typed(raw, self.json, what)
        try:
            return self.parse(value) if isinstance(value, str) else value
        except ValueError as error:
            raise ContractError(f"{what}: expected {error}, found {raw!r}") from None

    def encode(self, value: Any) -> object:
        """Return the JSON form of a value."""
        return value

    def schema(self) -> Schema:
        """Return the JSON Schema of the value in a manifest."""
        return dict(TEXT)

    def values(self) -> str:
        """Return the possible values, for the documentation."""
        return self.expected


class Text(Kind):
    """A text that matches a pattern as a whole. ``types``: YAML types that may be mistaken for it."""

    def __init__(self, expected: str, pattern: str = "", types: Sequence[str] = ("string",)) -> None:
        self.expected, self.pattern, self._types = expected, pattern, types

    def schema(self) -> Schema:
        types: object = self._types[0] if len(self._types) == 1 else list(self._types)
        positive: Schema = {"minimum": 0} if "number" in self._types else {}  # no such text begins with a minus
        return {"type": types, **positive, "pattern": or_variable(self.pattern)} if self.pattern else dict(TEXT)


class DigestText(Text):
    """A sha256."""

    def __init__(self) -> None:
        super().__init__("64 hexadecimal digits", "[0-9a-fA-F]{64}", ("string", "integer"))

    def parse(self, text: str) -> str:
        return str(super().parse(text)).lower()


class File(Text):
    """A path: relative to the manifest in a manifest, absolute in a job."""


class SourceText(Text):
    """Where bytes are: a path or a URL; ``contract.source`` validates it."""

    def __init__(self) -> None:
        super().__init__(EXPECTED)

    def schema(self) -> Schema:
        return {"$ref": "#/$defs/source"}


class OneOf(Kind):
    """One of a few words. ``spellings``: other names for them, in lower case."""

    def __init__(self, *words: str, spellings: Optional[Mapping[str, str]] = None) -> None:
        self.words = words
        self.expected = f"one of {', '.join(words)}"
        self._spellings = spellings or {}

    def parse(self, text: str) -> str:
        if text not in self.words:
            raise ValueError(self.expected)
        return text

    def meant(self, text: str) -> Optional[str]:
        known = {**{word.lower(): word for word in self.words}, **self._spellings}
        return next((known[word] for word in near(text.strip().lower(), known, 0.8)), None)

    def schema(self) -> Schema:
        return {"anyOf": [{"enum": list(self.words)}, VARIABLE]}

    def values(self) -> str:
        quoted = [f"`{word}`" for word in self.words]
        return f"{', '.join(quoted[:-1])} or {quoted[-1]}"


class Flag(Kind):
    """True or false, in every spelling of YAML."""

    json = bool
    expected = "true or false"
    _SPELLINGS = ("true", "True", "TRUE", "false", "False", "FALSE")

    def parse(self, text: str) -> bool:
        if text not in self._SPELLINGS:
            raise ValueError(self.expected)
        return text.lower() == "true"

    def schema(self) -> Schema:
        return {"anyOf": [{"type": "boolean"}, {"enum": list(self._SPELLINGS)}, VARIABLE]}

    def values(self) -> str:
        return "`true` or `false`"


class Integer(Kind):
    """A whole number from ``low`` to ``high``."""

    json = int

    def __init__(self, expected: str, low: int, high: int = 10**9) -> None:
        self.expected, self._low, self._high = expected, low, high

    def parse(self, text: str) -> int:
        fits = re.fullmatch(r"-?[0-9]{1,9}(\.0+)?" if self._low < 0 else "[0-9]{1,9}", text)
        if not fits or not self._low <= int(float(text)) <= self._high:
            raise ValueError(self.expected)
        return int(float(text))

    def schema(self) -> Schema:
        number: Schema = {"type": "integer", "minimum": self._low, "maximum": self._high}
        digits = "[0-9]{1,9}" if self._high > 9 else f"[{self._low}-{self._high}]"
        return {"anyOf": [number, VARIABLE if self._low < 0 else {"type": "string", "pattern": or_variable(digits)}]}


class Number(Kind):
    """A number from ``low`` to ``high``, both included, and above ``above``."""

    json = float

    def __init__(
        self,
        expected: str = "a number",
        *,
        low: Optional[float] = None,
        high: Optional[float] = None,
        above: Optional[float] = None,
    ) -> None:
        self.expected = expected
        self._limits = {"minimum": low, "maximum": high, "exclusiveMinimum": above}

    def parse(self, text: str) -> float:
        if not re.fullmatch(r"-?[0-9]+(?:\.[0-9]+)?(?:[eE]-?[0-9]+)?", text) or not self._fits(float(text)):
            raise ValueError(self.expected)
        return float(text)

    def _fits(self, value: float) -> bool:
        low, high, above = self._limits.values()
        return (
            math.isfinite(value)
            and (low is None or low <= value)
            and (high is None or value <= high)
            and (above is None or value > above)
        )

    def decode(self, raw: object, what: str) -> float:
        return float(codec.typed(raw, float, what))

    def schema(self) -> Schema:
        limits = {name: limit for name, limit in self._limits.items() if limit is not None}
        return {"anyOf": [{"type": "number", **limits}, VARIABLE]}


class Size(Kind):
    """A size in bytes, which a manifest writes with its unit."""

    json = int
    expected = sizes.EXPECTED

    def parse(self, text: str) -> int:
        size = sizes.size_of(text)
        if size is None:
            raise ValueError(self.expected)
        return size

    def schema(self) -> Schema:
        return {"type": "string", "pattern": or_variable(sizes.PATTERN), "examples": ["512MiB", "2GiB"]}

    def meant(self, text: str) -> Optional[str]:
        return sizes.meant(text)

    def values(self) -> str:
        return "a size such as `512MiB`"


class Interval(Kind):
    """Two numbers, [low, high)."""

    expected = "[low, high] with low < high"

    def decode(self, raw: object, what: str) -> Tuple[float, float]:
        ends = [Number().decode(end, f"{what}[]") for end in codec.typed(raw, list, what)]
        if len(ends) != 2 or not ends[0] < ends[1]:
            raise ContractError(f"{what}: expected {self.expected}, found {ends}")
        return ends[0], ends[1]

    def encode(self, value: Tuple[float, float]) -> List[float]:
        return list(value)

    def schema(self) -> Schema:
        return {"type": "array", "minItems": 2, "maxItems": 2, "items": Number().schema()}


class ListOf(Kind):
    """Several values of one kind."""

    def __init__(self, item: Kind, expected: str) -> None:
        self.item, self.expected = item, expected

    def decode(self, raw: object, what: str) -> Tuple[object, ...]:
        return tuple(self.item.decode(value, f"{what}[]") for value in codec.typed(raw, list, what))

    def encode(self, value: Sequence[object]) -> List[object]:
        return [self.item.encode(item) for item in value]

    def schema(self) -> Schema:
        return {"type": "array", "items": self.item.schema()}


class Whole(Kind):
    """A whole number; it may be negative."""

    json = int
    expected = "a whole number, or a list of them"
    pattern = f"-?[0-9]{{1,{MOST_DIGITS}}}"

    def parse(self, text: str) -> int:
        return int(str(super().parse(text)))

    def schema(self) -> Schema:
        return {"anyOf": [{"type": "integer"}, {"type": "string", "pattern": or_variable(self.pattern)}]}


class Constant(Kind):
    """A value of a tensor: a number, or true or false. Whole numbers stay whole."""

    json = float
    expected = "a number, true or false, or a list of them"
    pattern = r"(-?[0-9]+(\.[0-9]+)?([eE][-+]?[0-9]+)?|true|True|TRUE|false|False|FALSE)"

    def parse(self, text: str) -> float:
        super().parse(text)
        if text.lower() in ("true", "false"):
            return int(text.lower() == "true")
        return int(text) if re.fullmatch(Whole.pattern, text) else float(text)

    def schema(self) -> Schema:
        texts = {"type": "string", "pattern": or_variable(self.pattern)}
        return {"anyOf": [{"type": "number"}, {"type": "boolean"}, texts]}


class OneOrMore(ListOf):
    """A value of one kind, or a list of them."""

    def __init__(self, item: Kind) -> None:
        super().__init__(item, item.expected)

    def schema(self) -> Schema:
        return {"anyOf": [self.item.schema(), {**super().schema(), "minItems": 1}]}


class WordsOrList(ListOf):
    """A list of texts, or one of a few words, which is read as a list of that word."""

    def __init__(self, words: Sequence[str], item: Kind, expected: str) -> None:
        super().__init__(item, expected)
        self.word = OneOf(*words)

    def schema(self) -> Schema:
        return {"anyOf": [{"enum": list(self.word.words)}, VARIABLE, super().schema()]}

    def values(self) -> str:
        return f"{', '.join(f'`{word}`' for word in self.word.words)}, or {self.expected}"


class ByName(Kind):
    """Values of one kind by the names of bindings."""

    def __init__(self, item: Kind, expected: str) -> None:
        self.item, self.expected = item, expected

    def decode(self, raw: object, what: str) -> Dict[str, object]:
        found: Mapping[str, object] = codec.typed(raw, dict, what)
        return {name: self.item.decode(value, f"{what}.{name}") for name, value in found.items()}

    def encode(self, value: Mapping[str, object]) -> Dict[str, object]:
        return {name: self.item.encode(item) for name, item in value.items()}

    def schema(self) -> Schema:
        return {"type": "object", "additionalProperties": self.item.schema()}


class Json(Kind):
    """A JSON object that is passed on unchanged."""

    json = dict

    def encode(self, value: Mapping[str, object]) -> Dict[str, object]:
        return dict(value)
