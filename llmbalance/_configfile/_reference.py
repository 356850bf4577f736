"""Every key of a configuration file as a page to read: docs/configuration-keys.md.

    the tables' shapes (_schema) + what their classes say of themselves --> Markdown

Made from what the loader reads by, so it cannot be out of date; a test compares.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Mapping, Sequence
from types import NoneType
from typing import Any

import msgspec
from msgspec import Struct

from .._config import Backend, Breaker, Budget, Limit, Limits, Timeouts
from .._experiments._experiment import Bandit, Experiment
from .._experiments._mirror import Mirror
from .._fleet._groups import Group
from .._fleet._hedge import Hedge
from .._price import Deal, Price
from .._router import Router
from .._tasks._rules import Rule
from .._tasks._task import Task
from ._schema import WORDS, GroupTable, RouterTable, fields_of, needed

_TABLES: Sequence[tuple[str, type[Struct]]] = (
    ("`[router]`", RouterTable),
    ("`[[backend]]`, `[defaults]`, `[provider.NAME]`", Backend),
    ("`[group.NAME]`, `[defaults.group]`", GroupTable),
    ("`[task.NAME]`", Task),
    ("`[[rule]]`, `[[shadow_rule]]`", Rule),
    ("`[[budget]]`, `[budget.NAME]`", Budget),
    ("`[experiment.NAME]`", Experiment),
    ("`[mirror.NAME]`", Mirror),
)
_WITHIN: Sequence[type[Struct]] = (
    *(Limits, Limit, Timeouts, Breaker, Price, Deal, Hedge, Bandit),
)
_PLAIN = {str: "text", int: "whole number", float: "number", bool: "switch"}
_HEAD = """# Every key of a configuration file

`llmbalance check --reference` prints this page; [configuration](configuration.md) is
the one to read first. A key without a default must be there. Texts, numbers and
switches may be `"env:NAME"`.
"""


def reference() -> str:
    """Return the page, in Markdown."""
    parts = [_HEAD]
    parts += [_section(f"## {title}", shape) for title, shape in _TABLES]
    parts.append("## Tables within tables\n")
    parts += [_section(f"### {shape.__name__}", shape) for shape in _WITHIN]
    return "\n".join(parts)


def _section(title: str, shape: type[Struct]) -> str:
    defaults = {f.name: _default(f) for f in msgspec.structs.fields(shape)}
    defaults |= dict.fromkeys(needed(shape), "")
    rows = [
        f"| `{name}` | {_kind(shape, name, hint)} | {defaults[name]} |"
        for name, hint in fields_of(shape).items()
    ]
    lines = [title, "", _prose(shape), "", "| key | value | default |", "|---|---|---|"]
    return "\n".join([*lines, *rows, ""])


def _prose(shape: type[Struct]) -> str:
    """What the classes that one writes in Python say, in Markdown."""
    texts = [inspect.getdoc(shape) or ""]
    if shape is RouterTable:
        said = (inspect.getdoc(Router) or "").partition("\n\n")[2]
        texts = [said.partition("\n\nRaises")[0], texts[0].partition("\n\n")[2]]
    elif shape is GroupTable:
        texts = [inspect.getdoc(Group) or "", texts[0].partition("\n\n")[2]]
    return "\n\n".join(texts).replace("``", "`")


def _default(field: msgspec.structs.FieldInfo) -> str:
    value = field.default
    if value is msgspec.NODEFAULT:
        made = field.default_factory
        value = made() if callable(made) else None
    if value is None or (isinstance(value, tuple | Mapping) and not value):
        return "none"
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    text = msgspec.json.encode(value).decode()
    return f"`{text}`"


def _kind(shape: type[Struct], name: str, hint: Any) -> str:
    words = WORDS.get((shape, name))
    if words is None:
        return _words_for(hint)
    choices = ", ".join(f'`"{word}"`' for word in words)
    many = typing.get_origin(hint) is tuple or "tuple" in str(hint)
    return f"list of {choices}" if many else f"one of {choices}"


def _words_for(hint: Any, many: bool = False) -> str:
    """A type in the words of files; ``many``: of what there are several."""
    plural = "s" if many else ""
    if hint in _PLAIN:
        return _PLAIN[hint] + plural
    if hint is Any:
        return "anything"
    if isinstance(hint, type) and issubclass(hint, Struct):
        return f"table{plural} ([{hint.__name__}](#{hint.__name__.lower()}))"
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (tuple, list, Sequence):
        if origin is tuple and Ellipsis not in arguments:
            each = " and ".join(_words_for(one) for one in arguments)
            return f"list{plural} of {each}"
        return f"list{plural} of {_words_for(arguments[0], True)}"
    if origin in (dict, Mapping):
        return f"table{plural} of {_words_for(arguments[1], True)}"
    kinds = [_words_for(one, many) for one in arguments if one is not NoneType]
    return " or ".join(dict.fromkeys(kinds))
