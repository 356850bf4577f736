"""The columns of a trace: how they are kept, and what is asked of them."""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from operator import le
from typing import Protocol

from .._checks import positive
from .._errors import ConfigError

_LAST = 2**61  # ns; 73 years
_LAST_SESSION = 100_000_000  # a simulation remembers where each was: 4 bytes


class Columns(Protocol):
    """What a Trace keeps; it says what each is."""

    at: array[int]
    input: array[int]
    output: array[int]
    group: array[int] | None
    groups: tuple[str, ...]
    most: array[int] | None
    session: array[int] | None
    block: array[int] | None
    blocks: array[int] | None
    block_tokens: int


def check(trace: Columns) -> None:
    """Refuse a trace whose columns do not fit together or lie out of range."""
    n = len(trace.at)
    positive("block_tokens", trace.block_tokens)
    for name in ("input", "output", "group", "most", "session"):
        column = getattr(trace, name)
        if column is not None and len(column) != n:
            raise ConfigError(name, len(column), f"`at` has {n} requests")
    if not n:
        return
    if trace.at[0] < 0 or any(a > b for a, b in zip(trace.at, trace.at[1:])):  # noqa: B905
        raise ConfigError("at", trace.at[0], "times must ascend from 0 (ns)")
    if trace.at[-1] > _LAST:
        raise ConfigError("at", trace.at[-1], f"give ns since the start, to {_LAST}")
    for name, least in (("input", 1), ("output", 0), ("most", 0)):
        column = getattr(trace, name)
        if column is not None and min(column) < least:
            raise ConfigError(name, min(column), f"give tokens >= {least}")
    if trace.session is not None and max(trace.session) > _LAST_SESSION:
        told = f"number sessions from 1 on, {_LAST_SESSION:,} at most"
        raise ConfigError("session", max(trace.session), told)
    if trace.group is not None and max(trace.group) >= len(trace.groups):
        raise ConfigError("group", max(trace.group), "an index of `groups`")
    if (trace.block is None) != (trace.blocks is None) or (
        trace.blocks is not None and len(trace.blocks) != n + 1
    ):
        raise ConfigError("blocks", None, "give `block` with n + 1 offsets")
    if trace.block is not None and trace.blocks is not None:
        ascend = all(map(le, trace.blocks, trace.blocks[1:]))
        if not ascend or trace.blocks[-1] > len(trace.block):
            told = "offsets must ascend, to the length of `block` at most"
            raise ConfigError("blocks", trace.blocks[-1], told)


def column_of(name: str, code: str, values: Iterable[int]) -> array[int]:
    """Return values as an array of machine numbers; ConfigError names the field."""
    if isinstance(values, array) and values.typecode == code:
        return values
    try:
        return array(code, values)
    except (OverflowError, TypeError) as error:
        raise ConfigError(name, "(a column)", f"whole numbers: {error}") from None


def gather(rows: Iterable[tuple[Columns, int]]) -> tuple[array[int], array[int]]:
    """The prompt blocks of some requests, and their offsets."""
    block, blocks = array("Q"), array("Q", [0])
    for trace, i in rows:
        assert trace.block is not None and trace.blocks is not None
        block += trace.block[trace.blocks[i] : trace.blocks[i + 1]]
        blocks.append(len(block))
    return block, blocks
