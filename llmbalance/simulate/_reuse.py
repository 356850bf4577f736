"""What prompt caches could have saved at the most, whatever went where.

A provider keeps what it was sent, so a prompt is found only where its likes went
before. Requests fall into families (sessions); a block of a prompt that occurs in two
of them is common, the others are a family's own:

    common blocks    found if anybody sent them anywhere, and they are not too old
    own blocks       found at b only if one of the family went to b, not too long ago

So a request costs ``cold`` at a backend which none of its family used of late, and not
less than ``warm`` elsewhere. The cheapest way for a family is a walk through the sets
of backends that are warm, 2^B of them, in the order of its requests:

    {}  --1st to a-->  {a}  --2nd to a, warm-->  {a}  --3rd to b, cold-->  {a, b}

It never costs more than the truth: who is warm knows all that any of the family sent;
a set grows cold only when all of it is too old everywhere; and a request that another
of its family follows within ``patience`` (the order might have been changed) is taken
for warm everywhere. "Too old" counts from the end of the longest answer there may be:
at four sigma, but for one call in 30,000, or at the time-out where calls slow each
other down.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from ._fleet import Fleet
    from ._trace import Trace

_SIGMAS = 4.0
_TIMEOUT = 600.0  # s, of run()
MOST_BACKENDS = 6  # beyond, a family's own blocks count as common


class Reuse(NamedTuple):
    """Tokens of every prompt that may be found, at every backend; and families.

    ``turn[i]``: place of request i in its family ``family[i]``; ``fresh[i]``: all that
    its family sent before is too old.
    """

    cold: list[list[int]]
    warm: list[list[int]]
    family: list[int]
    turn: list[int]
    fresh: list[bool]


class _Memory:
    """How long the requests' prompts are kept at every backend."""

    def __init__(self, fleet: Fleet, patience: float) -> None:
        self.patience = patience
        self.services = [fleet.service(b.label).core(b) for b in fleet.backends]
        self.slow = [1.0] * len(self.services)
        for event in fleet.troubles:
            if event.kind == "slow":
                b = fleet.names.index(event.backend)
                self.slow[b] *= max(1.0, event.factor)

    @property
    def keeps(self) -> bool:
        return any(s["cache_life"] > 0 for s in self.services)

    def ends(self, at: float, input: int, output: int) -> list[float]:
        """When (s) a prompt that arrives at ``at`` is forgotten, if sent there."""
        return [
            at + self.patience + self._answer(b, input, output) + s["cache_life"]
            if s["cache_life"] > 0 and input >= s["cache_least"]
            else -math.inf
            for b, s in enumerate(self.services)
        ]

    def _answer(self, b: int, input: int, output: int) -> float:
        s = self.services[b]
        crowded = s["token_crowd"] > 0 or s["slots"] > 0 or s["serial"]
        if crowded or s["exponential"]:
            return _TIMEOUT
        first = s["ttft"] * math.exp(_SIGMAS * s["ttft_spread"])
        first *= max(1.0, s["tail_factor"]) if s["tail_share"] > 0 else 1.0
        rest = output * s["token"] * math.exp(_SIGMAS * s["token_spread"])
        return float(
            min(_TIMEOUT, (first + rest) * self.slow[b] + s["prefill"] * input)
        )

    def found(self, hit: list[int], input: int) -> list[int]:
        """What of these hits the providers would bill as such."""
        found = []
        for s, tokens in zip(self.services, hit, strict=True):
            tokens = min(tokens, input - 1)
            found.append(tokens if tokens >= max(1, s["cache_least"]) else 0)
        return found


def reuse(trace: Trace, fleet: Fleet, patience: float) -> Reuse | None:
    """Return what may be found where; None when nothing is kept or nothing comes back.

    ``patience``: how long a request may wait for a limit, s.
    """
    memory = _Memory(fleet, patience)
    blocks = trace.block is not None
    if not memory.keeps or not (blocks or trace.session is not None):
        return None
    family = _families(trace)
    soon = _soon(trace.at, family, patience)
    cold, warm = (_by_block if blocks else _by_session)(trace, family, memory)
    single = len(fleet.backends) > MOST_BACKENDS
    for i, near in enumerate(soon):
        if near or single:
            cold[i] = warm[i]
    found = Reuse(cold, warm, family, [], [])
    turns: dict[int, int] = {}
    ends: dict[int, float] = {}
    for i, name in enumerate(family):
        at = trace.at[i] / 1e9
        found.turn.append(turns.get(name, 0))
        turns[name] = found.turn[i] + 1
        found.fresh.append(ends.get(name, -math.inf) <= at)
        until = max(memory.ends(at, trace.input[i], trace.output[i]))
        ends[name] = max(ends.get(name, -math.inf), until)
        cold[i] = memory.found(cold[i], trace.input[i])
        warm[i] = memory.found(warm[i], trace.input[i])
    return found


def _pieces(trace: Trace, i: int) -> Any:
    assert trace.block is not None and trace.blocks is not None
    return trace.block[trace.blocks[i] : trace.blocks[i + 1]]


def _families(trace: Trace) -> list[int]:
    """The number of each request's family: its session, or else its first block."""
    numbers: dict[tuple[str, int], int] = {}
    family = []
    for i in range(len(trace)):
        key = "request", i
        if trace.session is not None and trace.session[i]:
            key = "session", trace.session[i]
        elif trace.block is not None and len(pieces := _pieces(trace, i)):
            key = "block", pieces[0]
        family.append(numbers.setdefault(key, len(numbers)))
    return family


def _soon(at: Any, keys: list[int], patience: float) -> list[bool]:
    """Whether one with the same key comes within ``patience`` after each."""
    after: dict[int, int] = {}
    soon = [False] * len(keys)
    for i in range(len(keys) - 1, -1, -1):
        soon[i] = after.get(keys[i], 1 << 62) - at[i] <= patience * 1e9
        after[keys[i]] = at[i]
    return soon


def _by_session(
    trace: Trace, family: list[int], memory: _Memory
) -> tuple[list[list[int]], list[list[int]]]:
    """Prompts are known by their session: the longest of it may be found."""
    none = [0] * len(memory.services)
    soon = _soon(trace.at, family, memory.patience)
    longest: dict[int, int] = {}
    warm = []
    for i, name in enumerate(family):
        known = trace.input[i] if soon[i] else longest.get(name, 0)
        warm.append([known] * len(none))
        tokens = trace.input[i] + trace.output[i]
        longest[name] = max(longest.get(name, 0), tokens)
    return [none] * len(family), warm


def _by_block(
    trace: Trace, family: list[int], memory: _Memory
) -> tuple[list[list[int]], list[list[int]]]:
    """Prompts are known by their blocks: the unbroken run from the start is found."""
    pieces = [_pieces(trace, i) for i in range(len(trace))]
    home: dict[int, int] = {}
    common: set[int] = set()
    for name, mine in zip(family, pieces, strict=True):
        for block in mine:
            if home.setdefault(block, name) != name:
                common.add(block)
    flat_at = [trace.at[i] for i, mine in enumerate(pieces) for _ in mine]
    flat = [block for mine in pieces for block in mine]
    near = _soon(flat_at, flat, memory.patience)
    until: dict[int, list[float]] = {}
    cold, warm, start = [], [], 0
    for i, mine in enumerate(pieces):
        at = trace.at[i] / 1e9
        shared = next((k for k, b in enumerate(mine) if b not in common), len(mine))
        runs = _runs(mine, near[start : start + len(mine)], until, at, memory)
        start += len(mine)
        warm.append([run * trace.block_tokens for run in runs])
        cold.append([min(run, shared) * trace.block_tokens for run in runs])
        ends = memory.ends(at, trace.input[i], trace.output[i])
        for block in mine:
            known = until.get(block)
            until[block] = ends if known is None else list(map(max, known, ends))
    return cold, warm


def _runs(
    blocks: Any,
    near: list[bool],
    until: dict[int, list[float]],
    at: float,
    memory: _Memory,
) -> list[int]:
    """How many blocks from the start every backend might know."""
    runs = []
    for b, service in enumerate(memory.services):
        run = 0
        if service["cache_life"] > 0:
            for block, again in zip(blocks, near, strict=True):
                if not again and (block not in until or until[block][b] <= at):
                    break
                run += 1
        runs.append(run)
    return runs
