"""A router follows its file by itself: when it changes, or when a signal comes."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from llmbalance import Backend, ConfigError, ReloadEvent, Router
from llmbalance._configfile import _follow
from llmbalance.testing import MockProvider

ASK = [{"role": "user", "content": "What is the capital of France?"}]
TEXT = '[[backend]]\nname = "a"\nmodel = "ollama/x"\nweight = {}\n'


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Look a hundred times a second; and let no thread stay behind."""
    monkeypatch.setattr(_follow, "_INTERVAL", 0.01)
    monkeypatch.setattr(_follow, "_SETTLE", 0.005)
    yield
    gc.collect()
    assert until(lambda: not followers())


def followers() -> list[threading.Thread]:
    return [t for t in threading.enumerate() if t.name == "llmbalance-follow"]


def until(good: Callable[[], object], seconds: float = 5.0) -> bool:
    deadline = time.monotonic() + seconds
    while not good():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.002)
    return True


def weight(router: Router) -> float:
    return float(router._fleet.pool.backend(0)["weight"])


def told(router: Router) -> list[ReloadEvent]:
    """A list that every ReloadEvent of the router joins."""
    events: list[ReloadEvent] = []
    router.events.subscribe(
        lambda e: events.append(e) if isinstance(e, ReloadEvent) else None
    )
    return events


def write(path: Path, text: str) -> None:
    """Replace a file at once, as careful editors do."""
    new = path.with_suffix(".new")
    new.write_text(text, "utf-8")
    os.replace(new, path)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "llmbalance.toml"
    path.write_text(TEXT.format(1), "utf-8")
    return path


def test_a_file_that_is_replaced_or_written_over_is_followed(path: Path) -> None:
    router = Router.from_file(path, watch=True)
    events = told(router)
    write(path, TEXT.format(2))
    assert until(lambda: weight(router) == 2)
    path.write_text(TEXT.format(30), "utf-8")
    assert until(lambda: weight(router) == 30)
    assert until(lambda: len(events) == 2)
    assert [(e.source, e.ok, e.errors) for e in events] == [(str(path), True, ())] * 2
    router.close()


def test_a_link_that_points_elsewhere_is_followed(tmp_path: Path) -> None:
    """As mounted configurations are replaced: all at once, by a link of a folder."""
    for name, number in (("old", 1), ("new", 2)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "llmbalance.toml").write_text(TEXT.format(number), "utf-8")
    link = tmp_path / "data"
    link.symlink_to("old")
    path = tmp_path / "llmbalance.toml"
    path.symlink_to("data/llmbalance.toml")
    router = Router.from_file(path, watch=True)
    fresh = tmp_path / "fresh"
    fresh.symlink_to("new")
    os.replace(fresh, link)
    assert until(lambda: weight(router) == 2)
    router.close()


def test_a_broken_file_changes_nothing_is_told_once_and_followed_when_it_is_whole(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    router = Router.from_file(path, watch=True)
    events = told(router)
    path.write_text("[[backend]]\nname = ", "utf-8")
    assert until(lambda: events)
    time.sleep(0.1)
    assert len(events) == 1
    assert not events[0].ok
    assert f"{path}:2" in events[0].errors[0]
    assert "changes nothing" in caplog.text
    assert weight(router) == 1
    path.unlink()
    assert until(lambda: len(events) == 2)
    assert "No such file" in events[1].errors[0]
    path.write_text(TEXT.format(4), "utf-8")
    assert until(lambda: weight(router) == 4)
    router.close()


def test_a_file_that_goes_on_changing_is_not_read_before_it_rests(path: Path) -> None:
    router = Router.from_file(path, watch=True)
    _follow._SETTLE, rests = 0.2, _follow._SETTLE
    try:
        events = told(router)
        for step in range(30):
            path.write_text(TEXT.format(1) + "# growing\n" * step, "utf-8")
            time.sleep(0.02)
        path.write_text(TEXT.format(9), "utf-8")
        assert until(lambda: weight(router) == 9)
        router.events.flush()
        assert len(events) == 1
    finally:
        _follow._SETTLE = rests
    router.close()


def test_price_tables_of_the_file_are_followed_too(path: Path) -> None:
    table = path.parent / "prices.json"
    row = '{{"x": {{"litellm_provider": "ollama", "input_cost_per_token": {}}}}}'
    table.write_text(row.format("1e-6"), "utf-8")
    path.write_text('[router]\nprices = ["prices.json"]\n' + TEXT.format(1), "utf-8")
    router = Router.from_file(path, watch=True)
    events = told(router)
    write(table, row.format("2e-6"))
    assert until(lambda: events)
    assert events[0].ok, events
    router.close()


def test_included_files_of_litellm_are_followed_too(tmp_path: Path) -> None:
    pytest.importorskip("yaml")
    main, other = tmp_path / "config.yaml", tmp_path / "models.yaml"
    row = (
        "model_list:\n- model_name: g\n  litellm_params: {{model: ollama/x, rpm: {}}}\n"
    )
    main.write_text("include: [models.yaml]\n", "utf-8")
    other.write_text(row.format(60), "utf-8")
    router = Router.from_litellm(main, watch=True)
    write(other, row.format(90))
    assert until(lambda: router._fleet.pool.backend(0)["limits"][0]["limit"] == 90)
    router.close()


def test_a_router_that_is_dropped_is_followed_no_more(path: Path) -> None:
    router = Router.from_file(path, watch=True)
    known = weakref.ref(router)
    assert followers()
    time.sleep(0.03)
    del router
    assert until(lambda: gc.collect() is not None and known() is None)
    assert until(lambda: not followers())


def test_a_router_that_is_closed_follows_no_more(path: Path) -> None:
    async def use() -> Router:
        async with Router.from_file(path, watch=True) as router:
            assert followers()
        return router

    router = asyncio.run(use())
    assert until(lambda: not followers())
    write(path, TEXT.format(5))
    time.sleep(0.1)
    assert weight(router) == 1
    router.reload()
    assert weight(router) == 5


def test_a_dict_cannot_be_watched() -> None:
    with pytest.raises(ConfigError, match="watch"):
        Router.from_file({"backend": [{"model": "ollama/x"}]}, watch=True)


@pytest.mark.parametrize("watch", [False, True])
def test_a_signal_has_the_file_read_again(path: Path, watch: bool) -> None:
    before = signal.getsignal(signal.SIGHUP)
    router = Router.from_file(path, watch=watch)
    router.reload_on_signal(signal.SIGHUP)
    events = told(router)
    os.kill(os.getpid(), signal.SIGHUP)  # although the file is as it was
    assert until(lambda: events)
    assert events[0].ok
    path.write_text("[[backend]]", "utf-8")
    os.kill(os.getpid(), signal.SIGHUP)
    assert until(lambda: any(not e.ok for e in events))
    router.close()
    assert signal.getsignal(signal.SIGHUP) == before


def test_only_the_main_thread_may_ask_for_a_signal(path: Path) -> None:
    router = Router.from_file(path)
    caught: list[str] = []

    def ask() -> None:
        try:
            router.reload_on_signal(signal.SIGHUP)
        except ConfigError as error:
            caught.append(str(error))

    thread = threading.Thread(target=ask)
    thread.start()
    thread.join()
    assert "main thread" in caught[0]
    with pytest.raises(ConfigError, match="from_file"):
        Router([Backend("ollama/x")]).reload_on_signal(signal.SIGHUP)


def test_calls_go_on_in_one_thread_while_another_follows(path: Path) -> None:
    many = "".join(
        f'[[backend]]\nname = "n{i}"\nmodel = "ollama/{i}"\ngroups = ["g", "h{i}"]\n'
        for i in range(8)
    )
    path.write_text(TEXT.format(1) + 'groups = ["g"]\n', "utf-8")
    router = Router.from_file(path, watch=True)
    events = told(router)
    texts = [TEXT.format(k) + 'groups = ["g"]\n' + many * (k % 2) for k in range(6)]
    fleet, picks = router._fleet, 0
    for text in texts[1:]:
        done = len(events)
        write(path, text)
        while len(events) == done:
            lease = fleet.pool.pick(fleet.group("g"), "hello")
            assert fleet.targets[lease.backend].index == lease.backend
            lease.settle(0, (1, 0, 0, 0, 0, 0, 1), 0.1, 0.1)
            picks += 1
    assert picks > 100
    assert all(event.ok for event in events), events
    router.close()


async def test_calls_under_way_end_well_while_the_file_changes(
    tmp_path: Path, llm_provider: Callable[..., MockProvider]
) -> None:
    provider = llm_provider("openai", ttft=0.01)
    path = tmp_path / "llmbalance.toml"

    def text(step: int) -> str:
        rows = "".join(
            f'[[backend]]\nname = "p{k}"\nmodel = "openai_compatible/gpt-4o"\n'
            f'base_url = "{provider.base_url}"\napi_key = "test-key"\n'
            f'groups = ["all", "g{step % 3}"]\nprice = {{ input = 1, output = 1 }}\n'
            f"limits = {{ rpm = {6000 + step}, tpm = 10_000_000 }}\n"
            for k in range(2 + step % 2)
        )
        return rows + f"[budget.day]\nusd = {100 + step}\n"

    write(path, text(0))
    async with Router.from_file(path, watch=True) as router:
        events = told(router)
        calls: list[asyncio.Future[Any]] = []
        for step in range(1, 12):
            seen = len(events)
            write(path, text(step))
            while len(events) == seen:
                calls.append(asyncio.ensure_future(router.chat("all", ASK)))
                await asyncio.sleep(0.002)
        replies = await asyncio.gather(*calls)
        pool = router._fleet.pool
        assert all(event.ok for event in events), events
        assert pool.usage()["in_flight"] == 0
        assert pool.budget(0)["reserved"] == 0
        assert pool.budget(0)["spent"] == sum(r.cost_nano_usd for r in replies)
