"""The example of a learned classifier: it learns, and a router can use it."""

from __future__ import annotations

import runpy
from pathlib import Path

from llmbalance import Backend, Price, Router, Task

EXAMPLE = Path(__file__).parents[1] / "examples" / "classifier.py"


def test_the_example_tells_most_of_what_it_never_saw(capsys):
    example = runpy.run_path(str(EXAMPLE))
    share = example["main"]()
    assert share > 0.5  # a third by chance
    assert f"({share:.0%})" in capsys.readouterr().out


def test_a_router_takes_the_trained_model():
    example = runpy.run_path(str(EXAMPLE))
    texts = example["EXAMPLES"]
    pairs = [(text, task) for task, some in texts.items() for text in some]
    model = example["NaiveBayes"]().fit([t for t, _ in pairs], [k for _, k in pairs])
    backend = Backend(
        "openai/gpt-4o", groups=["all"], api_key="test-key", price=Price(1, 2)
    )
    tasks = [Task(name=name, group="all") for name in texts]
    router = Router([backend], tasks=tasks, classifier=model)
    assert router.classify("Prove this step by step.") == "reasoning"
    assert router.classify("Translate 'window' to French.") == "fast"
