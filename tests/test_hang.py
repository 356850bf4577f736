"""A backend that hangs costs its own calls time, never their answer."""

from __future__ import annotations

import asyncio

from llmbalance import Backend, Price, Router

ASK = [{"role": "user", "content": "Hello"}]


async def test_calls_leave_a_hanging_backend_whatever_its_expected_time(llm_provider):
    cheap = llm_provider("openai", name="cheap", model="gpt-4o")
    dear = llm_provider("openai", name="dear", model="gpt-4o")
    cheap.hang()
    router = Router(
        [
            Backend(
                "openai/gpt-4o",
                name=provider.name,
                groups=["all"],
                api_key="test-key",
                base_url=provider.base_url,
                price=price,
            )
            for provider, price in ((cheap, Price(0.1, 0.1)), (dear, Price(1, 1)))
        ],
        seed=1,
    )
    for _ in range(3):  # the second and third find the first ones hanging still
        calls = [router.chat("all", ASK, timeout=1.0) for _ in range(4)]
        replies = await asyncio.gather(*calls)
        assert {reply.backend for reply in replies} == {"dear"}
