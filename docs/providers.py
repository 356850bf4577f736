"""Writes the generated part of docs/providers.md: what every provider offers.

    python docs/providers.py            ./dev docs runs it

The table comes from the dialects themselves; tests/test_providers_docs.py holds that
the page is current.
"""

from __future__ import annotations

from pathlib import Path

from llmbalance.providers import PROVIDERS, dialect
from llmbalance.providers._features import feature_table

PAGE = Path(__file__).with_suffix(".md")
BEGIN, END = "<!-- generated: {} -->\n", "<!-- end of generated: {} -->\n"


def settings_table() -> str:
    """Provider, key variables, base-URL variables, address, in Markdown."""
    lines = ["| provider | key from | address from | else |", "|---|---|---|---|"]
    for name in PROVIDERS:
        cls = dialect(name)
        address = cls.default_base_url
        keys, bases = _code(cls.key_env), _code(cls.base_env)
        lines.append(f"| `{name}` | {keys} | {bases} | {address or '(see below)'} |")
    return "\n".join(lines) + "\n"


def _code(names: tuple[str, ...]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def fill(page: str) -> str:
    """Return the page with its generated parts as they should be."""
    for name, text in (("features", feature_table()), ("settings", settings_table())):
        begin, end = BEGIN.format(name), END.format(name)
        head, found, rest = page.partition(begin)
        _, closed, tail = rest.partition(end)
        if not found or not closed:
            raise SystemExit(f"{PAGE}: the marks {begin.strip()} ... are missing")
        page = f"{head}{begin}\n{text}\n{end}{tail}"
    return page


if __name__ == "__main__":
    PAGE.write_text(fill(PAGE.read_text()))
