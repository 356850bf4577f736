"""The story of the storm: who plays, what happens, what is asked, and what is true.

What a backend could have done is read from the script alone, never from the router.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from llmbalance import BudgetExceededError
from llmbalance.testing import MockFleet, MockProvider

END = 600.0  # seconds of the story
RATE = 2.0  # calls a second, on average
ANSWER = 5.0  # seconds within which whoever is up has answered
TIMEOUT = 90.0  # seconds of a call
TALKS = 40  # conversations at any time
TURNS = 12  # calls of one
RELOAD = 300.0
DEARER = ("vllm", 240.0, (2.0, 6.0, 0.5))
SMALL = 0.02  # USD that calls tagged "team=small" may cost
ALL = 20.0  # USD of all calls together

# name: dialect, model, tier, requests a minute, USD per million (in, out, cached)
FLEET: dict[str, tuple[str, str, str, int, tuple[float, float, float]]] = {
    "openai": ("openai", "gpt-4o", "frontier", 90, (2.5, 10, 1.25)),
    "anthropic": ("anthropic", "claude-sonnet-4-5", "frontier", 90, (3, 15, 0.3)),
    "google": ("google", "gemini-2.5-pro", "frontier", 90, (1.25, 10, 0.31)),
    "mistral": ("mistral", "mistral-large", "mid", 90, (2, 6, 0.5)),
    "groq": ("groq", "llama-3.3-70b", "mid", 90, (0.59, 0.79, 0.3)),
    "vllm": ("vllm", "qwen-72b", "mid", 90, (0.5, 1.5, 0.1)),
    "local": ("openai_compatible", "llama-8b", "economy", 60, (0.05, 0.1, 0.01)),
    "late": ("openai_compatible", "llama-9b", "economy", 90, (0.06, 0.1, 0.01)),
}
CHAINS = {"frontier": [], "mid": [], "economy": ["mid"]}
# Who cannot serve, from when to when; the slow one can.
DOWN = {
    "google": (60.0, 180.0),
    "groq": (300.0, 390.0),
    "local": (250.0, 420.0),  # throttled: it may have no room
    "late": (0.0, RELOAD + 5),  # not there yet
}
SLOW = ("vllm", 90.0, 210.0, 6.0)


@dataclass(slots=True)
class Call:
    """One call of the story: when, what, and what became of it."""

    at: float
    tier: str
    talk: int | None  # the conversation it belongs to
    text: str
    small: bool  # under the budget of the small team
    stream: bool
    began: float = 0.0
    ended: float = 0.0
    backend: str = ""
    cost: float = 0.0
    cached: int = 0
    prompt: int = 0
    attempts: int = 0
    left: float = ALL  # USD of its budget as it ended
    error: Exception | None = None


@dataclass(slots=True)
class Story:
    """Everything that follows from a seed and a speed, and what came of it."""

    speed: float
    seed: int
    calls: list[Call] = field(default_factory=list)
    billed: float = 0.0  # USD, by the providers
    asked: dict[str, Counter[str]] = field(default_factory=dict)  # provider -> tiers
    trouble: Counter[str] = field(default_factory=Counter)  # provider -> 5xx, 429
    spent: dict[str, float] = field(default_factory=dict)  # budget -> USD

    # -- who plays ---------------------------------------------------------------

    def providers(self) -> Iterator[MockProvider]:
        for i, (name, (dialect, model, _, rpm, price)) in enumerate(FLEET.items()):
            yield MockProvider(
                dialect,
                name=name,
                model=model,
                ttft=(0.4 + 0.1 * (i % 3)) / self.speed,
                per_token=0.02 / self.speed,
                jitter=0.2,
                output_tokens=(10, 90),
                rpm=round(rpm * self.speed),
                burst=20 / self.speed,
                price=price,
                prompt_cache=True,
                seed=self.seed + i,
            )

    def happen(self, fleet: MockFleet) -> None:
        """Write the storm into the providers' scripts."""

        def times(start: float, stop: float) -> tuple[float, float]:
            return start / self.speed, stop / self.speed

        fleet["google"].outage(*times(*DOWN["google"]), status=503)
        fleet["groq"].outage(*times(*DOWN["groq"]), status=None)
        few = max(round(4 * self.speed), 1)
        fleet["local"].throttle(*times(*DOWN["local"]), rpm=few)
        name, start, stop, factor = SLOW
        fleet[name].slow(*times(start, stop), factor=factor)

    def config(self, fleet: MockFleet, *, later: bool) -> dict[str, Any]:
        """The router's file, before and after it is read again."""
        backends = []
        for name, (dialect, model, tier, rpm, price) in FLEET.items():
            if name == "late" and not later:
                continue
            costs = DEARER[2] if later and name == DEARER[0] else price
            backends.append(
                {
                    "name": name,
                    "model": f"{dialect}/{model}",
                    "groups": [tier],
                    "base_url": fleet[name].base_url,
                    "api_key": "test-key",
                    "price": dict(
                        zip(("input", "output", "cache_read"), costs, strict=True)
                    ),
                    "limits": {
                        "rpm": round(rpm * self.speed),
                        "burst_seconds": 20 / self.speed,
                    },
                }
            )
        breaker = {
            "window": 30 / self.speed,
            "cooldown": 5 / self.speed,
            "cooldown_max": 30 / self.speed,
            "ramp": 30 / self.speed,
        }
        return {
            "router": {
                "seed": self.seed,
                "timeout": TIMEOUT / self.speed,
            },
            "group": {tier: {"fallbacks": more} for tier, more in CHAINS.items()},
            "defaults": {"breaker": breaker},
            "backend": backends,
            "budget": [
                {"usd": ALL, "per": "total"},
                {"usd": SMALL, "per": "total", "tag": "team=small"},
            ],
        }

    # -- what is asked ---------------------------------------------------------------

    def plan(self) -> None:
        """Make the calls; conversations grow and keep their beginning."""
        draw = random.Random(self.seed)
        words = ("river", "market", "engine", "letter", "garden", "signal", "winter")

        def say(count: int) -> str:
            return " ".join(draw.choices(words, k=count))

        talks = [(0, say(900)) for _ in range(TALKS)]
        tiers = draw.choices(("frontier", "mid"), k=TALKS)
        number, at = list(range(TALKS)), 0.0
        while (at := at + draw.expovariate(RATE)) < END:
            if draw.random() < 0.7:
                i = draw.randrange(TALKS)
                turns, text = talks[i]
                if turns == TURNS:  # another one begins in its place
                    turns, text, number[i] = 0, say(900), number[i] + TALKS
                talks[i] = turns + 1, text
                where, talk = tiers[i], number[i]
            else:
                where, talk, text = (
                    draw.choices(tuple(CHAINS), (1, 1, 2))[0],
                    None,
                    say(60),
                )
            small, stream = draw.random() < 0.15, draw.random() < 0.25
            self.calls.append(Call(at, where, talk, text, small, stream))

    # -- what is true ----------------------------------------------------------------

    def could(self, call: Call) -> list[str]:
        """Who was up all the time that the call took, or long enough to answer.

        And whose price its budget could surely pay: where little is left, the cheapest
        may be all that it has.
        """
        enough = min(ANSWER, call.ended - call.began)
        return [
            name
            for name, (_, _, tier, _, _) in FLEET.items()
            if tier in allowed(call.tier)
            and call.left > most_of(name, call)
            and up_within(name, call.began, call.ended) >= enough
        ]

    def refused_by_budget(self) -> list[Call]:
        return [c for c in self.calls if isinstance(c.error, BudgetExceededError)]

    def failed(self) -> list[Call]:
        """Calls that failed for another reason than their budget."""
        refused = self.refused_by_budget()
        return [c for c in self.calls if c.error is not None and c not in refused]

    def avoidable(self) -> list[Call]:
        """Of these, those that somebody could have served."""
        return [call for call in self.failed() if self.could(call)]

    def violations(self) -> list[tuple[str, str]]:
        """Provider and tier wherever one was asked for what is not its tier."""
        return [
            (name, tier)
            for name, tiers in self.asked.items()
            for tier in tiers
            if FLEET[name][2] not in allowed(tier)
        ]

    def figures(self) -> dict[str, tuple[float, str]]:
        """What came of it: name -> value and unit."""
        answered = [c for c in self.calls if c.error is None]
        last: dict[int, str] = {}
        turns = stayed = 0
        for call in sorted(answered, key=lambda c: c.began):
            if call.talk is not None:
                if call.talk in last:
                    turns += 1
                    stayed += last[call.talk] == call.backend
                last[call.talk] = call.backend
        cached = sum(c.cached for c in answered)
        saved = sum(c.cached * per_cached_token(c) for c in answered)
        cost = sum(c.cost for c in self.calls)
        small = sum(c.cost for c in self.calls if c.small)
        return {
            "calls": (len(self.calls), "1"),
            "failed, somebody could have served": (len(self.avoidable()), "1"),
            "failed, nobody up could be paid": (
                len(self.failed()) - len(self.avoidable()),
                "1",
            ),
            "refused by their budget": (len(self.refused_by_budget()), "1"),
            "answered by another attempt": (sum(c.attempts > 1 for c in answered), "1"),
            "refused or broken by providers": (self.trouble.total(), "1"),
            "asked in the wrong tier": (len(self.violations()), "1"),
            "turns on the backend of the turn before": (
                stayed / max(turns, 1),
                "share",
            ),
            "prompt tokens read from caches": (
                cached / max(sum(c.prompt for c in answered), 1),
                "share",
            ),
            "saved by caches": (saved, "USD"),
            "cost by the router": (cost, "USD"),
            "billed by the providers": (self.billed, "USD"),
            "cost of the small team's calls": (small, "USD"),
            "spent of its budget": (self.spent["small"], "USD"),
            "spent of the budget for all": (self.spent["all"], "USD"),
        }

    def kept(self) -> bool:
        """Whether everything is as it is to be."""
        most = {"all": ALL, "small": SMALL}
        return (
            not self.avoidable()
            and not self.violations()
            and all(self.spent[name] <= most[name] for name in most)
            and self.billed <= ALL
        )


def allowed(tier: str) -> list[str]:
    return [tier, *CHAINS[tier]]


def up_within(name: str, begin: float, end: float) -> float:
    """The longest time without a break in which a backend could serve."""
    start, stop = DOWN.get(name, (END * 2, END * 2))
    return max(min(end, start) - begin, end - max(begin, stop), 0.0)


def most_of(name: str, call: Call) -> float:
    """USD that a call costs at most, twice: for another one in flight."""
    price = FLEET[name][4]
    if name == DEARER[0]:
        price = DEARER[2]
    return 2 * ((len(call.text) / 4 + 100) * price[0] + 100 * price[1]) / 1e6


def per_cached_token(call: Call) -> float:
    """USD that a token costs less where it is cached."""
    price = FLEET[call.backend][4]
    if call.backend == DEARER[0] and call.began >= DEARER[1]:
        price = DEARER[2]
    return (price[0] - price[2]) / 1e6
