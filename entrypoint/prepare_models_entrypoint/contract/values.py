"""Immutable values with named fields, cheap to define: a command imports about a hundred of them."""

from __future__ import annotations

import dataclasses
import operator
from typing import TYPE_CHECKING, Any, Callable, ClassVar, Dict, FrozenSet, NoReturn, Tuple

__all__ = ["Value", "dataclass_transform"]

if TYPE_CHECKING:
    from typing_extensions import dataclass_transform
else:

    def dataclass_transform(**_):
        """Replace a decorator that only type checkers need."""
        return lambda kind: kind


@dataclass_transform(frozen_default=True, field_specifiers=(dataclasses.field, dataclasses.Field))
class Value:
    """A value that never changes: each subclass is a frozen dataclass, without a decorator.

    Its methods are written once, here: generating them for each subclass would take a third of a command's start.
    """

    __dataclass_fields__: ClassVar[Dict[str, Any]]

    __names: ClassVar[Tuple[str, ...]] = ()
    __known: ClassVar[FrozenSet[str]]
    __required: ClassVar[FrozenSet[str]]
    __compared: ClassVar[Any]
    __blank: ClassVar[Dict[str, object]]  # all fields in their order, with the defaults
    __factories: ClassVar[Tuple[Tuple[str, Callable[[], object]], ...]]

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        dataclasses.dataclass(init=False, repr=False, eq=False)(cls)
        fields = dataclasses.fields(cls)
        cls.__names = tuple(field.name for field in fields)
        cls.__known = frozenset(cls.__names)
        cls.__compared = operator.attrgetter(*(field.name for field in fields if field.compare), "__class__")
        cls.__blank = {field.name: field.default for field in fields}
        makers = ((field.name, field.default_factory) for field in fields)
        cls.__factories = tuple((name, make) for name, make in makers if make is not dataclasses.MISSING)
        given = (name for name, default in cls.__blank.items() if default is dataclasses.MISSING)
        cls.__required = frozenset(given).difference(name for name, _ in cls.__factories)

    def __init__(self, *given: Any, **named: Any) -> None:
        found = vars(self)
        found.update(self.__blank)
        for name, make in self.__factories:
            found[name] = make()
        found.update(zip(self.__names, given))
        found.update(named)
        by_place = self.__names[: len(given)]
        wrong = len(given) > len(by_place) or not named.keys().isdisjoint(by_place) or found.keys() != self.__known
        if wrong or not self.__required.issubset((*by_place, *named)):
            what = f"{len(given)} values and {', '.join(named) or 'nothing'} by name"
            raise TypeError(f"{type(self).__name__} takes {', '.join(self.__names)}; given were {what}")

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise dataclasses.FrozenInstanceError(f"cannot assign to field {name!r}")

    def __delattr__(self, name: str) -> NoReturn:
        raise dataclasses.FrozenInstanceError(f"cannot delete field {name!r}")

    def __eq__(self, other: object) -> bool:
        if type(self) is not type(other):
            return NotImplemented
        return bool(self.__compared(self) == self.__compared(other))

    def __hash__(self) -> int:
        return hash(self.__compared(self))

    def __repr__(self) -> str:
        shown = (f"{field.name}={getattr(self, field.name)!r}" for field in dataclasses.fields(self) if field.repr)
        return f"{type(self).__qualname__}({', '.join(shown)})"
