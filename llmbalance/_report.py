"""Dicts that print as tables and show as HTML in a notebook."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ._errors import ConfigError

Rows = list[dict[str, Any]]
_NOTEBOOK = "pip install 'llmbalance[notebook]'"


class Report(dict[str, Any]):
    """A dict with a table to look at; ``rows()`` are the table's lines as dicts.

    ``columns`` maps keys of the rows to formats (see ``show``), the first names a row;
    ``chart`` is the column that ``plot`` draws when none is named.
    """

    def __init__(
        self,
        data: Mapping[str, Any],
        rows: Rows,
        columns: Mapping[str, str],
        *,
        chart: str | None = None,
    ) -> None:
        super().__init__(data)
        self._rows = rows
        self._columns = columns
        self._chart = chart

    def rows(self) -> Rows:
        """Return the lines of the table, for a DataFrame or a CSV writer."""
        return [dict(row) for row in self._rows]

    def to_pandas(self) -> Any:
        """Return the table as a pandas DataFrame (needs the ``notebook`` extra)."""
        try:
            import pandas
        except ImportError:
            raise ImportError(f"to_pandas() needs pandas: {_NOTEBOOK}") from None
        return pandas.DataFrame(self._rows)

    def to_csv(self, path: str | Path) -> None:
        """Write the table's lines to a CSV file, one column for each plain value."""
        import csv

        first = self._rows[0] if self._rows else self._columns
        names = [name for name in first if self._is_plain(name)]
        with open(path, "w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, names, extrasaction="ignore")
            writer.writeheader()
            writer.writerows(self._rows)

    def _is_plain(self, name: str) -> bool:
        return not any(isinstance(row[name], dict | list) for row in self._rows)

    def plot(self, column: str | None = None, ax: Any = None) -> Any:
        """Draw a column as bars and return the axes (needs the ``notebook`` extra).

        ConfigError when the table has no such column of numbers.
        """
        known = [name for name, form in self._columns.items() if form]
        column = column or self._chart or known[0]
        if column not in known:
            raise ConfigError("column", column, f"use one of {', '.join(known)}")
        try:
            from matplotlib import pyplot
        except ImportError:
            raise ImportError(f"plot() needs matplotlib: {_NOTEBOOK}") from None
        name = next(iter(self._columns))
        rows = [row for row in self._rows if row[name] != "total"]
        ax = pyplot.subplots()[1] if ax is None else ax
        values = [row[column] or 0 for row in rows]
        bars = ax.barh([str(row[name]) for row in rows], values)
        form = self._columns[column]
        ax.bar_label(bars, [show(row[column], form) for row in rows], padding=3)
        ax.invert_yaxis()
        ax.set_xlabel(column.replace("_", " "))
        return ax

    def _cells(self) -> list[list[str]]:
        return [
            [show(row[k], f) for k, f in self._columns.items()] for row in self._rows
        ]

    def __str__(self) -> str:
        table = [list(self._columns), *self._cells()]
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        return "\n".join(
            "  ".join(
                cell.ljust(width) if i == 0 else cell.rjust(width)
                for i, (cell, width) in enumerate(zip(line, widths, strict=True))
            ).rstrip()
            for line in table
        )

    def _repr_html_(self) -> str:
        from html import escape

        def line(tag: str, cells: Iterable[str]) -> str:
            return (
                "<tr>" + "".join(f"<{tag}>{escape(c)}</{tag}>" for c in cells) + "</tr>"
            )

        body = "".join(line("td", cells) for cells in self._cells())
        return f"<table>{line('th', self._columns)}{body}</table>"


def show(value: Any, form: str) -> str:
    """Format a cell: "" as it is, "%" a share, "$" USD, "s" seconds, "n" a count,
    "." a number to four digits."""
    if value is None:
        return "-"
    if form == "%":
        return f"{value:.1%}"
    if form == "$":
        return f"${value:,.4f}"
    if form == "s":
        return f"{value:.3f}s"
    if form == ".":
        return f"{value:.4g}"
    if form == "n":
        return f"{value:,}"
    return str(value)
