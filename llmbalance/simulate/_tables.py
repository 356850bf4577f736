"""Rows of figures as text, HTML, CSV and data frames."""

from __future__ import annotations

import csv
from os import PathLike
from typing import Any

NOTEBOOK = "pip install 'llmbalance[notebook]'"
_SHOWN = {
    "strategy": "strategy",
    "cost": "cost $",
    "success": "success",
    "ttft_p50": "TTFT p50 s",
    "p50": "p50 s",
    "p95": "p95 s",
    "p99": "p99 s",
    "refusals": "429s sent",
    "absorbed": "absorbed",
}
_FORMATS = {"cost": "{:.4f}", "success": "{:.3%}", "strategy": "{}"}


def data_frame(rows: Any) -> Any:
    """Return rows, or columns by name, as a DataFrame."""
    try:
        import pandas
    except ImportError:
        raise ImportError(f"to_pandas() needs pandas: {NOTEBOOK}") from None
    return pandas.DataFrame(rows)


def write_csv(path: str | PathLike[str], rows: list[dict[str, Any]]) -> None:
    """Write rows of equal keys to a file, the keys above them."""
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def cells_of(row: dict[str, Any]) -> list[str]:
    """One line of a summary table, with half an interval where there is one."""
    cells = []
    for key in _SHOWN:
        shape = _FORMATS.get(key, "{:.2f}")
        plain = isinstance(row[key], float | str)
        cell = shape.format(row[key]) if plain else f"{row[key]:,}"
        if row.get(f"{key}_pm"):
            cell += f" ±{shape.format(row[f'{key}_pm'])}"
        cells.append(cell)
    return cells


def table(results: list[dict[str, Any]]) -> str:
    """Summaries as lines of text."""
    lines = [list(_SHOWN.values()), *(cells_of(row) for row in results)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def html_table(results: list[dict[str, Any]]) -> str:
    """Summaries as an HTML table."""
    from html import escape

    def line(tag: str, cells: list[str]) -> str:
        inner = "".join(f"<{tag}>{escape(cell)}</{tag}>" for cell in cells)
        return f"<tr>{inner}</tr>"

    body = "".join(line("td", cells_of(row)) for row in results)
    return f"<table>{line('th', list(_SHOWN.values()))}{body}</table>"
