"""Reading tables of a document by their shapes, and noting everything that is wrong.

    Tables(document).table(("backend", 0), {...}, Backend) -> Backend or None

Every value is read by the type of its field, tables inside tables likewise; each class
checks itself. What is wrong is noted with its place while reading goes on.
"""

from __future__ import annotations

import difflib
import os
import typing
from collections.abc import Iterable, Mapping
from datetime import date
from typing import Any, TypeVar

import msgspec
from msgspec import Struct

from .._errors import ConfigError
from ._places import Document, Note, Path
from ._schema import NAMED, ONLY_CODE, fields_of, needed, shape_in, without_shapes

_S = TypeVar("_S", bound=Struct)


class Tables:
    """Reads the tables of one document; what is wrong collects in ``faults``."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.faults: list[Note] = []

    def fault(self, path: Path, message: str) -> None:
        """Note a fault where the value really stands; each only once."""
        note = self.document.note(self._origin(path), message)
        if note not in self.faults:
            self.faults.append(note)

    def _origin(self, path: Path) -> Path:
        """Where the value of a path really stands: here, where it seems to stand."""
        return path

    def table(
        self, path: Path, data: Any, shape: type[_S], *, partial: bool = False
    ) -> _S | None:
        """Read a table; None when it cannot be.

        ``partial``: only look for faults, and nothing needs to be there. Shapes that
        are NAMED take the last step of the path as their name.
        """
        if not isinstance(data, Mapping):
            self.fault(path, f"must be a table, not {kind_of(data)}")
            return None
        before = len(self.faults)
        known = fields_of(shape)
        values = {}
        for key, value in data.items():
            if key in known:
                values[key] = self.value((*path, key), value, known[key])
            elif (shape, key) in ONLY_CODE:
                self.fault((*path, key), ONLY_CODE[(shape, key)])
            else:
                self.fault((*path, key), f"unknown key; {suggestion(key, known)}")
        missing = [name for name in needed(shape) if name not in values]
        if partial:
            return None
        for name in missing:
            self.fault(path, f"{name!r} is missing")
        values = {k: v for k, v in values.items() if v is not _FAULTY}
        if shape in NAMED:
            values[NAMED[shape]] = str(path[-1])
        if missing or any(name not in values for name in needed(shape)):
            return None
        made = self._make(path, shape, values)
        return made if len(self.faults) == before else None

    def _make(self, path: Path, shape: type[_S], values: dict[str, Any]) -> _S | None:
        """Construct; a value it refuses is left out, to see what else it refuses."""
        while True:
            try:
                return shape(**values)
            except ConfigError as error:
                own = error.field in values
                where = (*path, error.field) if own else path
                message = str(error)
                if own:
                    message = message.removeprefix(f"{error.field} = ")
                named = NAMED.get(shape) == error.field
                self.fault(path if named else where, message)
                if not own or named or error.field in needed(shape):
                    return None
                del values[error.field]

    def value(self, path: Path, value: Any, hint: Any) -> Any:
        """Read a value by the type of its field; _FAULTY when it cannot be."""
        shape = shape_in(hint)
        if shape is not None and isinstance(value, Mapping):
            made = self.table(path, value, shape)
            return _FAULTY if made is None else made
        origin = typing.get_origin(hint)
        if origin is tuple and isinstance(value, list):
            inner = shape_in(typing.get_args(hint)[0])
            if inner is not None:
                each = [self.table((*path, i), v, inner) for i, v in enumerate(value)]
                return _FAULTY if None in each else tuple(each)
        if origin is dict and isinstance(value, Mapping):
            return self._dict(path, value, *typing.get_args(hint))
        return self._plain(path, value, without_shapes(hint))

    def _dict(self, path: Path, value: Mapping[str, Any], key: Any, inner: Any) -> Any:
        made = {}
        for k, v in value.items():
            try:  # keys of tables are texts even where numbers stand
                name = msgspec.convert(k, key, strict=False)
            except msgspec.ValidationError as error:
                self.fault((*path, k), str(error).replace("`", ""))
                return _FAULTY
            made[name] = self.value((*path, k), v, inner)
        return _FAULTY if _FAULTY in made.values() else made

    def _plain(self, path: Path, value: Any, hint: Any) -> Any:
        given = value
        if path[-1] != "api_key":  # that one is read when it is used, and not kept
            value = self.resolve(path, value)
        if value is _FAULTY or hint is Any:
            return value
        try:
            return msgspec.convert(value, hint, strict=value is given)
        except msgspec.ValidationError as error:
            self.fault(path, str(error).replace("`", ""))
            return _FAULTY

    def resolve(self, path: Path, value: Any) -> Any:
        """Put the environment's values where "env:NAME" stands; dates become texts."""
        if isinstance(value, str) and value.startswith("env:"):
            name = value[4:]
            if name in os.environ:
                return os.environ[name]
            self.fault(path, f"the environment variable {name} is not set")
            return _FAULTY
        if isinstance(value, date):
            return value.isoformat()
        if isinstance(value, Mapping):
            made = {k: self.resolve((*path, k), v) for k, v in value.items()}
            if all(made[k] is value[k] for k in made):
                return value
            return _FAULTY if _FAULTY in made.values() else made
        if isinstance(value, list):
            items = [self.resolve((*path, i), v) for i, v in enumerate(value)]
            if all(new is old for new, old in zip(items, value, strict=True)):
                return value
            return _FAULTY if _FAULTY in items else items
        return value


class _Faulty:
    """Stands for a value that could not be read."""

    def __repr__(self) -> str:
        return "(faulty)"


_FAULTY = _Faulty()


def suggestion(word: object, known: Iterable[str]) -> str:
    """Say which known word is meant, or what there is when none is near."""
    names = sorted(known)
    near = difflib.get_close_matches(str(word), names)
    if near:  # letters in the wrong order are likelier than wrong letters
        best = min(near, key=lambda name: sorted(name) != sorted(str(word)))
        return f"did you mean {best!r}?"
    shown = ", ".join(names[:_SHOWN]) or "none"
    return f"known are {shown}{', ...' if len(names) > _SHOWN else ''}"


_SHOWN = 12


def kind_of(value: Any) -> str:
    """Say what a value is, in the words of files."""
    names = {list: "a list", str: "a text", bool: "a switch", type(None): "nothing"}
    return names.get(type(value), "a number")
