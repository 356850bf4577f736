"""What a table of a file inherits from the tables below it.

    [defaults]  <-- [provider.X] <-- [[backend]]        of the provider X
    [defaults.group]             <-- [group.NAME]       and groups without a table

Tables in tables (limits, timeouts, options, ...) are merged key by key, lists replaced.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .._fleet._groups import CHAINS

GROUPS = ("defaults", "group")  # where the defaults of groups stand
OF_ONE = ("backends", "aliases")  # what they cannot say


def merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Lay one table over another, tables in them key by key."""
    made = dict(below)
    for key, value in above.items():
        old = made.get(key)
        both = isinstance(old, Mapping) and isinstance(value, Mapping)
        made[key] = merge(old, value) if both else value  # type: ignore[arg-type]
    return made


def lay_over(below: Mapping[str, Any], name: str, table: Any) -> Any:
    """Lay the table of a group over the defaults; no group falls back to itself."""
    if not isinstance(table, Mapping):
        return table
    made = merge(below, table)
    for chain in CHAINS:
        inherited = made.get(chain)
        if chain not in table and isinstance(inherited, list):
            made[chain] = [other for other in inherited if other != name]
    return made
