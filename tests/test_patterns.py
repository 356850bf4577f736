"""A pattern is only skipped where it could not have matched."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmbalance._tasks._patterns import must_contain


@pytest.mark.parametrize(
    ("pattern", "needed"),
    [
        (r"\b(?:integral|derivative) of\b", " of"),
        (r"\bSELECT\b", "SELECT"),
        (r"^abc$", "abc"),
        (r"x\.y", "x.y"),
        (r"\(def\)", "(def)"),
        (r"(a\)|b)cd", "cd"),
        (r"([)]|b)cd", "cd"),
        (r"[]a]bcd", "bcd"),
        (r"[^]x]yz", "yz"),
        (r"(?P<n>a)bc(?P=n)", "bc"),
        (r"(?i:abc)def", "def"),
        (r"ab?c+d", "a"),
        (r"abc*", "ab"),
        (r"abc??de", "ab"),
        (r"ab{0,3}cde", "cde"),
        (r"ab{,3}", "a"),
        (r"(?:abc)?de", "de"),
        (r"(?!abc)d", "d"),
    ],
)
def test_what_every_match_contains_is_found(pattern: str, needed: str) -> None:
    assert must_contain(re.compile(pattern)) == needed


@pytest.mark.parametrize(
    "pattern",
    [
        "",
        "a|b",
        "(a|b)",
        "a?",
        "(?i)select",
        "(?x) a b",
        "(?x:a # )\n)b",
        "(?#[)abc",
        r"\x41b",
        r"\101b",
        r"(a)\1b",
    ],
)
def test_where_nothing_is_sure_nothing_is_told(pattern: str) -> None:
    assert must_contain(re.compile(pattern)) is None


_ATOMS = st.sampled_from(
    ["a", "bc", r"\.", r"\d", r"\b", "[ab]", "[]b]", "(a|bc)", "(?:ab)", ".", "^", "$"]
)
_TIMES = st.sampled_from(["", "", "", "?", "*", "+", "{2}", "{0,1}", "??", "{,2}"])


@given(
    st.lists(st.tuples(_ATOMS, _TIMES), min_size=1, max_size=6),
    st.text("abc.1] ", max_size=12),
)
def test_no_text_without_it_matches(parts: list[tuple[str, str]], text: str) -> None:
    written = "".join(
        atom + (times if atom[0] not in "^$" else "") for atom, times in parts
    )
    try:
        pattern = re.compile(written)
    except re.error:
        return
    needed = must_contain(pattern)
    if needed is not None and pattern.search(text):
        assert needed in text
