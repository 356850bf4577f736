"""What a regular expression cannot match without: a text to look for first.

    \\b(?:integral|derivative) of\\b     " of"      found in 0.3 ns a character,
    (?i)select                         None       the search itself 2 to 10

Only what is surely needed counts: plain characters outside of all groups, classes and
alternatives that no quantifier may leave out.
"""

from __future__ import annotations

import re

_IGNORES = re.IGNORECASE | re.VERBOSE
_REMARKS = re.compile(r"\(\?(?:#|[a-zA-Z]*x)")  # where a bracket may mean nothing
_TOKEN = re.compile(
    r"""
      \\ (?P<kind> [AbBdDsSwWZ])              # a place, or any of several characters
    | \\ (?P<plain> [^A-Za-z0-9])             # an escaped character
    | (?P<opaque> \\ )                        # numbers of groups, codes of characters
    | (?P<class> \[ \^? \]? (?: \\. | [^\]\\] )* \] )
    | (?P<open> \( )
    | (?P<close> \) )
    | (?P<quantifier> [*?] | \{ \d* ,? \d* \} )
    | (?P<special> [.^$+\[{] )                # of these + leaves nothing out
    | (?P<either> \| )
    | (?P<text> . )
    """,
    re.VERBOSE | re.DOTALL,
)


def must_contain(pattern: re.Pattern[str]) -> str | None:
    """Return a text that every match of ``pattern`` contains, the longest found.

    None where there is none, or where none can be told for sure.
    """
    if pattern.flags & _IGNORES or _REMARKS.search(pattern.pattern):
        return None
    found, run, depth = "", "", 0
    for token in _TOKEN.finditer(pattern.pattern):
        kind, text = token.lastgroup, token[0]
        if kind == "opaque":
            return None
        if kind == "open" or kind == "close":
            depth += 1 if kind == "open" else -1
        elif depth:
            continue
        elif kind == "either":
            return None
        elif kind in ("text", "plain"):
            run += text[-1]
            continue
        if kind == "quantifier":  # it may leave out what stands before it
            run = run[:-1]
        found, run = max(found, run, key=len), ""
    return max(found, run, key=len) or None
