"""A configuration file and where everything in it stands.

    read("llmbalance.toml") -> Document: .data, the plain values
                                         .line(("backend", 0, "weight")) == 12

A path into a document is a tuple of keys and list indices. TOML is scanned a second
time for the lines, since its parser does not tell them; YAML's parser does.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path as FilePath
from typing import Any

from msgspec import Struct

from .._errors import ConfigError, LLMBalanceError

Path = tuple[str | int, ...]

_BARE = re.compile(r"[A-Za-z0-9_-]+")
_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_SCALAR = re.compile(r"[^,\]}#\r\n]*")


class Note(Struct, frozen=True):
    """Something to say about one place of a file; ``line`` 0: no line is known.

    ``kind``: "fault": wrong, or cannot be honoured; "changed": honoured in another
    way; "ignored": of no concern to a router.
    """

    file: str
    line: int
    field: str
    message: str
    kind: str = "fault"

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}" if self.line else self.file
        return f"{where}: {self.field}: {self.message}"


class ConfigFileError(ConfigError):
    """A configuration is wrong: ``errors`` are all its faults, each with its line.

    ``files`` are those that were read, as far as it came.
    """

    def __init__(self, errors: list[Note], files: tuple[str, ...] = ()) -> None:
        count = f"{len(errors)} errors" if len(errors) > 1 else "1 error"
        lines = "".join(f"\n  {error}" for error in errors)
        LLMBalanceError.__init__(self, f"{count} in the configuration:{lines}")
        self.errors = errors
        self.files = files
        self.field = errors[0].field if errors else ""
        self.value = None
        self.remedy = errors[0].message if errors else ""


class Document(Struct, frozen=True):
    """The values of a file and the line of each; ``twice`` are keys given twice."""

    file: str
    data: dict[str, Any]
    lines: dict[Path, int]
    twice: tuple[Path, ...] = ()

    def line(self, path: Path) -> int:
        """Return the line of a path, or of what encloses it; 0 when unknown."""
        for end in range(len(path), 0, -1):
            if path[:end] in self.lines:
                return self.lines[path[:end]]
        return 0

    def note(self, path: Path, message: str, kind: str = "fault") -> Note:
        """Return a note about a path of this file."""
        return Note(self.file, self.line(path), dotted(path), message, kind)

    @property
    def folder(self) -> FilePath:
        """Where relative paths in the file begin."""
        return FilePath(self.file).parent


def dotted(path: Path) -> str:
    """Return a path as people write it: backend[0].limits.rpm."""
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}"
    return text.removeprefix(".") or "(file)"


def read(source: str | FilePath | Mapping[str, Any]) -> Document:
    """Read a .toml, .yaml or .yml file, or take a dict as it is.

    Raises ConfigFileError when it is neither or cannot be parsed, OSError when it
    cannot be read.
    """
    if isinstance(source, Mapping):
        data = dict(source)
        return Document("(dict)", data, dict.fromkeys(_paths((), data), 0))
    path = FilePath(source)
    if path.suffix not in (".toml", ".yaml", ".yml"):
        raise ConfigFileError(
            [Note(str(path), 0, "(file)", "give a .toml, .yaml or .yml file")]
        )
    try:
        text = path.read_text("utf-8")
    except UnicodeDecodeError as error:
        raise ConfigFileError(
            [Note(str(path), 0, "(file)", f"is no UTF-8 text: {error.reason}")]
        ) from None
    return (_read_toml if path.suffix == ".toml" else _read_yaml)(str(path), text)


def _paths(path: Path, value: Any) -> Iterator[Path]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield (*path, key)
            yield from _paths((*path, key), inner)
    elif isinstance(value, list):
        for i, inner in enumerate(value):
            yield (*path, i)
            yield from _paths((*path, i), inner)


# -- TOML ------------------------------------------------------------------------


def _read_toml(file: str, text: str) -> Document:
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        where = re.search(r"at line (\d+)", str(error))
        line = int(where[1]) if where else text.count("\n") + 1
        raise ConfigFileError([Note(file, line, "(syntax)", str(error))]) from None
    return Document(file, data, _TomlScan(text).lines)


class _TomlScan:
    """Walks a text that is known to be valid TOML and notes the line of every key."""

    def __init__(self, text: str) -> None:
        self.text = text.replace("\r\n", "\n")
        self.at = 0
        self.lines: dict[Path, int] = {}
        self._counted = (0, 1)  # a position and its line, so that counting is linear
        self._tables: dict[Path, int] = {}  # arrays of tables: their newest index
        self._document()

    def _document(self) -> None:
        here: Path = ()
        while self._more():
            if self._next("["):
                here = self._header(array=self._next("["))
                continue
            self._pair(here)

    def _header(self, *, array: bool) -> Path:
        line = self._line()
        path: Path = ()
        keys = self._key()
        for i, key in enumerate(keys):
            path = (*path, key)
            if array and i == len(keys) - 1:
                self._tables[path] = self._tables.get(path, -1) + 1
            self.lines.setdefault(path, line)
            if path in self._tables:
                path = (*path, self._tables[path])
                self.lines.setdefault(path, line)
        self.at = self.text.index("]", self.at) + (2 if array else 1)
        return path

    def _pair(self, here: Path) -> None:
        line = self._line()
        for key in self._key():
            here = (*here, key)
            self.lines.setdefault(here, line)
        self.at = self.text.index("=", self.at) + 1
        self._value(here)

    def _key(self) -> list[str]:
        """A dotted key, from the first part on to behind the last."""
        keys = []
        while True:
            self._more()
            if self.text[self.at] in "\"'":
                start = self.at
                self._string()
                keys.append(str(tomllib.loads(f"k={self.text[start : self.at]}")["k"]))
            else:
                match = _BARE.match(self.text, self.at)
                assert match is not None
                keys.append(match[0])
                self.at = match.end()
            self._more()
            if not self._next("."):
                return keys

    def _value(self, path: Path) -> None:
        self._more()
        if self.text[self.at] in "\"'":
            self._string()
        elif self._next("["):
            index = 0
            while self._more() and not self._next("]"):
                self.lines.setdefault((*path, index), self._line())
                self._value((*path, index))
                self._more()
                self._next(",")
                index += 1
        elif self._next("{"):
            while self._more() and not self._next("}"):
                self._pair(path)
                self._more()
                self._next(",")
        else:
            match = _SCALAR.match(self.text, self.at)
            assert match is not None
            self.at = match.end()

    def _string(self) -> None:
        quote = self.text[self.at]
        if self.text.startswith(quote * 3, self.at):
            quote *= 3
        self.at += len(quote)
        while not self.text.startswith(quote, self.at):
            escaped = quote[0] == '"' and self.text[self.at] == "\\"
            self.at += 2 if escaped else 1
        self.at += len(quote)
        while len(quote) == 3 and self.text.startswith(quote[0], self.at):
            self.at += 1  # up to two quotes may stand before the closing three

    def _more(self) -> bool:
        match = _BLANK.match(self.text, self.at)
        assert match is not None
        self.at = match.end()
        return self.at < len(self.text)

    def _next(self, token: str) -> bool:
        found = self.text.startswith(token, self.at)
        self.at += len(token) * found
        return found

    def _line(self) -> int:
        at, line = self._counted
        line += self.text.count("\n", at, self.at)
        self._counted = (self.at, line)
        return line


# -- YAML ------------------------------------------------------------------------


def _read_yaml(file: str, text: str) -> Document:
    try:
        yaml: Any = import_module("yaml")
    except ImportError:
        raise ConfigFileError(
            [Note(file, 0, "(file)", "YAML needs PyYAML: pip install PyYAML")]
        ) from None
    loader = yaml.SafeLoader(text)
    try:
        node = loader.get_single_node()
        walk = _YamlWalk()
        if node is not None:
            walk.node(node, ())
        data = loader.construct_document(node) if node is not None else {}
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or "is no YAML"
        line = mark.line + 1 if mark is not None else 0
        raise ConfigFileError([Note(file, line, "(syntax)", problem)]) from None
    except RecursionError:
        raise ConfigFileError(
            [Note(file, 0, "(syntax)", "an anchor contains itself")]
        ) from None
    finally:
        loader.dispose()
    if walk.cyclic:
        raise ConfigFileError([Note(file, 0, "(syntax)", "an anchor contains itself")])
    if not isinstance(data, dict):
        raise ConfigFileError([Note(file, 1, "(file)", "must be a mapping at the top")])
    return Document(file, data, walk.lines, tuple(walk.twice))


class _YamlWalk:
    """Notes the line of every key of a YAML tree; what an anchor repeats only once."""

    def __init__(self) -> None:
        self.lines: dict[Path, int] = {}
        self.twice: list[Path] = []
        self.cyclic = False
        self._begun: set[int] = set()
        self._ended: set[int] = set()

    def node(self, node: Any, path: Path) -> None:
        if isinstance(node.value, str):
            return
        if id(node) in self._begun:
            self.cyclic = self.cyclic or id(node) not in self._ended
            return
        self._begun.add(id(node))
        if node.id == "mapping":
            self._mapping(node, path)
        else:
            for i, value in enumerate(node.value):
                self.lines[(*path, i)] = value.start_mark.line + 1
                self.node(value, (*path, i))
        self._ended.add(id(node))

    def _mapping(self, node: Any, path: Path) -> None:
        seen = set()
        for key, value in node.value:
            here = (*path, str(key.value))
            if here in seen:
                self.twice.append(here)
            seen.add(here)
            self.lines[here] = key.start_mark.line + 1
            self.node(value, here)
