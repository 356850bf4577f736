"""What the policy of a call costs: tiers, chains, tasks, sessions, budgets, arms.

    python benchmarks/policy.py [--json FILE] [--rounds N] [--calls N]

Whole calls of ``Router.chat``; only the transport is replaced, by one that gives
OpenAI's answer and headers at the next turn of the loop, so that what differs between
two routers is their own. Every round goes through all cases in turn; told is the median
over the rounds of the CPU time above that of the plain call in the same round.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from llmbalance import (
    Backend,
    Budget,
    Experiment,
    Group,
    Hedge,
    Limits,
    Price,
    Router,
    Rule,
    Task,
)
from llmbalance._transport import Inbox

ASK = [{"role": "user", "content": "Please tell me about the town. " * 17}]  # 530 bytes
TIERS = {"frontier": 9, "mid": 6, "economy": 3}  # and their quality
NAMES = [f"name-{i}" for i in range(1000)]  # of sessions and users
RULES = [
    Rule(task="hard", has=["code"]),
    Rule(task="hard", keywords=["prove", "step by step", "theorem"]),
    Rule(task="hard", pattern=r"\b(?:integral|derivative) of\b"),
    Rule(task="hard", has=["json"]),
    Rule(task="hard", longer=200_000),
]
TASKS = [Task(name="plain", group="frontier"), Task(name="hard", group="frontier", v=1)]
LENGTHS = (200, 1_000, 4_000)  # characters of what is classified


@dataclass(frozen=True, slots=True)
class Feature:
    """What a router has of it, and what a call says of it."""

    router: Mapping[str, Any] = field(default_factory=dict)
    call: Callable[[str], dict[str, Any]] = lambda name: {}


FEATURES = {
    "tiers": Feature(
        {"groups": [Group(name=n, min_quality=q) for n, q in TIERS.items()]},
        lambda name: {"min_quality": 6},
    ),
    "chain": Feature(
        {"fallbacks": {"frontier": ["mid"], "mid": ["economy"]}},
    ),
    "session": Feature(call=lambda name: {"session": name}),
    "task": Feature(
        {"tasks": TASKS, "classifier": RULES, "default_task": "plain"},
        lambda name: {"task": "auto"},
    ),
    "budgets": Feature(
        {
            "budgets": [
                Budget(usd=10**6),
                Budget(usd=10**6, group="frontier"),
                Budget(usd=10**6, tag="team=red"),
            ],
        },
        lambda name: {"tags": ["team=red"]},
    ),
    "experiment": Feature(
        {
            "experiments": [
                Experiment(
                    name="warm",
                    unit="user",
                    arms={"control": {}, "warm": {"temperature": 1.0}},
                )
            ]
        },
        lambda name: {"user": name},
    ),
}
BUDGET_US = {"all": 15.0} | {f"classify {n} characters": 5.0 for n in LENGTHS}


def merged(features: list[Feature]) -> Feature:
    router = {k: v for feature in features for k, v in feature.router.items()}
    calls = [feature.call for feature in features]
    return Feature(
        router,
        lambda name: dict(itertools.chain(*(call(name).items() for call in calls))),
    )


CASES = {
    "plain": Feature(),
    **FEATURES,
    "hedge": Feature({"hedge": Hedge(after=60.0)}),
    "all": merged(list(FEATURES.values())),
}


# -- the transport -------------------------------------------------------------------


BODY = json.dumps(
    {
        "id": "chatcmpl-NUMBER",
        "object": "chat.completion",
        "created": 1_700_000_000,
        "model": "bench",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "x" * 400},
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": 120, "completion_tokens": 90, "total_tokens": 210},
    }
).encode()


def an_answer() -> Any:
    headers = {
        "content-type": "application/json",
        "x-ratelimit-limit-requests": "100000000",
        "x-ratelimit-limit-tokens": "1000000000",
        "x-ratelimit-remaining-requests": "99999999",
        "x-ratelimit-remaining-tokens": "999999000",
        "x-ratelimit-reset-requests": "1ms",
        "x-ratelimit-reset-tokens": "1ms",
    }
    return SimpleNamespace(
        status=200,
        headers=headers,
        body=BODY,
        done=True,
        error=None,
        sent=True,
        ttft=0.2,
        total=0.5,
    )


class Prompt:
    """A transport that answers everything alike, at the next turn of the loop."""

    def __init__(self) -> None:
        self.answer = an_answer()
        self.numbers = itertools.count(10**9)

    def next_answer(self) -> Any:
        """The answer, under an id of its own as all answers are."""
        body = BODY.replace(b"NUMBER", b"%d" % next(self.numbers))
        self.answer.body = body
        return self.answer

    async def send(self, *request: Any) -> Any:
        loop = asyncio.get_running_loop()
        future = loop.create_future()
        loop.call_soon(future.set_result, self.next_answer())
        return await future

    def enter(self, *request: Any, **kind: Any) -> Inbox:
        inbox = Inbox(self)  # type: ignore[arg-type]
        asyncio.get_running_loop().call_soon(self._deliver, inbox)
        return inbox

    def _deliver(self, inbox: Inbox) -> None:
        inbox.head = inbox.end = self.next_answer()
        assert inbox.waiter is not None
        inbox.waiter.set_result(None)

    def close(self) -> None:
        """There is nothing to end."""


def router_of(feature: Feature) -> Router:
    backends = [
        Backend(
            "openai_compatible/bench",
            name=f"{tier}-{i}",
            base_url="http://127.0.0.1:9/v1",
            api_key="k",
            groups=[tier],
            quality=quality,
            limits=Limits(rpm=10**8, tpm=10**9),
            price=Price(1, 2),
        )
        for tier, quality in TIERS.items()
        for i in range(3)
    ]
    router = Router(backends, seed=1, **feature.router)
    router._transport = Prompt()  # type: ignore[assignment]
    return router


# -- measuring -----------------------------------------------------------------------


async def cpu_of_calls(router: Router, feature: Feature, calls: int) -> float:
    """CPU microseconds of one call."""
    options = [{"max_tokens": 500} | feature.call(name) for name in NAMES]
    begin = time.process_time()
    for i in range(calls):
        reply = await router.chat("frontier", ASK, **options[i % 1000])
        assert reply.cost
    return (time.process_time() - begin) / calls * 1e6


async def calls_of_all(rounds: int, calls: int) -> dict[str, list[float]]:
    routers = {case: router_of(feature) for case, feature in CASES.items()}
    found: dict[str, list[float]] = {case: [] for case in CASES}
    for case, router in routers.items():
        await cpu_of_calls(router, CASES[case], calls)  # names seen for the first time
    for _ in range(rounds):
        for case, router in routers.items():
            found[case].append(await cpu_of_calls(router, CASES[case], calls))
    return found


def classification(rounds: int, calls: int) -> dict[str, float]:
    """Microseconds of Router.classify for texts that no rule is about."""
    router = router_of(FEATURES["task"])
    words = "Please tell me about the town and the river that flows through it. "
    found = {}
    for length in LENGTHS:
        text = (words * (length // len(words) + 1))[:length]
        messages = [{"role": "user", "content": text}]
        assert router.classify(messages) == "plain"
        times = []
        for _ in range(rounds):
            begin = time.process_time()
            for _ in range(calls):
                router.classify(messages)
            times.append((time.process_time() - begin) / calls * 1e6)
        found[f"classify {length} characters"] = statistics.median(times)
    return found


def measure(rounds: int, calls: int) -> list[dict[str, Any]]:
    found = asyncio.run(calls_of_all(rounds, calls))
    plain = found.pop("plain")
    values = {"plain": ("CPU of a call", statistics.median(plain))}
    for case, times in found.items():
        above = [time - base for time, base in zip(times, plain, strict=True)]
        values[case] = ("CPU added to a call", statistics.median(above))
    for case, value in classification(rounds, calls).items():
        values[case] = ("CPU of a call", value)
    return [
        {
            "bench": "policy",
            "case": case,
            "subject": "llmbalance",
            "metric": metric,
            "value": round(value, 2),
            "unit": "us",
        }
        for case, (metric, value) in values.items()
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="write the rows here")
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--calls", type=int, default=1000, help="of each case a round")
    given = parser.parse_args()
    rows = measure(given.rounds, given.calls)
    for row in rows:
        most = BUDGET_US.get(row["case"])
        verdict = ""
        if most is not None:
            verdict = (
                f"  (target <= {most:g}: {'met' if row['value'] <= most else 'missed'})"
            )
        print(f"{row['case']:<26} {row['value']:8.2f} us  {row['metric']}{verdict}")
    if given.json:
        given.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
