"""Ten bad minutes in twenty seconds: a fleet of eight, two outages, and what is kept.

    python benchmarks/storm [--json FILE] [--speed N] [--seed N]

Eight mock providers in three tiers, real HTTP on loopback. Every time, rate limit and
cooldown is ``speed`` times as fast as the clock of the story, which is in seconds:

      0        60       120       180       240       300       360       420  ...  600
    frontier   |== google answers 503 ==|
    mid             |== vllm 6 times as slow ==| ^ dearer
                                                  |== groq drops connections ==|
    economy                               |== local answers 429 =================|
                                                  ^ file read again: a backend more

Conversations are to stay where their prompt is cached, a tier may only be left upwards
(economy to mid), the budget of one tag runs out on the way. The providers themselves
say what is true: who was up, who was asked what, what they bill. Exit code 0 only if
no call failed that anybody up could have served (within its budget), no tier was
violated and all budgets held.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

from story import DEARER, RELOAD, SMALL, Call, Story

from llmbalance import LLMBalanceError, Price, Router
from llmbalance.testing import MockFleet


async def play(story: Story) -> None:
    story.plan()
    with MockFleet(list(story.providers())) as fleet:
        story.happen(fleet)
        router = Router.from_file(story.config(fleet, later=False))
        async with router:
            turns = [
                asyncio.create_task(_call(story, router, fleet, c)) for c in story.calls
            ]
            await _until(fleet, DEARER[1] / story.speed)
            router.set_price(DEARER[0], Price(*DEARER[2][:2], cache_read=DEARER[2][2]))
            fleet[DEARER[0]].set_price(DEARER[2])
            await _until(fleet, RELOAD / story.speed)
            router.reload(story.config(fleet, later=True))
            await asyncio.gather(*turns)
            story.spent = dict(zip(("all", "small"), spent_of(router), strict=True))
        for provider in fleet:
            story.billed += provider.billed_usd
            story.trouble[provider.name] = provider.errors + provider.rejected
            story.asked[provider.name] = Counter(
                seen.body.partition(b"[tier ")[2].partition(b"]")[0].decode()
                for seen in provider.requests
            )


def spent_of(router: Router) -> list[float]:
    """USD of each budget."""
    fleet = router._fleet
    return [fleet.pool.spent(meter.index)[0] / 1e9 for meter in fleet.meters]


async def _until(fleet: MockFleet, second: float) -> None:
    await asyncio.sleep(max(second - fleet.clock(), 0.0))


async def _call(story: Story, router: Router, fleet: MockFleet, call: Call) -> None:
    await _until(fleet, call.at / story.speed)
    options: dict[str, Any] = {"max_tokens": 100}
    if call.talk is not None:
        options["session"] = f"talk-{call.talk}"
    if call.small:
        options["tags"] = ["team=small"]
    messages = [
        {"role": "user", "content": f"[tier {call.tier}] {call.talk} {call.text}"},
    ]
    call.began = fleet.clock() * story.speed
    try:
        if call.stream:
            stream = await router.chat(call.tier, messages, stream=True, **options)
            async for chunk in stream:
                reply = chunk
        else:
            reply = await router.chat(call.tier, messages, **options)
    except LLMBalanceError as error:
        call.error = error
    else:
        call.backend, call.cost = reply.backend, reply.cost
        call.attempts = len(reply.attempts)
        call.cached = reply.usage.cached_tokens
        call.prompt = reply.usage.prompt_tokens
    call.ended = fleet.clock() * story.speed
    if call.small:
        call.left = SMALL - spent_of(router)[1]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="write the rows here")
    parser.add_argument("--speed", type=float, default=30.0)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    story = Story(given.speed, given.seed)
    begin = time.perf_counter()
    asyncio.run(play(story))
    figures = story.figures()
    figures["seconds"] = (time.perf_counter() - begin, "s")
    for name, (value, unit) in figures.items():
        told = f"{value:.1%}" if unit == "share" else f"{value:,.5g} {unit.strip('1')}"
        print(f"{name:<42} {told}")
    for call in story.failed():
        print(
            f"  {call.began:.1f} s {call.tier}: {call.error!r}; up {story.could(call)}"
        )
    if given.json:
        row = {"bench": "storm", "case": "eight backends", "subject": "llmbalance"}
        rows = [
            row | {"metric": name, "value": value, "unit": unit}
            for name, (value, unit) in figures.items()
        ]
        given.json.write_text(json.dumps(rows, indent=1))
    return 0 if story.kept() else 1


if __name__ == "__main__":
    sys.exit(main())
