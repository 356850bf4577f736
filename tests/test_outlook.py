"""What history lets expect: bins of a ledger, limits that fill up, usual figures."""

from __future__ import annotations

import asyncio
import math
import os
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from llmbalance import Backend, ConfigError, Ledger, Limits, Router
from llmbalance._history._history import WIDTH, read_history
from llmbalance._history._study import growth_of, study, used_up
from llmbalance._money._ledger import Entry

HOUR, DAY = 3600.0, 86400.0
END = 1_800_000_000.0  # a whole hour

Speed = Callable[[str, float], float]


def steady(name: str, hour: float) -> float:
    return 1.0


def daily(name: str, hour: float) -> float:
    """alpha is slow in the afternoon, beta at night."""
    return 1 + 0.8 * math.cos(math.tau * (hour - (15 if name == "alpha" else 3)) / 24)


def fill(book: Ledger, calls: int, days: float, speed: Speed, end: float = END) -> None:
    draw = random.Random(1)
    for i in range(calls):
        at = end - days * DAY + (i + draw.random()) / calls * days * DAY
        name = draw.choice(["alpha", "beta"])
        slow = speed(name, at % DAY / HOUR)
        ttft = 0.4 * slow * math.exp(0.3 * draw.gauss(0, 1))
        output = draw.randrange(1, 300)
        seconds = ttft + (output - 1) * 0.015 * slow * math.exp(0.1 * draw.gauss(0, 1))
        tokens = {"input": 300, "cache_read": 200, "output": output - 1, "reasoning": 1}
        book.record(
            Entry(
                *(at, f"c{i}", "chat", name, "openai/gpt-4o"),
                tokens=tokens,
                latency_s=seconds,
                ttft_s=ttft,
            )
        )
    book.flush()


def router(ledger: Any, **options: Any) -> Router:
    return Router(
        [
            Backend("openai/gpt-4o", name=name, api_key="k", groups=["chat"])
            for name in ("alpha", "beta")
        ],
        ledger=ledger,
        **options,
    )


def prepared(path: Path, speed: Speed) -> Router:
    """A router with a week behind it, its study made."""
    with Ledger(path) as book:
        fill(book, 20_000, 7, speed, time.time())
    made = router(path, predict="auto")
    outlook = made._fleet.outlook
    assert outlook is not None
    thread = outlook._thread
    if thread is not None:
        thread.join(60)
    assert outlook.study is not None
    return made


# -- bins ------------------------------------------------------------------------


def test_a_file_and_its_entries_give_the_same_bins(tmp_path: Path) -> None:
    with Ledger(":memory:") as memory, Ledger(tmp_path / "a.db") as book:
        for one in (memory, book):
            fill(one, 3000, 2, daily)
            entry = Entry(END - 60, "x", "chat", "alpha", "openai/gpt-4o", status="api")
            one.record(entry)
            whole = Entry(END - 61, "y", "g", "beta", "openai/gpt-4o", latency_s=2.0)
            whole.tokens = {"output": 76}  # only the whole was timed
            one.record(whole)
            one.record(Entry(END, "z", "g", "late", "m"))
            one.flush()
        a, b = (read_history(one, END) for one in (memory, book))
    assert a.attempts == b.attempts == 3002
    assert (a.begin, a.bins, a.end) == (b.begin, b.bins, END)
    assert a.begin % HOUR == 0 and a.bins == pytest.approx(288, abs=6)
    for scope in ("backends", "groups"):
        left, right = getattr(a, scope), getattr(b, scope)
        assert list(left) == list(right)
        for name in left:
            for figure in ("calls", "input", "output", "ttft", "itl"):
                assert getattr(left[name], figure) == [
                    value if value is None else pytest.approx(value)
                    for value in getattr(right[name], figure)
                ]
    beta = b.backends["beta"]
    assert sum(b.backends["alpha"].calls) + sum(beta.calls) == 3002
    assert beta.tokens[0] == beta.input[0] + beta.output[0]
    assert beta.input[0] == 500 * beta.calls[0]


def test_an_answer_timed_as_a_whole_is_split(tmp_path: Path) -> None:
    with Ledger(tmp_path / "a.db") as book:
        entry = Entry(END - 60, "y", "g", "one", "m", latency_s=4.0)
        entry.tokens = {"output": 76}  # 0.5 s and 75 tokens at 0.02 s: a quarter
        book.record(entry)
        book.flush()
        track = read_history(book, END).backends["one"]
    assert track.ttft[-1] == pytest.approx(1.0)
    assert track.itl[-1] == pytest.approx(3.0 / 75)


def test_what_a_backend_did_with_another_model_is_left_out(tmp_path: Path) -> None:
    with Ledger(tmp_path / "a.db") as book:
        fill(book, 100, 1, steady)
        found = read_history(book, END, models={"alpha": "openai/gpt-5"})
    assert list(found.backends) == ["beta"]


def test_an_empty_ledger_has_an_empty_history(tmp_path: Path) -> None:
    with Ledger(tmp_path / "a.db") as book:
        history = read_history(book, END)
    assert (history.bins, history.attempts, history.backends) == (0, 0, {})
    assert not study(history).helps


def test_what_is_no_ledger_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.db").write_text("something else, and long enough to be read")
    with pytest.raises(ConfigError, match="no ledger"):
        read_history(tmp_path / "a.db", END)


# -- headroom --------------------------------------------------------------------


def limit(amount: int, window: float, used: float = 0.0) -> dict[str, Any]:
    return {"limit": amount, "window": window, "burst": amount, "used": used}


def test_a_limit_of_a_minute_is_used_up_when_more_comes_than_comes_back() -> None:
    def ramp(step: int) -> float:
        return 100.0 * step  # a minute: 600 is passed in the seventh bin

    when = used_up(limit(600, 60.0), ramp, END, END)
    # (700 - 600) / 60 a second more than comes back fill 600 in 360 s.
    assert when == pytest.approx(END + 6 * WIDTH + 360)
    assert used_up(limit(600, 60.0), lambda step: 600.0, END, END) is None


def test_a_limit_of_a_day_fills_slowly_from_what_is_used_already() -> None:
    when = used_up(limit(14_400, DAY, 0.5), lambda step: 15.0, END, END)
    assert when == pytest.approx(END + 7200 / (15 / 60 - 14_400 / DAY))


def test_the_bin_that_runs_counts_from_now_on() -> None:
    now = END + 5 * WIDTH + 300
    rates = [0.0] * 5 + [1200.0] * 200
    when = used_up(limit(600, 60.0), lambda step: rates[step - 1], now, END)
    assert when == pytest.approx(now + 60)


def test_a_growth_is_one_when_two_hours_agree() -> None:
    draw = random.Random(3)
    line = [10 + 0.5 * k for k in range(12)]
    assert growth_of([0.0] * 30 + line) == pytest.approx(0.5)
    assert growth_of(line[:11]) == 0.0
    assert growth_of([10.0] * 12) == 0.0
    chance = [growth_of([draw.gauss(10, 3) for _ in range(12)]) for _ in range(200)]
    assert sum(slope != 0 for slope in chance) <= 10


def test_a_limit_that_growth_will_use_up_is_told(tmp_path: Path) -> None:
    with Ledger(tmp_path / "a.db") as book:
        for k in range(12 * 6):  # 10 more an hour in every ten minutes
            for i in range(10 + k):
                at = END - (12 * 6 - k) * WIDTH + i
                book.record(Entry(at, f"{k}-{i}", "chat", "one", "openai/gpt-4o"))
        one = Backend("openai/gpt-4o", name="one", api_key="k", limits=Limits(rpm=9))
        report = Router([one], ledger=book).outlook(now=END)
    row = report["backends"]["one"]
    # 8.1 a minute now, 0.1 more each bin: above 9 in the tenth.
    assert END + 9 * WIDTH <= row["used_up_at"] <= END + 13 * WIDTH
    assert row["calls_growth"] == pytest.approx(0.6)
    assert row["limits"][0]["unit"] == "requests"
    assert "UTC" in str(report)
    assert report["history_helps"] is False


# -- the router ------------------------------------------------------------------


def test_where_the_hour_tells_the_speed_idle_backends_are_expected_so(
    tmp_path: Path,
) -> None:
    made = prepared(tmp_path / "a.db", daily)
    report = made.outlook()
    assert report["history_helps"] and report["in_force"]
    usual = {}
    for name in ("alpha", "beta"):
        row = report["backends"][name]
        assert row["model"] == "holt_winters"
        hour = time.time() % DAY / HOUR
        assert row["ttft"] == pytest.approx(0.42 * daily(name, hour), abs=0.1)
        usual[name] = row["ttft"] + 256 * row["itl"]
    made._fleet.refresh()
    for name in ("alpha", "beta"):
        [view] = [
            line
            for line in made.explain("chat", "hi", strategy="latency").rows()
            if line["backend"] == name
        ]
        assert view["seconds"] == pytest.approx(usual[name], rel=0.15, abs=0.05)


def test_where_it_does_not_nothing_is_told(tmp_path: Path) -> None:
    made = prepared(tmp_path / "a.db", steady)
    report = made.outlook()
    assert not report["history_helps"] and not report["in_force"]
    assert all("more" in row["why"] or "less" in row["why"] for row in report.rows())
    made._fleet.refresh()
    rows = made.explain("chat", "hi").rows()
    assert rows[0]["seconds"] == rows[1]["seconds"] == pytest.approx(0.5 + 256 * 0.02)


def test_figures_follow_the_clock_once_a_minute(tmp_path: Path) -> None:
    made = prepared(tmp_path / "a.db", daily)
    fleet, outlook = made._fleet, made._fleet.outlook
    assert outlook is not None
    assert fleet.due == 0.0  # the first call brings them
    fleet.refresh()
    assert 59 < fleet.due - time.monotonic() < 61
    seen = set()
    midnight = (time.time() // DAY + 1) * DAY
    for hours in (3, 9, 15):
        assert outlook.tick(midnight + hours * HOUR) == 60.0
        seen.add(round(made.explain("chat", "hi").rows()[0]["seconds"], 2))
    assert len(seen) == 3


def test_a_history_that_cannot_be_read_is_left_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(Ledger):
        def entries(self, *span: Any) -> Any:
            raise OSError("the disk is gone")

    made = router(Broken(":memory:"), predict="auto")
    outlook = made._fleet.outlook
    assert outlook is not None
    if outlook._thread is not None:
        outlook._thread.join(60)
    assert outlook.study is None and outlook.tick(END) == 60.0
    assert "the disk is gone" in caplog.text


def test_prediction_needs_a_ledger_and_a_known_word(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="ledger"):
        router(None, predict="auto")
    with pytest.raises(ConfigError, match="predict"):
        router(tmp_path / "a.db", predict="always")
    with pytest.raises(ConfigError, match="ledger"):
        router(None).outlook()
    plain = router(tmp_path / "a.db")
    assert plain._fleet.outlook is None
    assert plain.outlook()["in_force"] is False


async def test_calls_and_streams_go_on_under_prediction(
    llm_provider: Callable[..., Any], tmp_path: Path
) -> None:
    """Real calls tick: what is usual is told before the first of them is sent."""
    path = tmp_path / "a.db"
    with Ledger(path) as book:
        fill(book, 20_000, 7, daily, time.time())
    provider = llm_provider("openai", name="alpha", model="gpt-4o")
    one = Backend(
        "openai/gpt-4o",
        name="alpha",
        groups=["chat"],
        api_key="test-key",
        base_url=provider.base_url,
    )
    ask = [{"role": "user", "content": "hi"}]
    async with Router([one], ledger=path, predict="auto") as made:
        outlook = made._fleet.outlook
        assert outlook is not None
        thread = outlook._thread
        if thread is not None:
            thread.join(60)
        assert outlook.study is not None
        usual = outlook.study.usual("alpha", time.time())
        reply = await made.chat("chat", ask, max_tokens=5)
        assert reply.text
        [candidate] = reply.decision.to_dict()["candidates"]
        assert candidate["seconds"] == pytest.approx(usual[0] + 5 * usual[1], rel=0.02)
        assert [chunk async for chunk in await made.chat("chat", ask, stream=True)]
        report = await asyncio.to_thread(made.outlook)
    assert report["attempts"] >= 19_900


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # fork beside threads
def test_a_forked_child_goes_on_with_what_was_studied(tmp_path: Path) -> None:
    made = prepared(tmp_path / "a.db", daily)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            made._fleet.refresh()
            rows = made.explain("chat", "hi").rows()
            strange = pytest.approx(0.5 + 256 * 0.02)  # of backends nobody knows
            code = 2 if all(row["seconds"] == strange for row in rows) else 0
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
