"""Every example of docs/money.md runs and gives what it shows."""

from __future__ import annotations

import doctest
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[1] / "docs/money.md"


def test_the_examples_of_the_page_on_money_give_what_they_show(
    caplog: pytest.LogCaptureFixture,
) -> None:
    text = PAGE.read_text().replace("```", "")  # a fence is no expected output
    test = doctest.DocTestParser().get_doctest(text, {}, PAGE.name, str(PAGE), 0)
    told: list[str] = []
    result = doctest.DocTestRunner().run(test, out=told.append)
    assert result.failed == 0, "".join(told)
    assert result.attempted > 20
