"""What is wrong is refused at once, naming the field, the value and the remedy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from llmbalance import (
    Backend,
    Breaker,
    Budget,
    ConfigError,
    InvalidRequestError,
    Limit,
    Limits,
    Price,
    PriceTable,
    Router,
    Task,
    Timeouts,
    UnknownModelError,
)

GOOD = Backend("openai/gpt-4o", api_key="k")
OTHER = Backend("openai/gpt-4o", name="other", api_key="k")


def router(*backends: Backend, **options: Any) -> Router:
    """A router, or the error of making one."""
    return Router(list(backends) or [GOOD], **options)


@pytest.mark.parametrize(
    ("make", "field", "says"),
    [
        (lambda: Backend("gpt-4o"), "model", "provider/model"),
        (lambda: router(Backend("opnai/gpt-4o", api_key="k")), "provider", "openai"),
        (lambda: Router([]), "backends", "at least one"),
        (lambda: Router(["openai/gpt-4o"]), "backends", "Backend"),
        (lambda: router(GOOD, GOOD), "name", "its own name"),
        (lambda: router(strategy="cheapest"), "strategy", "use one of"),
        (lambda: router(strategy="compsite"), "strategy", "did you mean 'composite'"),
        (lambda: router(timeout=0), "timeout", "> 0"),
        (lambda: router(v=-1), "v", ">= 0"),
        (lambda: router(wait="false"), "wait", "True or False"),
        (lambda: router(auto_session="no"), "auto_session", "True or False"),
        (lambda: router(max_waiting=1.5), "max_waiting", "whole number"),
        (lambda: router(seed="x"), "seed", "whole number"),
        (lambda: router(default_task="x"), "default_task", "tasks="),
        (lambda: Task(name="t", group="g", max_tokens=1.5), "max_tokens", "whole"),
        (lambda: Task(name="t", group="g", min_quality=256), "min_quality", "255"),
        (lambda: router(fallbacks={"openai/gpt-4o": ["x"]}), "fallbacks", "use one of"),
        (lambda: router(fallbacks={"nobody": ["x"]}), "fallbacks", "use one of"),
        (lambda: router(fallbacks={"openai/gpt-4o": "x"}), "fallbacks", "[...]"),
        (lambda: router(sessions=1000), "sessions", "power of two"),
        (lambda: router(budgets=[Budget(usd=1, group="x")]), "group", "use one of"),
        (lambda: router(budgets=[Budget(usd=1, backend="x")]), "backend", "use one of"),
        (lambda: Limits(rpm=-1), "rpm", "> 0"),
        (lambda: Limits(tpm=0), "tpm", "> 0"),
        (lambda: Limits(concurrency=-3), "concurrency", "> 0"),
        (lambda: Limits(rpm=1, charge="guess"), "charge", "use one of"),
        (lambda: Limit("calls", 5), "what", "use one of"),
        (lambda: Limit("requests", 5, per="fortnight"), "per", "minute"),
        (lambda: Backend("openai/x", weight=-1), "weight", ">= 0"),
        (lambda: Backend("openai/x", order=300), "order", "0 to 255"),
        (lambda: Backend("openai/x", groups="all"), "groups", "list"),
        (lambda: Backend("openai/x", can=["fly"]), "can", "use one of"),
        (lambda: Budget(usd=-1), "usd", ">= 0"),
        (lambda: Budget(usd=1, per="fortnight"), "per", "month"),
        (lambda: Budget(usd=1, group="a", tag="b"), "tag", "one of"),
        (lambda: Timeouts(idle=-1), "idle", "> 0"),
        (lambda: Breaker(failure_rate=2), "failure_rate", "share"),
        (lambda: Breaker(cooldown=10, cooldown_max=5), "cooldown_max", "cooldown"),
        (lambda: Price(-1, 1), "input", ">= 0"),
        (
            lambda: router(
                Backend("openai_compatible/x", base_url="http://127.0.0.1:1/v1"),
                prices=PriceTable(builtin=False),
            ),
            "price",
            "Price(input, output)",
        ),
        (
            lambda: router(Backend("openai/x", api_key="k", base_url="127.0.0.1")),
            "base_url",
            "https://",
        ),
    ],
)
def test_a_wrong_setting_names_field_value_and_remedy(
    make: Callable[[], object], field: str, says: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        make()
    assert caught.value.field == field
    assert says in str(caught.value)
    assert field in str(caught.value)


def test_a_missing_key_names_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(ConfigError, match="OPENAI_API_KEY"):
        router(Backend("openai/gpt-4o"))
    with pytest.raises(ConfigError, match="MY_OWN_KEY"):
        router(Backend("openai/gpt-4o", api_key="env:MY_OWN_KEY"))


def test_no_key_is_ever_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    secret = "sk-very-secret-0123456789"
    backend = Backend(
        "openai/gpt-4o", api_key=secret, options={"headers": {"X-Key": secret}}
    )
    made = router(backend)
    assert secret not in repr(backend)
    assert secret not in repr(made)
    assert secret not in repr(made._fleet.targets)
    with pytest.raises(ConfigError) as caught:
        router(Backend("openai/gpt-4o", api_key=secret + "\r\nX: y"))
    assert "very-secret" not in str(caught.value)


def test_two_backends_of_one_model_need_names_and_then_share_its_group() -> None:
    made = router(GOOD, OTHER)
    assert made.backends == ["openai/gpt-4o", "other"]


@pytest.mark.parametrize(
    ("options", "field", "says"),
    [
        ({"model": ""}, "model", "group"),
        ({"model": ["openai/gpt-4o"]}, "model", "group"),
        ({"task": "auto"}, "task", "tasks="),
        ({"tags": 5}, "tags", "list"),
        ({"tags": [5]}, "tags", "list"),
        ({"any_tag": "no"}, "any_tag", "True or False"),
        ({"session": ""}, "session", "None for none"),
        ({"wait": "no"}, "wait", "True or False"),
        ({"min_quality": True}, "min_quality", "0 to 255"),
        ({"max_tokens": True}, "max_tokens", "whole number"),
        ({"strategy": "compsite"}, "strategy", "did you mean 'composite'"),
        ({"fallbacks": "other"}, "fallbacks", r"\[\] for none"),
        ({"fallbacks": [3]}, "fallbacks", "name of a group"),
    ],
)
def test_what_a_call_cannot_mean_is_refused_before_anything_is_sent(
    options: dict[str, Any], field: str, says: str
) -> None:
    asked = {"model": "openai/gpt-4o", **options}
    with pytest.raises(InvalidRequestError, match=says) as caught:
        router().acquire(messages="Hello", **asked)
    assert caught.value.field == field


def test_an_unknown_fallback_of_a_call_is_told_as_such() -> None:
    with pytest.raises(UnknownModelError, match=r"^fallbacks = 'typo': no group"):
        router().acquire("openai/gpt-4o", "Hello", fallbacks=["typo"])
    wild = router(Backend("openai/*", api_key="k"), GOOD, max_models=0)
    with pytest.raises(UnknownModelError, match=r"^fallbacks = 'openai/o3': 0 models"):
        wild.acquire("openai/gpt-4o", "Hello", fallbacks=["openai/o3"])
    with pytest.raises(UnknownModelError, match=r"^model = 'openai/o3': 0 models"):
        wild.acquire("openai/o3", "Hello")


@pytest.mark.parametrize("field", ["ttft", "seconds"])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1.0, 1e300])
def test_a_lease_is_not_settled_with_what_is_no_time(field: str, value: float) -> None:
    lease = router().acquire("openai/gpt-4o", "Hello")
    with lease:
        with pytest.raises(InvalidRequestError, match="a million") as caught:
            lease.settle(**{field: value})
        assert caught.value.field == field
        assert lease.settle(seconds=1.0, ttft=0.1) > 0  # it was not settled yet
