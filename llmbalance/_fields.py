"""The fields of what a user writes down hold what their annotations say.

    rpm: int | None = None       Limits(rpm="5")      rpm = '5': give a whole number
    groups: tuple[str, ...]      Backend(groups=3)    groups = 3: give a list of texts

An annotation says of what kind a value is; what it may be beyond that (a share, a known
word, at most a million) says each class itself, and may then rely on the kind.
"""

from __future__ import annotations

import functools
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date
from types import NoneType, UnionType
from typing import Any

from msgspec import NODEFAULT, Struct

from ._errors import ConfigError

MOST = 9e15  # of any number: beyond it floats skip whole ones, and sums overflow
_LISTS = (tuple, list)
_ABSTRACT = (Iterable, Sequence)
_WORDS: Mapping[Any, str] = {
    int: "a whole number",
    float: "a number",
    bool: "True or False",
    str: "a text",
    Mapping: "a dict",
    Iterable: "a list",
    Sequence: "a list",
    Callable: "a function",
    date: "a date",
}


def check_fields(given: Struct) -> None:
    """Refuse fields of another kind than annotated, numbers that no sum survives.

    ConfigError names the field, the value and what to give.
    """
    for field, hint, default in _hints(type(given)):
        value = getattr(given, field)
        if value is not default:
            check_kind(field, value, hint)


def check_kind(field: str, value: Any, hint: Any) -> None:
    """Refuse a value of another kind than a type names, as ``check_fields`` does."""
    if not _fits(value, hint):
        raise ConfigError(field, value, f"give {_told(hint)}")
    if isinstance(value, int | float) and not -MOST <= value <= MOST:
        raise ConfigError(field, value, f"give a number of at most {MOST:g}")


def check_all(field: str, values: Iterable[Any], kind: type[Struct]) -> None:
    """Refuse values that are no objects of a class."""
    for value in values:
        if not isinstance(value, kind):
            raise ConfigError(field, value, f"give {kind.__name__} objects")


@functools.cache
def _hints(kind: type[Struct]) -> Sequence[tuple[str, Any, Any]]:
    """The name of every field, its annotation, and its default if it has one."""
    hints = typing.get_type_hints(kind)
    names, defaults = kind.__struct_fields__, kind.__struct_defaults__
    required = (NODEFAULT,) * (len(names) - len(defaults))
    filled = zip(names, (*required, *defaults), strict=True)
    return [(name, hints[name], default) for name, default in filled]


def _fits(value: Any, hint: Any) -> bool:
    """Whether a value is of the kind an annotation names, inside as well."""
    if hint is Any:
        return True
    kind, inner = typing.get_origin(hint) or hint, typing.get_args(hint)
    if kind in (typing.Union, UnionType):
        return any(_fits(value, one) for one in inner)
    if kind in _LISTS:
        return isinstance(value, list | tuple | set | frozenset) and all(
            _fits(one, inner[0]) for one in value
        )
    if kind is Mapping:
        return isinstance(value, Mapping) and all(
            _fits(k, inner[0]) and _fits(v, inner[1]) for k, v in value.items()
        )
    if kind in _ABSTRACT:
        return isinstance(value, kind) and not isinstance(value, str | bytes | Mapping)
    if kind is Callable:
        return callable(value)
    if kind in (int, float):
        return isinstance(value, int | kind) and not isinstance(value, bool)
    return isinstance(value, kind)


def _told(hint: Any) -> str:
    """An annotation as words, None left out: "a number or a text"."""
    kind, inner = typing.get_origin(hint) or hint, typing.get_args(hint)
    if kind in (typing.Union, UnionType):
        words = [_told(one) for one in inner if one is not NoneType]
        return " or ".join(dict.fromkeys(words))
    if kind in _LISTS:
        return "a list of texts" if inner[0] is str else "a list"
    return _WORDS.get(kind) or f"{kind.__name__}(...)"
