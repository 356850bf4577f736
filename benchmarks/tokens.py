"""How fast and how close the token estimator is.

    python benchmarks/tokens.py [--json FILE]

Speed needs nothing.  Accuracy is measured over recorded prompts and samples, whose
folder is named by the environment variable LLMBALANCE_RECORDED; without it that
part is left out.  Every row compares subjects measured in this one run.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import timeit
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any

from llmbalance import _core
from llmbalance._fleet._tokens import FAMILIES, estimate_tokens, family_of

Row = dict[str, Any]
Estimate = Callable[[Any, int], float]

TEXT = "The router asked two backends; one answered in 412 ms, the other never did. "


def row(case: str, subject: str, metric: str, value: float, unit: str) -> Row:
    return {
        "bench": "tokens",
        "case": case,
        "subject": subject,
        "metric": metric,
        "value": round(value, 3),
        "unit": unit,
    }


def seconds(call: Callable[[], object], target: float = 0.05) -> float:
    """Best time of one call, over nine repeats of about *target* seconds in all."""
    once = max(timeit.timeit(call, number=3) / 3, 1e-8)
    number = max(1, int(target / once))
    return min(timeit.repeat(call, number=number, repeat=9)) / number


def speed() -> Iterator[Row]:
    prompt = (TEXT * 20)[:1000]
    messages = [{"role": "user", "content": prompt}]
    tools = [{"function": {"name": "f", "parameters": {"a": {"type": "string"}}}}] * 5
    cases = {
        "1 kB prompt": (messages, None),
        "20 messages of 1 kB": (messages * 20, None),
        "1 kB prompt and 5 tools": (messages, tools),
        "empty text": ("", None),
    }
    source = much_text()
    for name in ("measure", "measure_full"):
        measure = getattr(_core, name)
        for case, arguments in cases.items():
            best = seconds(partial(measure, *arguments))
            yield row(case, subject_of(name), "time per call", best * 1e9, "ns")
        rate = len(source) / seconds(partial(measure, source), 0.2) / 1e6
        yield row("1 MB of source code", subject_of(name), "throughput", rate, "MB/s")


def much_text() -> str:
    """Return a million ASCII characters that no branch predictor can learn by heart."""
    files = sorted(Path(os.__file__).parent.glob("*.py"))
    text = "".join(file.read_text("ascii", "replace") for file in files[:80])
    return text.encode("ascii", "replace").decode()[:1_000_000]


def subject_of(name: str) -> str:
    return "byte table" if name == "measure" else "full model"


def estimators() -> dict[str, Estimate]:
    return {
        "bytes / 4": lambda texts, family: sum(len(t.encode()) for t in texts) / 4,
        "byte table": lambda texts, family: _core.measure(texts, None, family),
        "full model": lambda texts, family: _core.measure_full(texts, None, family),
    }


def error(pairs: list[tuple[float, float]]) -> float:
    """Mean absolute error in percent."""
    return 100 * fmean(abs(got / want - 1) for got, want in pairs)


def accuracy(folder: Path) -> Iterator[Row]:
    samples = json.loads((folder / "token_samples.json").read_text())["samples"]
    lines = (folder / "token_counts_real.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    prompts = list({tuple(r["texts"]): r for r in rows if r["bytes"] >= 150}.values())
    for family in ("o200k", "cl100k"):
        index = FAMILIES.index(family)
        for subject, estimate in estimators().items():
            made = [(estimate([s["text"]], index), s[family]) for s in samples]
            real = [(estimate(r["texts"], index), r[family]) for r in prompts]
            for case, pairs in (("synthetic samples", made), ("chat prompts", real)):
                name = f"{case}, {family} (n={len(pairs)})"
                yield row(name, subject, "mean absolute error", error(pairs), "%")
    yield from bills(rows)


def bills(rows: list[dict[str, Any]]) -> Iterator[Row]:
    billed = {(r["model"], *r["texts"]): r for r in rows if r["bytes"] >= 150}
    for provider in ("openai", "anthropic", "gemini"):
        mine = [r for r in billed.values() if r["provider"] == provider]
        subjects: dict[str, list[tuple[float, float]]] = {}
        for r in mine:
            messages = [{"role": "user", "content": text} for text in r["texts"]]
            model, want = r["model"], r["reported_input_tokens"]
            for subject, got in (
                ("bytes / 4", r["bytes"] / 4),
                ("byte table", _core.measure(messages, None, family_of(model))),
                ("full model", estimate_tokens(messages, model)),
            ):
                subjects.setdefault(subject, []).append((got, want))
        for subject, pairs in subjects.items():
            case = f"billed by {provider} (n={len(mine)})"
            yield row(case, subject, "mean absolute error", error(pairs), "%")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    options = parser.parse_args()
    rows = list(speed())
    recorded = os.environ.get("LLMBALANCE_RECORDED")
    if recorded:
        rows += accuracy(Path(recorded))
    else:
        print("accuracy left out: LLMBALANCE_RECORDED is not set", file=sys.stderr)
    for r in rows:
        print(f"{r['case']:36} {r['subject']:11} {r['value']:12,.1f} {r['unit']}")
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
