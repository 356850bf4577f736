"""Write the notebooks of this folder and run them from a clean state.

    python examples/build.py [NAME ...]

Each notebook is a file of cells under examples/cells/: "# %%" begins code, "# %% [md]"
begins text. What is written is what was executed; outputs stay small. Needs the extra
``notebook``, SciPy, nbclient and ipykernel.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
CELLS = HERE / "cells"


def cells(text: str) -> list[tuple[str, str]]:
    """Return (kind, source) of every cell."""
    found: list[tuple[str, list[str]]] = []
    for line in text.splitlines():
        if line.startswith("# %%"):
            found.append(("markdown" if "[md]" in line else "code", []))
        elif found:
            found[-1][1].append(line)
    parts = []
    for kind, lines in found:
        if kind == "markdown":
            lines = [line.removeprefix("#").removeprefix(" ") for line in lines]
        parts.append((kind, "\n".join(lines).strip()))
    return parts


def notebook(name: str) -> Any:
    """Return the notebook of a file of cells, not yet executed."""
    from nbformat import v4

    made = v4.new_notebook()
    made.metadata["kernelspec"] = {
        "name": "python3",
        "display_name": "Python 3",
        "language": "python",
    }
    text = (CELLS / f"{name}.py").read_text(encoding="utf-8")
    for i, (kind, source) in enumerate(cells(text)):
        make = v4.new_markdown_cell if kind == "markdown" else v4.new_code_cell
        cell = make(source)
        cell["id"] = f"cell-{i}"
        made.cells.append(cell)
    return made


def execute(name: str, folder: Path) -> Any:
    """Run a notebook in a kernel of its own, in an empty folder."""
    from nbclient import NotebookClient

    made = notebook(name)
    client = NotebookClient(
        made, timeout=120, resources={"metadata": {"path": str(folder)}}
    )
    client.execute()
    for cell in made.cells:  # times of this run are of no interest
        cell.metadata.pop("execution", None)
    return made


def names() -> list[str]:
    """Return the notebooks, by the names of their cells' files."""
    return sorted(path.stem for path in CELLS.glob("*.py"))


def main() -> None:
    import nbformat

    for name in sys.argv[1:] or names():
        with tempfile.TemporaryDirectory() as folder:
            made = execute(name, Path(folder))
        path = HERE / f"{name}.ipynb"
        nbformat.write(made, path)
        print(f"{path.name}: {len(made.cells)} cells, {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
