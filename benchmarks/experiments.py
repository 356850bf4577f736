"""What experiments add to a call: being dealt arms, telling how it went.

    python benchmarks/experiments.py [--json FILE] [--calls N]

A call is read, gets its place in the experiments, and ends as answered; nothing is
chosen or sent. The figure is the CPU time above the same call of a router without
experiments, all that is worked off later included: the best of 40 repeats.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

from llmbalance import Backend, Bandit, Experiment, Mirror, Price, Router
from llmbalance._types import ChatReply

ASK = [{"role": "user", "content": "What is the capital of France?"}]


def experiment(name: str = "one", **fields: Any) -> Experiment:
    # The option differs, so that several may be about the same calls.
    option = {"one": "temperature", "two": "top_p", "three": "seed"}[name]
    arms = {"control": {}, "other": {option: 1}}
    return Experiment(**({"name": name, "arms": arms} | fields))


CASES: dict[str, dict[str, Any]] = {
    "none": {},
    "by call": {"experiments": [experiment()]},
    "by user": {"experiments": [experiment(unit="user")]},
    "by user, ramp": {"experiments": [experiment(unit="user", ramp=[(0, 0.5)])]},
    "bandit": {"experiments": [experiment(bandit=Bandit())]},
    "of one group": {"experiments": [experiment(models=["openai/gpt-4o"])]},
    "three": {
        "experiments": [experiment(), experiment("two"), experiment("three")],
    },
    # Sampled in vain: what a mirror costs the calls that it does not copy.
    "mirror": {"mirrors": [Mirror(to="openai/gpt-4o", share=1e-9)]},
}


def seconds_of(router: Router, calls: int) -> float:
    """CPU seconds of one call, by the clock of this process."""
    intake = router._intake
    reply = ChatReply(choices=[])
    users = [f"user-{i}" for i in range(1000)]
    begin = time.process_time()
    for i in range(calls):
        options = {"user": users[i % 1000], "max_tokens": 100}
        run = intake.run("chat", "openai/gpt-4o", ASK, False, options)
        run.verdict = None
        if run.trial is not None:
            reply.id = f"answer-{i}"
            run.trial.answered(reply)
        run.end()
    return (time.process_time() - begin) / calls


def measure(calls: int, repeats: int) -> list[dict[str, Any]]:
    backend = Backend("openai/gpt-4o", api_key="none", price=Price(1, 2))
    routers = {case: Router([backend], seed=1, **o) for case, o in CASES.items()}
    best = dict.fromkeys(CASES, float("inf"))
    for _ in range(repeats):
        for case, router in routers.items():
            best[case] = min(best[case], seconds_of(router, calls))
    return [
        {
            "bench": "experiments",
            "case": case,
            "subject": "llmbalance",
            "metric": "CPU of a call" if case == "none" else "CPU added to a call",
            "value": round(1e6 * (best[case] - (case != "none") * best["none"]), 3),
            "unit": "us",
        }
        for case in CASES
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="write the rows here")
    parser.add_argument("--repeats", type=int, default=40)
    parser.add_argument("--calls", type=int, default=3000, help="of each repeat")
    given = parser.parse_args()
    rows = measure(given.calls, given.repeats)
    for row in rows:
        print(f"{row['case']:<16} {row['value']:8.3f} {row['unit']}  {row['metric']}")
    if given.json:
        given.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
