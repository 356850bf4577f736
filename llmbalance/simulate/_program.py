"""Linear programs for SciPy, written down piece by piece."""

from __future__ import annotations

from typing import Any

from .._errors import ConfigError


class Program:
    """A linear program as it grows: columns, and rows of (column, factor)."""

    def __init__(self) -> None:
        self.price: list[float] = []
        self.most: list[float | None] = []
        self.rows: list[tuple[list[tuple[int, float]], float]] = []  # sum <= right side

    def column(self, price: float, most: float | None = None) -> int:
        self.price.append(price)
        self.most.append(most)
        return len(self.price) - 1

    def row(self, terms: list[tuple[int, float]], right: float) -> int:
        self.rows.append((terms, right))
        return len(self.rows) - 1

    def solve(self) -> Any:
        try:
            from scipy.optimize import linprog  # type: ignore[import, unused-ignore]
            from scipy.sparse import csr_matrix  # type: ignore[import, unused-ignore]
        except ImportError:
            raise ConfigError("bound", True, "pip install scipy") from None
        at = [r for r, (terms, _) in enumerate(self.rows) for _ in terms]
        terms = [term for terms, _ in self.rows for term in terms]
        shape = (len(self.rows), len(self.price))
        matrix = csr_matrix(([f for _, f in terms], (at, [c for c, _ in terms])), shape)
        return linprog(
            self.price,
            A_ub=matrix,
            b_ub=[right for _, right in self.rows],
            bounds=[(0, most) for most in self.most],
            method="highs",
        )
