"""Tasks: what a call is for decides where it goes; rules and models tell which."""

from __future__ import annotations

import json
import logging
import time
from typing import Any

import pytest

from llmbalance import (
    Backend,
    ConfigError,
    CostLimitError,
    InvalidRequestError,
    Price,
    Router,
    Rule,
    Task,
)
from llmbalance._tasks._rules import script_of

ASK = [{"role": "user", "content": "What is the capital of France?"}]
TASKS = [
    Task(name="fast", group="small", max_tokens=50),
    Task(name="deep", group="big"),
]
RULES = [
    Rule(task="deep", has=["code"]),
    Rule(task="deep", keywords=["prove", "step by step"]),
    Rule(task="deep", longer=5000),
]


@pytest.fixture
def make(llm_provider: Any) -> Any:
    def build(**options: Any) -> tuple[dict[str, Any], Router]:
        providers = {
            n: llm_provider("openai", name=n, model="gpt-4o") for n in ("small", "big")
        }
        backends = [
            Backend(
                "openai/gpt-4o",
                name=f"b-{name}",
                groups=[name],
                api_key="test-key",
                base_url=provider.base_url,
                price=Price(1, 2),
            )
            for name, provider in providers.items()
        ]
        return providers, Router(backends, **({"tasks": TASKS} | options))

    return build


def limit_of(provider: Any) -> int:
    """The most tokens the last request allowed."""
    body = json.loads(provider.requests[-1].body)
    return int(body.get("max_completion_tokens") or body["max_tokens"])


def said(text: Any) -> list[dict[str, Any]]:
    return [{"role": "user", "content": text}]


async def test_a_task_says_where_a_call_goes_and_what_it_may_use(make):
    providers, router = make()
    async with router:
        reply = await router.chat(messages=ASK, task="fast")
        assert reply.backend == "b-small"
        assert limit_of(providers["small"]) == 50
        await router.chat(messages=ASK, task="fast", max_tokens=7)
        assert limit_of(providers["small"]) == 7
        there = await router.chat("big", ASK, task="fast")
        assert there.backend == "b-big"
        assert (await router.generate("Hello", task="deep")).backend == "b-big"
        assert (await router.chat("big", ASK, task="a mere label")).text
        with pytest.raises(InvalidRequestError, match="fast, deep"):
            await router.chat(messages=ASK, task="quick")


async def test_a_call_leaves_open_what_it_says_none_of(make):
    providers, router = make()
    none = {"max_tokens": None, "temperature": None, "tags": None}
    async with router:
        await router.chat(messages=ASK, task="fast", **none)
        assert limit_of(providers["small"]) == 50
        assert "temperature" not in json.loads(providers["small"].requests[-1].body)
        other = {"max_tokens": None, "max_completion_tokens": 9}
        await router.chat(messages=ASK, task="fast", **other)
        assert limit_of(providers["small"]) == 9
        await router.chat("small", ASK, **other)
        assert limit_of(providers["small"]) == 9
        run = router._intake.run("chat", "small", ASK, False, other)
        assert run.options.max_tokens == 9  # so much is reserved, and may cost
        with pytest.raises(InvalidRequestError, match="speed"):
            await router.chat(messages=ASK, task="fast", speed=None)


async def test_a_tasks_limits_hold(make):
    _, router = make(tasks=[Task(name="free", group="big", max_cost=0.0)])
    async with router:
        with pytest.raises(CostLimitError):
            await router.chat(messages=ASK, task="free")


async def test_auto_asks_the_classifier(make):
    _, router = make(classifier=RULES)
    async with router:
        simple = await router.chat(messages=ASK, task="auto")
        hard = await router.chat(messages=said("Prove it, please."), task="auto")
    assert (simple.backend, hard.backend) == ("b-small", "b-big")


@pytest.mark.parametrize(
    ("rule", "yes", "no"),
    [
        ({"keywords": ["prove"]}, "Please PROVE this.", "We improve daily."),
        ({"keywords": ["step by step"]}, "go step by step", "one step"),
        ({"keywords": ["run"]}, "running and run", "running"),
        ({"pattern": r"\d{4}"}, "in 1999", "in 99"),
        ({"longer": 10}, "x" * 11, "x" * 10),
        ({"has": ["code"]}, "```\nx = 1\n```", "no fences"),
        ({"has": ["code"]}, "fix\n  def f(x): pass", "by def inition"),
        ({"has": ["code"]}, "import os", "Import duties"),
        ({"has": ["code"]}, "\t #include <math.h>", "include it"),
        ({"has": ["code"]}, "SELECT 1", "SELECTED"),
        ({"has": ["code"]}, "func main() {", ""),
        ({"has": ["json"]}, ' {"a": 1}', "a {"),
        ({"has": ["json"]}, "\n[1, 2]", ""),
        ({"script": "han"}, "请总结这篇文章", "please"),
        ({"script": "cyrillic"}, "Привет, Bob", "Hello"),
        (
            {"has": ["image"]},
            [{"type": "image_url", "image_url": {"url": "x"}}],
            [{"type": "text", "text": "x"}],
        ),
        ({"longer": 2, "keywords": ["hi"]}, "oh hi", "hi"),
    ],
)
def test_rules_fit_or_do_not(make, rule, yes, no):
    _, router = make(classifier=[Rule(task="deep", **rule)])
    assert router.classify(said(yes)) == "deep"
    assert router.classify(said(no)) == "fast"


def test_both_ends_of_a_long_message_are_looked_at(make):
    _, router = make(classifier=[Rule(task="deep", keywords=["prove"])])
    long = "a b " * 1000
    assert router.classify(f"prove {long}") == "deep"
    assert router.classify(f"{long} prove") == "deep"
    assert router.classify(f"{long} prove {long}") == "fast"


def test_tools_and_shortness_count_and_the_first_rule_wins(make):
    rules = [
        Rule(task="deep", has=["tools"]),
        Rule(task="fast", shorter=50),
        Rule(task="deep"),
    ]
    _, router = make(classifier=rules)
    assert router.classify("Hi", tools=[{"type": "function"}]) == "deep"
    assert router.classify("Hi") == "fast"
    assert router.classify("Hi " * 50) == "deep"


def test_the_script_of_a_text():
    assert script_of("123 !") is None
    assert script_of("日本語のテキストをかな") == "kana"
    assert script_of("Ünïcödé") == "latin"


class Model:
    """The shape of a scikit-learn classifier."""

    def predict(self, texts: list[str]) -> list[str]:
        return ["deep" if "why" in text else "fast" for text in texts]


def test_functions_and_models_classify_too(make):
    _, router = make(classifier=Model())
    assert router.classify("why so") == "deep"
    _, router = make(classifier=lambda messages: "deep")
    assert router.classify("x") == "deep"


async def test_a_classifier_that_fails_harms_no_call(make, caplog):
    def broken(messages: Any) -> str:
        raise RuntimeError("the model's own mistake")

    _, router = make(classifier=broken, default_task="deep")
    with caplog.at_level(logging.WARNING, "llmbalance"):
        async with router:
            for _ in range(3):
                reply = await router.chat(messages=ASK, task="auto")
                assert reply.backend == "b-big"
    assert len([r for r in caplog.records if "classifier" in r.message]) == 1
    _, router = make(classifier=lambda messages: "nonsense")
    assert router.classify("x") == "fast"


def test_rules_that_cannot_read_a_message_leave_the_default(make, caplog):
    rules = [Rule(task="deep", has=["image"])]
    _, router = make(classifier=rules, default_task="fast")
    with caplog.at_level(logging.WARNING, "llmbalance"):
        assert router.classify(said(5)) == router.classify(said(5)) == "fast"
    assert len([r for r in caplog.records if "classifier" in r.message]) == 1
    assert router.classify(said([{"type": "image"}])) == "deep"


async def test_a_shadow_decides_nothing_and_is_counted(make):
    _, router = make(classifier=RULES, shadow_classifier=Model())
    async with router:
        for text in ("why?", "Hello", "Hello again"):
            reply = await router.chat(messages=said(text), task="auto")
            assert reply.backend == "b-small"
    report = router.classifications()
    assert report["calls"] == 3
    assert report["agreement"] == pytest.approx(2 / 3)
    pairs = {(row["chosen"], row["shadow"]): row["calls"] for row in report.rows()}
    assert pairs == {("fast", "fast"): 2, ("fast", "deep"): 1}


def test_rules_take_microseconds(make):
    _, router = make(classifier=RULES)
    messages = said("Tell me about the history of the city of Paris. " * 20)
    best = 1.0
    for _ in range(20):
        begin = time.perf_counter()
        for _ in range(100):
            router.classify(messages)
        best = min(best, (time.perf_counter() - begin) / 100)
    assert best < 50e-6  # far above the usual, for busy machines


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"tasks": [Task(name="x", group="none")]}, "group"),
        ({"tasks": [TASKS[0], TASKS[0]]}, "tasks"),
        ({"tasks": ["fast"]}, "tasks"),
        ({"classifier": [Rule(task="slow")]}, "classifier"),
        ({"classifier": ["fast"]}, "classifier"),
        ({"classifier": 7}, "classifier"),
        ({"tasks": [], "classifier": RULES}, "classifier"),
        ({"default_task": "slow"}, "default_task"),
    ],
)
def test_wrong_tasks_are_refused_by_name(make, options, field):
    with pytest.raises(ConfigError, match=field):
        make(**options)


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (Task, {"name": "auto", "group": "g"}),
        (Rule, {"has": ["poetry"], "task": "t"}),
        (Rule, {"pattern": "(", "task": "t"}),
        (Rule, {"script": "runes", "task": "t"}),
        (Rule, {"keywords": "word", "task": "t"}),
    ],
)
def test_wrong_fields_are_refused_by_name(kind, options):
    with pytest.raises(ConfigError, match=next(iter(options))):
        kind(**options)
