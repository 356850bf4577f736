"""How much of what a strategy pays over the offline bound could anybody have saved?

    LLMBALANCE_RECORDED=DATA python benchmarks/hindsight.py [--json FILE] [--requests N]

A planner serves the trace of long prompts in the order it comes. It knows how long each
answer will be, what every cache holds and how full every limit is, and pays a price for
a unit of a scarce limit, the best found by trying. ``foresight`` is the number of
calls to come of the same conversation that it knows of: what it saves by that, no
strategy can that is not told. Every plan is then sent by the simulator, under the
limits' own rules and with failures, so what it pays can be paid: no bound is higher.
(Without DATA a made-up trace is served. It takes some minutes.)
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
from collections import Counter, defaultdict
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

from strategies import HOSTS, fleet

from llmbalance.simulate import Fleet, Trace, lower_bound, run

Row = dict[str, Any]

SCALE, LIFE, LEAST = 6.0, 300.0, 1024  # of the limits, of a cache (s), of its prompts
STOP = 0.95  # the share of a limit that calls may use
ALL = 1000  # no conversation is longer
# The three cheapest hosts; the others are never needed.  USD a million tokens, s.
NAMES = list(HOSTS)[:3]
RATES = [
    (float(p.input or 0), float(p.input or 0) / 4, float(p.output or 0))
    for p, *_ in HOSTS.values()
]
SPEEDS = [(ttft, token) for _, ttft, token, _ in HOSTS.values()]
BURSTS = [SCALE * (limits.tpm or 0) for *_, limits in HOSTS.values()]
Last = tuple[int, ...]  # the turn of the newest call at every host; -1: none


class Prices(NamedTuple):
    """USD a million tokens of the two scarce limits when half is in use; and more when
    all is."""

    bargain: float
    quick: float
    steep: float

    def of(self, used: list[float]) -> tuple[float, float, float]:
        high = [self.steep * (share - 0.5) for share in used]
        return (self.bargain + high[0], self.quick + high[1] / 2, 0.0)


class Talk:
    """A conversation: its requests, and what each finds of those before."""

    def __init__(self, trace: Trace, requests: list[int]) -> None:
        self.trace, self.requests = trace, requests
        self.last: Last = (-1,) * len(NAMES)
        self.sent: list[list[tuple[float, int]]] = [[] for _ in NAMES]  # answered, turn
        self.common = [
            [self._common(earlier, later) for earlier in requests[:turn]]
            for turn, later in enumerate(requests)
        ]

    def _common(self, earlier: int, later: int) -> int:
        """Tokens of the later prompt that the earlier one left in a cache."""
        trace = self.trace
        if trace.block is None or trace.blocks is None:
            tokens = trace.input[earlier] + trace.output[earlier]
        else:
            pieces = [
                trace.block[trace.blocks[i] : trace.blocks[i + 1]]
                for i in (earlier, later)
            ]
            same = itertools.takewhile(
                lambda pair: pair[0] == pair[1], zip(*pieces, strict=False)
            )
            tokens = trace.block_tokens * sum(1 for _ in same)
        tokens = min(tokens, trace.input[later] - 1)
        return tokens if tokens >= LEAST and trace.input[earlier] >= LEAST else 0

    def found(self, turn: int, host: int, now: float) -> int:
        """Tokens of this turn's prompt that the host's cache holds now."""
        return max(
            (
                self.common[turn][before]
                for answered, before in self.sent[host]
                if answered <= now < answered + LIFE
            ),
            default=0,
        )

    def expected(self, turn: int, host: int, last: Last) -> int:
        """The same for a turn to come, if nothing is answered late."""
        if last[host] < 0:
            return 0
        before = self.requests[last[host]]
        pause = (self.trace.at[self.requests[turn]] - self.trace.at[before]) / 1e9
        kept = pause < seconds(self.trace, before, host, 0) + LIFE
        return self.common[turn][last[host]] if kept else 0


def cost(trace: Trace, request: int, host: int, found: int) -> float:
    """USD, times a million."""
    new, read, answer = RATES[host]
    fresh = trace.input[request] - found
    return fresh * new + found * read + trace.output[request] * answer


def seconds(trace: Trace, request: int, host: int, found: int) -> float:
    ttft, token = SPEEDS[host]
    read = 30e-6 * (trace.input[request] - found)
    return ttft + read + trace.output[request] * token


def best_host(
    talk: Talk,
    turn: int,
    found: list[int],
    free: list[int],
    prices: tuple[float, ...],
    foresight: int,
) -> int:
    """The host, of those with room, with which the known rest is the cheapest."""
    trace = talk.trace
    states: dict[Last, tuple[float, int]] = {talk.last: (0.0, -1)}
    for k, request in enumerate(talk.requests[turn : turn + 1 + foresight], turn):
        units = trace.input[request] + trace.output[request]
        after: dict[Last, tuple[float, int]] = {}
        for last, (paid, first) in states.items():
            for host in free if k == turn else range(len(NAMES)):
                hit = found[host] if k == turn else talk.expected(k, host, last)
                total = paid + cost(trace, request, host, hit) + prices[host] * units
                then = (*last[:host], k, *last[host + 1 :])
                if then not in after or total < after[then][0]:
                    after[then] = total, host if k == turn else first
        states = after
    return min(states.values())[1]


def talks_of(trace: Trace) -> list[tuple[Talk, int]]:
    """The conversation of each request, and its turn there."""
    requests: dict[int, list[int]] = defaultdict(list)
    for i in range(len(trace)):
        name = trace.session[i] if trace.session is not None else 0
        requests[name or -i - 1].append(i)
    place: list[Any] = [None] * len(trace)
    for mine in requests.values():
        talk = Talk(trace, mine)
        for turn, i in enumerate(mine):
            place[i] = talk, turn
    return place


def plan(trace: Trace, prices: Prices, foresight: int) -> tuple[float, list[int]]:
    """USD, and where every request goes."""
    place = talks_of(trace)
    total, chosen = 0.0, []
    whole_at = [0.0] * len(NAMES)  # s: when all of a limit is free again
    for i, at in enumerate(trace.at):
        now = at / 1e9
        talk, turn = place[i]
        takes = [(trace.input[i] + trace.output[i]) / burst for burst in BURSTS[:3]]
        used = [max(whole - now, 0) / 60 for whole in whole_at]
        free = [h for h in range(len(NAMES)) if used[h] + takes[h] <= STOP] or [2]
        found = [talk.found(turn, h, now) for h in range(len(NAMES))]
        host = best_host(talk, turn, found, free, prices.of(used), foresight)
        whole_at[host] = max(whole_at[host], now) + 60 * takes[host]
        total += cost(trace, i, host, found[host])
        if trace.input[i] >= LEAST:
            answered = now + seconds(trace, i, host, found[host])
            talk.sent[host].append((answered, turn))
        talk.last = (*talk.last[:host], turn, *talk.last[host + 1 :])
        chosen.append(host)
    return total / 1e6, chosen


def best_plan(trace: Trace, foresight: int) -> list[int]:
    """The cheapest found by trying other prices, one after the other."""
    tried = {
        "bargain": (0.0, 0.1, 0.2, 0.3, 0.36, 0.42, 0.46),
        "quick": (0.0, 0.03, 0.06, 0.09, 0.12),
        "steep": (0.05, 0.1, 0.2, 0.4),
    }
    prices = Prices(0.36, 0.06, 0.2)
    best = plan(trace, prices, foresight)
    for _ in range(2):
        begun = prices
        for name, values in tried.items():
            for value in values:
                other = prices._replace(**{name: value})
                found = plan(trace, other, foresight)
                if found[0] < best[0]:
                    best, prices = found, other
        if prices == begun:
            break
    return best[1]


def again(trace: Trace, **columns: Any) -> Trace:
    """The trace with other columns."""
    for name in ("session", "block", "blocks", "block_tokens"):
        columns.setdefault(name, getattr(trace, name))
    return Trace(trace.at, trace.input, trace.output, **columns)


def sent(trace: Trace, chosen: list[int], seed: int) -> float:
    """USD that the simulator pays when every request goes where it is told; one that
    fails there goes elsewhere."""
    hosts = fleet(SCALE, [], keep=True)
    others = {name: [n for n in NAMES if n != name] for name in NAMES}
    hosts = Fleet(hosts.backends, services=hosts.services, fallbacks=others)
    told = again(trace, group=chosen, groups=NAMES)
    result = run(told, hosts, strategy="cost", seed=seed)
    assert result.success > 0.9999, "a plan that the limits do not allow"
    return result.cost


def named_if_followed(trace: Trace) -> Trace:
    """A session only for the conversations of more than one request."""
    assert trace.session is not None
    calls = Counter(trace.session)
    return again(trace, session=[s if calls[s] > 1 else 0 for s in trace.session])


def traffic(data: str | None, requests: int) -> Trace:
    if data is None:
        options: dict[str, Any] = {"input": (9000, 1.0), "output": (340, 0.8)}
        trace = Trace.poisson(0.7, 3600, seed=1, turns=2, **options)
    else:
        trace = Trace.from_mooncake(Path(data) / "traces/mooncake_conversation.jsonl")
    if len(trace) > requests:
        trace = trace.cut(0, trace.at[requests] / 1e9)
    return trace


def subjects(trace: Trace, repeats: int) -> Iterator[tuple[str, float]]:
    """What each of them pays, USD."""
    hosts = fleet(SCALE, [], keep=True)
    seeds = range(1, repeats + 1)
    if find_spec("scipy") is not None:
        yield "offline bound", lower_bound(trace, hosts).cost
    known = [(str(n), n) for n in (0, 1, 2)]
    for name, foresight in [("all", ALL), *reversed(known)]:
        chosen = best_plan(trace, foresight)
        paid = [sent(trace, chosen, seed) for seed in seeds]
        yield f"planner, foresight {name}", fmean(paid)
    for name, mine in {
        "composite": trace,
        "composite, sessions of one call unnamed": named_if_followed(trace),
        "composite, no sessions": again(trace, session=None),
    }.items():
        own = [run(mine, hosts, strategy="composite", seed=seed) for seed in seeds]
        yield name, fmean(one.cost for one in own)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--requests", type=int, default=1_000_000, metavar="N")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    trace = traffic(os.environ.get("LLMBALANCE_RECORDED"), options.requests)
    rows: list[Row] = []
    least: float | None = None
    for subject, paid in subjects(trace, options.repeats):
        least = least or paid
        print(f"{subject:40} {paid:8.3f} USD {paid / least - 1:+7.1%}", flush=True)
        row: Row = {"bench": "hindsight", "case": "long prompts", "subject": subject}
        rows.append(row | {"metric": "cost", "value": paid, "unit": "USD"})
    if options.json is not None:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
