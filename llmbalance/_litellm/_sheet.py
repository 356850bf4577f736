"""A LiteLLM proxy configuration as one sheet: includes joined, references resolved.

    Sheet("config.yaml").section("router_settings") -> plain values
                        .note(("router_settings", "x"), "why", "ignored")

Every value keeps its place, also when it comes from an included file, so that each
note names file and line. ``environment_variables`` of the file hold for the file alone;
the process's environment is not touched.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path as FilePath
from typing import Any

from .._configfile._places import ConfigFileError, Document, Note, Path, dotted, read

_REFERENCE = re.compile(r"os\.environ/(?P<a>\w+)|\$\{(?P<b>\w+)\}")


class Sheet:
    """The joined sections of a configuration, and what was noted about them."""

    def __init__(self, source: str | FilePath | Mapping[str, Any]) -> None:
        self.document = read(source)
        self.notes: list[Note] = []
        self.rows: list[tuple[dict[str, Any], Document, Path]] = []
        self._sections: dict[str, tuple[Any, Document]] = {}
        own = () if isinstance(source, Mapping) else (self.document.file,)
        self.files = list(own)  # that were read, or could not be
        self._join(self.document, (self.document.file,))
        self.variables = self._variables()

    def _join(self, document: Document, open_files: tuple[str, ...]) -> None:
        """Take a file's sections over; lists grow, everything else is replaced."""
        for path in document.twice:
            self._add(document, path, "is given twice: the last one holds", "changed")
        for name, value in document.data.items():
            if name == "model_list" and isinstance(value, list):
                self._take_rows(document, value)
            elif name != "include":
                old = self._sections.get(name, (None, document))[0]
                both = isinstance(old, list) and isinstance(value, list)
                self._sections[name] = (old + value if both else value, document)
        names = document.data.get("include") or []
        if not isinstance(names, list):
            self._add(document, ("include",), "give a list of files", "fault")
            return
        for i, name in enumerate(names):
            file = document.folder / str(name)
            if str(file) in open_files:
                self._add(document, ("include", i), "the file includes itself", "fault")
                continue
            self.files.append(str(file))
            try:
                self._join(read(file), (*open_files, str(file)))
            except OSError as error:
                why = f"cannot be read: {error.strerror}"
                self._add(document, ("include", i), why, "fault")

    def _take_rows(self, document: Document, rows: list[Any]) -> None:
        for i, row in enumerate(rows):
            path: Path = ("model_list", i)
            if isinstance(row, dict):
                self.rows.append((row, document, path))
            else:
                self._add(document, path, "dropped: is no mapping", "fault")

    def _variables(self) -> dict[str, str]:
        own = self.section("environment_variables")
        return {name: str(value) for name, value in own.items() if value is not None}

    # -- notes ---------------------------------------------------------------

    def _add(self, document: Document, path: Path, message: str, kind: str) -> None:
        note = document.note(path, message, kind)
        if note not in self.notes:
            self.notes.append(note)

    def note(self, path: Path, message: str, kind: str = "fault") -> None:
        """Note something about a path that begins with a section's name."""
        home = self._sections.get(str(path[0]), (None, self.document))[1]
        self._add(home, path, message, kind)

    def note_row(
        self, index: int, path: Path, message: str, kind: str = "fault"
    ) -> None:
        """Note something about a path inside the row ``index`` of all rows."""
        _, document, start = self.rows[index]
        name = f"{dotted((*start, *path))} ({self.row_name(index)})"
        note = Note(document.file, document.line((*start, *path)), name, message, kind)
        if note not in self.notes:
            self.notes.append(note)

    def row_name(self, index: int) -> str:
        """Return the group a row belongs to, for notes."""
        return str(self.rows[index][0].get("model_name", "no model_name"))

    def stop(self) -> ConfigFileError:
        """Return the error that lists every fault."""
        faults = [note for note in self.notes if note.kind == "fault"]
        return ConfigFileError(faults, tuple(self.files))

    # -- values --------------------------------------------------------------

    def section(self, name: str) -> dict[str, Any]:
        """Return a section as a mapping, its references still unresolved."""
        value, _ = self._sections.get(name, ({}, None))
        if value is None or isinstance(value, dict):
            return value or {}
        self.note((name,), "must be a mapping: it is left out")
        return {}

    def list_section(self, name: str) -> list[Any]:
        """Return a section that is a list; empty when it is none."""
        value, _ = self._sections.get(name, ([], None))
        return value if isinstance(value, list) else []

    def sections(self) -> list[str]:
        """Return the names of all sections but the model list."""
        return list(self._sections)

    def resolve(self, value: Any) -> tuple[Any, str]:
        """Return a value with its references resolved, and what is wrong with it.

        ``os.environ/NAME`` and ``${NAME}`` are taken from the file's variables, then
        from the environment; without the variable the value is None.
        """
        if isinstance(value, str):
            match = _REFERENCE.fullmatch(value.strip())
            if match is None:
                return value, ""
            name = match["a"] or match["b"]
            found = self.variables.get(name, os.environ.get(name))
            if found is None:
                return None, f"the environment variable {name} is not set"
            return found, ""
        if isinstance(value, dict):
            pairs = {k: self.resolve(v) for k, v in value.items()}
            wrong = next((w for _, w in pairs.values() if w), "")
            return {k: v for k, (v, _) in pairs.items()}, wrong
        if isinstance(value, list):
            items = [self.resolve(v) for v in value]
            return [v for v, _ in items], next((w for _, w in items if w), "")
        return value, ""

    def secret(self, value: Any) -> tuple[str | None, str]:
        """As ``resolve``, but what lies in the environment stays there: "env:NAME"."""
        match = _REFERENCE.fullmatch(value.strip()) if isinstance(value, str) else None
        found, wrong = self.resolve(value)
        if match is None or found is None:
            return None if found is None else str(found), wrong
        name = match["a"] or match["b"]
        return (str(found) if name in self.variables else f"env:{name}"), wrong

    def is_shell_style(self, value: Any) -> bool:
        """Whether a value is written ${NAME}, which LiteLLM takes literally."""
        return isinstance(value, str) and bool(
            _REFERENCE.fullmatch(value.strip()) and value.strip().startswith("$")
        )
