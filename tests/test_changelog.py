"""CHANGELOG.md tells of the version that pyproject.toml builds."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

TOP = Path(__file__).parents[1]
HEADINGS = re.findall(r"^## \[([^]]+)\](.*)$", (TOP / "CHANGELOG.md").read_text(), re.M)


def test_what_is_not_released_stands_on_top() -> None:
    assert HEADINGS[0] == ("Unreleased", "")


def test_the_newest_version_is_the_one_that_is_built() -> None:
    with (TOP / "pyproject.toml").open("rb") as file:
        version = tomllib.load(file)["project"]["version"]
    assert HEADINGS[1][0] == version


def test_every_version_has_its_date() -> None:
    undated = [
        version
        for version, rest in HEADINGS[1:]
        if not re.fullmatch(r" - \d{4}-\d{2}-\d{2}", rest)
    ]
    assert undated == []
