"""The main job, to watch: a fleet of mock providers under load, an outage, a throttle.

    python -m llmbalance.demo [--requests N] [--seed N] [--json FILE]

Four providers on loopback, real HTTP in three dialects: two accounts of one vendor
with different limits, another vendor at another price, a cheap local server. While the
calls arrive, the cheapest frontier provider goes down for a while and one account is
throttled. Afterwards the same calls go to the premium account alone, as a client
without a balancer would send them. Exit code 0 only if the router failed no call.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from ._config import Backend, Breaker, Limits
from ._errors import LLMBalanceError
from ._price import Price
from ._report import show
from ._router import Router
from .testing import MockFleet, MockProvider

PREMIUM, DOWN, THROTTLED = "anthropic-a", "google", "anthropic-b"
_KEY = "demo-key"
_RATE = 180.0  # calls a second, on average
_WORDS = ("river", "market", "engine", "letter", "garden", "signal", "winter", "copper")

# name, dialect and provider, model, group, calls a second, price (USD per million)
_FLEET = (
    ("anthropic-a", "anthropic", "claude-sonnet-4-5", "frontier", 90, (3, 15)),
    ("anthropic-b", "anthropic", "claude-sonnet-4-5", "frontier", 60, (3, 15)),
    ("google", "google", "gemini-2.5-pro", "frontier", 120, (1.25, 10)),
    ("local", "openai_compatible", "llama-3.1-8b", "economy", 150, (0.05, 0.05)),
)


class Plan:
    """What will happen when: everything follows from the number of calls and a seed."""

    def __init__(self, requests: int, seed: int) -> None:
        self.seed = seed
        self.seconds = max(requests / _RATE, 4.0)
        self.outage = (0.30 * self.seconds, 0.55 * self.seconds)
        self.throttle = (0.42 * self.seconds, 0.55 * self.seconds)
        rng = random.Random(seed)
        self.calls: list[tuple[float, str, str, int]] = []
        at = 0.0
        for _ in range(requests):
            at += rng.expovariate(requests / self.seconds)
            prompt = " ".join(rng.choices(_WORDS, k=rng.randint(40, 400)))
            group = "frontier" if rng.random() < 0.7 else "economy"
            self.calls.append((at, group, prompt, rng.choice((60, 120, 240))))

    def providers(self) -> list[MockProvider]:
        """Fresh mock providers with this plan's faults."""
        made = []
        for i, (name, dialect, model, _, rate, _) in enumerate(_FLEET):
            provider = MockProvider(
                dialect,
                name=name,
                model=model,
                api_key=_KEY,
                ttft=0.03 + 0.01 * i,
                per_token=0.0008,
                jitter=0.2,
                output_tokens=(20, 200),
                rpm=rate * 60,
                burst=2.0,
                seed=self.seed + i,
            )
            made.append(provider)
        by_name = {provider.name: provider for provider in made}
        by_name[DOWN].outage(*self.outage, status=503)
        by_name[THROTTLED].throttle(*self.throttle, rpm=300)
        return made

    def backends(self, fleet: MockFleet) -> list[Backend]:
        """The same providers as the router sees them."""
        return [
            Backend(
                f"{dialect}/{model}",
                name=name,
                groups=[group],
                api_key=_KEY,
                base_url=fleet[name].base_url,
                limits=Limits(rpm=rate * 60, burst_seconds=2.0),
                price=Price(*price),
                breaker=Breaker(cooldown=0.5, cooldown_max=2.0, ramp=1.0),
            )
            for name, dialect, model, group, rate, price in _FLEET
        ]


class Tally:
    """What became of the calls, from the caller's side."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.served: list[tuple[float, str]] = []  # start of the call, who answered
        self.failures: list[str] = []
        self.tokens = [0, 0]
        self.cost = 0
        self.moved = 0

    def p(self, share: float) -> float:
        """A quantile of the seconds a call took."""
        if not self.seconds:
            return 0.0
        ordered = sorted(self.seconds)
        return ordered[min(int(share * len(ordered)), len(ordered) - 1)]

    def share(self, name: str, start: float, stop: float) -> float:
        """Share of a backend among the frontier calls that began in a time span."""
        frontier = {entry[0] for entry in _FLEET if entry[3] == "frontier"}
        served = [n for at, n in self.served if start <= at < stop and n in frontier]
        return served.count(name) / len(served) if served else 0.0


async def run_calls(
    router: Router, plan: Plan, tally: Tally, *, premium: bool = False
) -> None:
    """Send every call of the plan at its time; the tally says how it went."""
    started = time.monotonic()

    async def one(at: float, group: str, prompt: str, most: int) -> None:
        await asyncio.sleep(max(0.0, started + at - time.monotonic()))
        begin = time.monotonic()
        try:
            reply = await router.generate(
                prompt,
                model=PREMIUM if premium else group,
                max_tokens=most,
                timeout=20,
            )
        except LLMBalanceError as error:
            tally.failures.append(f"{type(error).__name__}: {error}")
            return
        tally.seconds.append(time.monotonic() - begin)
        tally.served.append((begin - started, reply.backend))
        tally.cost += reply.cost_nano_usd or 0
        tally.moved += len(reply.attempts) > 1
        if reply.usage is not None:
            tally.tokens[0] += reply.usage.prompt_tokens
            tally.tokens[1] += reply.usage.completion_tokens

    async with asyncio.TaskGroup() as tasks:
        for call in plan.calls:
            tasks.create_task(one(*call))


class Screen:
    """Progress: a table that redraws itself; without a terminal a line a second."""

    def __init__(self, router: Router, plan: Plan, tally: Tally) -> None:
        self.router, self.plan, self.tally = router, plan, tally
        self.started = time.monotonic()
        self.live = sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"
        self.drawn = 0

    async def watch(self) -> None:
        """Draw until cancelled, and once more then."""
        try:
            while True:
                await asyncio.sleep(0.25 if self.live else 1.0)
                self.draw()
        finally:
            self.draw()

    def draw(self) -> None:
        now = time.monotonic() - self.started
        done = len(self.tally.seconds) + len(self.tally.failures)
        events = []
        if self.plan.outage[0] <= now < self.plan.outage[1]:
            events.append(f"{DOWN} is down")
        if self.plan.throttle[0] <= now < self.plan.throttle[1]:
            events.append(f"{THROTTLED} is throttled")
        head = (
            f"{now:5.1f} s  {done:>5}/{len(self.plan.calls)} calls"
            f"  failed {len(self.tally.failures)}  moved {self.tally.moved}"
            f"  ${self.tally.cost / 1e9:.4f}  {', '.join(events)}"
        )
        if not self.live:
            states = " ".join(
                f"{row['backend']}:{row['breaker']}:{show(row['share'], '%')}"
                for row in self.router.stats().rows()[:-1]
            )
            print(f"{head}  [{states}]", flush=True)
            return
        lines = [head, *table(self.router).splitlines()]
        if self.drawn:
            sys.stdout.write(f"\x1b[{self.drawn}F\x1b[J")
        sys.stdout.write("\n".join(lines) + "\n")
        sys.stdout.flush()
        self.drawn = len(lines)


def table(router: Router) -> str:
    """The router's own report, as text."""
    return str(router.stats())


async def balanced(plan: Plan) -> tuple[Tally, dict[str, Any]]:
    """The calls over the whole fleet."""
    tally = Tally()
    with MockFleet(plan.providers()) as fleet:
        router = Router(
            plan.backends(fleet),
            fallbacks={"frontier": ["economy"], "economy": ["frontier"]},
            seed=plan.seed,
        )
        async with router:
            screen = asyncio.create_task(Screen(router, plan, tally).watch())
            try:
                await run_calls(router, plan, tally)
            finally:
                screen.cancel()
                await asyncio.gather(screen, return_exceptions=True)
            print(table(router))
            return tally, router.stats()


async def alone(plan: Plan) -> Tally:
    """The same calls to the premium account only: at once or not at all."""
    tally = Tally()
    with MockFleet(plan.providers()) as fleet:
        only = [b for b in plan.backends(fleet) if b.name == PREMIUM]
        async with Router(only, wait=False, seed=plan.seed) as router:
            await run_calls(router, plan, tally, premium=True)
    return tally


def premium_nano(tokens: Sequence[int]) -> int:
    """What tokens in and out cost at the premium account, nano-USD."""
    price = next(entry[5] for entry in _FLEET if entry[0] == PREMIUM)
    return Price(*price).row().cost(input=tokens[0], output=tokens[1]) or 0


def summarise(
    plan: Plan, ours: Tally, stats: dict[str, Any], base: Tally
) -> dict[str, Any]:
    """Everything the demo claims, as one dict."""
    dialects = {entry[0]: entry[1] for entry in _FLEET}
    begin, end = plan.outage
    reference = premium_nano(ours.tokens)
    answered = len(base.seconds)
    return {
        "requests": len(plan.calls),
        "succeeded": len(ours.seconds),
        "failed": len(ours.failures),
        "failures": ours.failures[:5],
        "moved": ours.moved,
        "seed": plan.seed,
        "seconds": plan.seconds,
        "success_rate": len(ours.seconds) / len(plan.calls),
        "p50": ours.p(0.5),
        "p95": ours.p(0.95),
        "cost_usd": ours.cost / 1e9,
        "baseline": {
            "backend": PREMIUM,
            "requests": len(plan.calls),
            "succeeded": answered,
            "failed": len(base.failures),
            "success_rate": answered / len(plan.calls),
            "p50": base.p(0.5),
            "p95": base.p(0.95),
            "cost_usd": reference / 1e9,
            "paid_usd": base.cost / 1e9,
        },
        "saved_usd": (reference - ours.cost) / 1e9,
        "outage": {
            "backend": DOWN,
            "start": begin,
            "stop": end,
            "share_before": ours.share(DOWN, 0, begin),
            "share_during": ours.share(DOWN, begin, end),
            "share_after": ours.share(DOWN, end + 0.15 * plan.seconds, plan.seconds),
        },
        "throttled": {"backend": THROTTLED, "start": plan.throttle[0]},
        "backends": [
            {
                "name": row["backend"],
                "dialect": dialects[row["backend"]],
                "requests": row["requests"],
                "share": row["share"],
                "success_rate": row["success_rate"],
                "rate_limited": row["rate_limited"],
                "p50": row["p50"],
                "p95": row["p95"],
                "cost": row["cost"],
            }
            for row in stats["backends"].values()
        ],
    }


def tell(s: dict[str, Any]) -> None:
    """Print the summary for people."""
    base, outage = s["baseline"], s["outage"]
    rows = (
        ("", "llmbalance", f"{base['backend']} alone"),
        ("answered", *(f"{x['succeeded']}/{x['requests']}" for x in (s, base))),
        ("success rate", *(show(x["success_rate"], "%") for x in (s, base))),
        ("p50", *(show(x["p50"], "s") for x in (s, base))),
        ("p95", *(show(x["p95"], "s") for x in (s, base))),
        ("cost of these answers", *(show(x["cost_usd"], "$") for x in (s, base))),
    )
    print()
    for what, ours, theirs in rows:
        print(f"{what:<24}{ours:>14}{theirs:>22}")
    saved = s["saved_usd"] / base["cost_usd"] if base["cost_usd"] else 0.0
    print(
        f"\n{outage['backend']} was down from {outage['start']:.1f} s to"
        f" {outage['stop']:.1f} s: its share of the frontier calls was"
        f" {outage['share_before']:.0%} before, {outage['share_during']:.0%} during,"
        f" {outage['share_after']:.0%} afterwards."
    )
    print(f"{s['moved']} calls were moved to another backend; {s['failed']} failed.")
    print(f"Saved ${s['saved_usd']:.4f} ({saved:.0%}) against the premium price.")
    for failure in s["failures"]:
        print(f"failed: {failure}")


async def main(requests: int, seed: int) -> dict[str, Any]:
    """Run both ways and return the summary."""
    plan = Plan(requests, seed)
    print(
        f"{requests} calls over {plan.seconds:.0f} s to four mock providers on loopback"
    )
    ours, stats = await balanced(plan)
    print(f"\nThe same calls to {PREMIUM} alone ...", flush=True)
    base = await alone(plan)
    return summarise(plan, ours, stats, base)


def run(arguments: Sequence[str] | None = None) -> int:
    """The command: parse, run, print, write; the exit code."""
    parser = argparse.ArgumentParser(prog="llmbalance demo", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--requests", type=int, default=2000, help="calls to send")
    parser.add_argument("--seed", type=int, default=1, help="of all that is random")
    parser.add_argument("--json", type=Path, help="write the summary to this file")
    options = parser.parse_args(arguments)
    if options.requests < 1:
        parser.error(f"--requests {options.requests}: give a number >= 1")
    summary = asyncio.run(main(options.requests, options.seed))
    tell(summary)
    if options.json is not None:
        options.json.write_bytes(msgspec.json.format(msgspec.json.encode(summary)))
    return 1 if summary["failed"] else 0


if __name__ == "__main__":
    sys.exit(run())
