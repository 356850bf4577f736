"""A soft budget tells its listeners too, once a window."""

from __future__ import annotations

from llmbalance import Backend, Budget, BudgetEvent, Price, Router

ASK = [{"role": "user", "content": "Hello"}]


async def test_a_mark_that_is_passed_is_an_event_once(llm_provider):
    provider = llm_provider("openai", model="gpt-4o", output_tokens=10)
    router = Router(
        [
            Backend(
                "openai/gpt-4o",
                groups=["all"],
                api_key="test-key",
                base_url=provider.base_url,
                price=Price(0, 100),
            )
        ],
        budgets=[Budget(usd=0.004, hard=False, alert_at=(0.5,))],
    )
    told: list[object] = []
    router.events.subscribe(told.append)
    for _ in range(4):  # a tenth of a cent each: the second passes the half
        await router.chat("all", ASK, max_tokens=10)
    router.events.flush(5)
    events = [event for event in told if isinstance(event, BudgetEvent)]
    assert [(event.share, round(event.spent, 6)) for event in events] == [(0.5, 0.002)]
