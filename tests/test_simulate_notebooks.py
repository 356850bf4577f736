"""The notebooks in examples/ run from a clean state and show what they say."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"
NAMES = sorted(path.stem for path in (EXAMPLES / "cells").glob("*.py"))
LARGEST = 300_000  # bytes


@pytest.fixture(scope="module")
def build() -> ModuleType:
    spec = importlib.util.spec_from_file_location("build", EXAMPLES / "build.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_there_are_five() -> None:
    assert [name[0] for name in NAMES] == list("12345")


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_holds_the_cells_of_its_source(name: str, build: ModuleType) -> None:
    written = json.loads((EXAMPLES / f"{name}.ipynb").read_text())
    source = (EXAMPLES / "cells" / f"{name}.py").read_text()
    found = [(c["cell_type"], "".join(c["source"])) for c in written["cells"]]
    assert found == build.cells(source)
    assert (EXAMPLES / f"{name}.ipynb").stat().st_size < LARGEST
    outputs = [c["outputs"] for c in written["cells"] if c["cell_type"] == "code"]
    assert any(outputs)
    assert not any(o["output_type"] == "error" for some in outputs for o in some)


@pytest.mark.filterwarnings("ignore")  # those of notebook libraries are their own
@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_runs_from_a_clean_state(
    name: str, build: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("nbclient", "ipykernel", "pandas", "matplotlib", "scipy"):
        pytest.importorskip(module)
    monkeypatch.setenv("PYTHONPATH", str(EXAMPLES.parent))
    monkeypatch.delenv("MY_TRACE", raising=False)
    made = build.execute(name, tmp_path)
    assert all(
        cell.execution_count is not None
        for cell in made.cells
        if cell.cell_type == "code"
    )
