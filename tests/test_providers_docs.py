"""The page on providers: its tables are those of the code, its examples work."""

from __future__ import annotations

import json
import re
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from faults import FaultServer, Peer, reply

from llmbalance import AuthenticationError, Backend, Price, Router
from llmbalance.testing import MockProvider

DOCS = Path(__file__).parents[1] / "docs"
PAGE = (DOCS / "providers.md").read_text()
ASK = [{"role": "user", "content": "Polly?"}]


def examples(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the page's Python blocks define."""
    monkeypatch.setenv("ACME_API_KEY", "test-key")
    monkeypatch.setenv("PARROT_KEY", "cracker")
    names: dict[str, Any] = {"Backend": Backend, "Price": Price}
    for block in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL):
        exec(compile(block, "docs/providers.md", "exec"), names)
    return names


def test_the_tables_are_those_of_the_code() -> None:
    fill = runpy.run_path(str(DOCS / "providers.py"))["fill"]
    assert fill(PAGE) == PAGE, "run ./dev docs"
    assert fill(PAGE.replace("| ✓", "| ")) == PAGE


def test_the_example_of_a_relative_of_openai_works(
    llm_provider: Callable[..., MockProvider], monkeypatch: pytest.MonkeyPatch
) -> None:
    acme = examples(monkeypatch)["Acme"]
    mock = llm_provider("openai_compatible", model="acme-large", reply="Pretty Polly.")
    backend = Backend(
        "acme/acme-large",
        name="acme",
        dialect=acme,
        base_url=mock.base_url,
        price=Price(1, 2),
    )
    router = Router([backend])
    answer = router.sync.chat("acme", ASK, seed=5, logit_bias={"1": 2}, max_tokens=9)
    assert answer.text == "Pretty Polly."
    assert answer.warnings == [
        "logit_bias left out: Acme has no such parameter",
    ]
    sent = json.loads(mock.requests[-1].body)
    assert sent["random_seed"] == 5 and sent["max_tokens"] == 9
    assert "logit_bias" not in sent
    chunks = list(router.sync.chat("acme", ASK, stream=True))
    assert "".join(chunk.text for chunk in chunks) == "Pretty Polly."


def test_the_example_of_an_own_dialect_works(monkeypatch: pytest.MonkeyPatch) -> None:
    def say(peer: Peer) -> None:
        if peer.request.headers.get("x-parrot-key") != "cracker":
            peer.send(reply(b'{"error": "who are you?"}', 401))
            return
        words = json.loads(peer.request.body)["say"]
        answer = {"said": f"{words} {words}", "heard": 1, "words": 2}
        peer.send(reply(json.dumps(answer).encode()))

    parrot = examples(monkeypatch)["Parrot"]
    with FaultServer() as server:
        server.on("/say", say)
        settings: dict[str, Any] = {
            "name": "parrot",
            "dialect": parrot,
            "base_url": server.url,
            "price": Price(1, 2),
        }
        router = Router([Backend("parrot/grey", **settings)])
        answer = router.sync.chat("parrot", ASK, temperature=1)
        assert answer.text == "Polly? Polly?"
        assert answer.cost_nano_usd == 1 * 1000 + 2 * 2000
        assert answer.warnings == ["temperature left out: Parrot knows no parameters"]
        stranger = Router([Backend("parrot/grey", api_key="x", **settings)])
        with pytest.raises(AuthenticationError):
            stranger.sync.chat("parrot", ASK)
