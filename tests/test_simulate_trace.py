"""Traces: made up, read, and taken apart and together again."""

from __future__ import annotations

import gzip
import json
from array import array
from collections.abc import Callable
from pathlib import Path
from statistics import fmean, median, pstdev

import pytest

from llmbalance import Backend, ConfigError, Price
from llmbalance.simulate import Fleet, Trace, run


def gaps(trace: Trace) -> list[float]:
    return [(b - a) / 1e9 for a, b in zip(trace.at, trace.at[1:], strict=False)]


def cv(trace: Trace) -> float:
    found = gaps(trace)
    return pstdev(found) / fmean(found)


def test_poisson_arrivals_have_their_rate_and_a_cv_of_one() -> None:
    trace = Trace.poisson(rate=20, seconds=2000, seed=1)
    assert trace.rate == pytest.approx(20, rel=0.02)
    assert cv(trace) == pytest.approx(1, abs=0.02)
    assert median(trace.input) == pytest.approx(800, rel=0.03)
    assert median(trace.output) == pytest.approx(150, rel=0.03)


@pytest.mark.parametrize("shape", ["gamma", "weibull"])
@pytest.mark.parametrize("wanted", [0.5, 3.0])
def test_bursts_are_as_rough_as_they_were_asked_to_be(
    shape: str, wanted: float
) -> None:
    trace = Trace.bursty(rate=20, seconds=5000, cv=wanted, shape=shape, seed=1)
    assert trace.rate == pytest.approx(20, rel=0.05)
    assert cv(trace) == pytest.approx(wanted, rel=0.05)


def test_a_day_has_its_peak_where_it_was_put() -> None:
    trace = Trace.daily(rate=2, days=2, swing=0.8, peak=15, seed=1)
    assert trace.rate == pytest.approx(2, rel=0.02)
    hours = [0] * 24
    for at in trace.at:
        hours[int(at / 3.6e12) % 24] += 1
    assert max(hours[14:16]) == max(hours)
    assert max(hours) / min(hours) == pytest.approx(1.8 / 0.2, rel=0.3)


def test_conversations_carry_their_history() -> None:
    trace = Trace.poisson(rate=5, seconds=2000, turns=4, seed=3)
    assert trace.rate == pytest.approx(5, rel=0.1)
    last: dict[int, int] = {}
    assert trace.session is not None
    for i, session in enumerate(trace.session):
        assert trace.input[i] > last.get(session, 0)
        last[session] = trace.input[i] + trace.output[i]
    assert len(trace) / len(last) == pytest.approx(4, rel=0.1)


def test_the_same_seed_makes_the_same_trace() -> None:
    def made(seed: int) -> array[int]:
        return Trace.poisson(rate=5, seconds=100, seed=seed).at

    assert made(1) == made(1) != made(2)


def test_a_csv_may_name_its_columns(tmp_path: Path) -> None:
    path = tmp_path / "calls.csv"
    path.write_text(
        "when,prompt,answer,group,session,max_tokens\n"
        "2026-01-05T10:00:02Z,30,3,b,u1,100\n"
        "2026-01-05T10:00:00.5000000Z,10,1,a,,\n"
        "2026-01-05T10:00:01+00:00,20,2,,u1,50\n"
    )
    trace = Trace.from_csv(path, at="when", input="prompt", output="answer")
    assert [t / 1e9 for t in trace.at] == pytest.approx([0, 0.5, 1.5])
    assert list(trace.input) == [10, 20, 30]
    assert [trace.name_of(i) for i in range(3)] == ["a", "*", "b"]
    assert list(trace.session or []) == [0, 1, 1]
    assert list(trace.most or []) == [0, 50, 100]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("at,input\n1,2\n", "output"),
        ("at,input,output\nsoon,2,3\n", ":2"),
        ("at,input,output\n1,many,3\n", ":2"),
    ],
)
def test_a_csv_that_makes_no_sense_is_refused_with_its_place(
    text: str, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "calls.csv"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        Trace.from_csv(path)


def test_a_mooncake_trace_keeps_its_prompt_blocks(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    lines = [(0, 1024, [0, 1]), (60_000, 1536, [0, 1, 2]), (120_000, 1024, [0, 9])]
    path.write_text(
        "".join(
            json.dumps(
                {"timestamp": t, "input_length": n, "output_length": 5, "hash_ids": h}
            )
            + "\n"
            for t, n, h in lines
        )
    )
    trace = Trace.from_file(path)
    assert list(trace.session or []) == [1, 1, 2]
    assert list(trace.blocks or []) == [0, 2, 5, 7]
    backend = Backend("openai_compatible/m", price=Price(1, 1), cache_life=300.0)
    result = run(trace, Fleet([backend]), samples=True)
    cached = [row["cached"] for row in result.requests()]
    assert cached == [0, 1024, 0]  # 512 tokens are less than a cache keeps


def test_rates_over_time_become_arrivals(tmp_path: Path) -> None:
    path = tmp_path / "rates.csv"
    path.write_text(
        "t_s,m\n" + "".join(f"{600 * k},{1 + 9 * (k == 2)}\n" for k in range(5))
    )
    trace = Trace.from_servegen(path, "m", seed=1)
    in_peak = sum(1200e9 <= at < 1800e9 for at in trace.at)
    assert in_peak == pytest.approx(6000, rel=0.05)
    assert len(trace) - in_peak == pytest.approx(2400, rel=0.08)
    with pytest.raises(ConfigError, match="columns are"):
        Trace.from_servegen(path, "nobody")


def test_public_traces_have_the_size_and_shape_published(recorded: Path) -> None:
    traces = recorded / "traces"
    talk = Trace.from_file(traces / "azure2023_conv.csv")
    assert len(talk) == 19_366
    assert talk.to_dict()["input_mean"] == pytest.approx(1155, abs=1)
    assert cv(talk) == pytest.approx(1.09, abs=0.02)
    code = Trace.from_azure(traces / "azure2023_code.csv")
    assert len(code) == 8_819
    assert cv(code) == pytest.approx(13, abs=1)
    moon = Trace.from_file(traces / "mooncake_conversation.jsonl")
    assert len(moon) == 12_031
    assert fmean(moon.input) == pytest.approx(12_035, abs=5)


def test_traces_are_scaled_cut_and_drawn_from() -> None:
    trace = Trace.poisson(rate=5, seconds=200, seed=1)
    fast = trace.scale(2, input=0.5, output=3)
    assert fast.rate == pytest.approx(2 * trace.rate, rel=0.01)
    assert sum(fast.output) == 3 * sum(trace.output)
    part = trace.cut(50, 100)
    assert part.at[0] < 2e9 and part.seconds < 50
    assert len(trace.cut(0, 50)) + len(part) + len(trace.cut(100)) == len(trace)
    drawn = trace.resample(5000, seed=2)
    assert len(drawn) == 5000
    assert fmean(drawn.input) == pytest.approx(fmean(trace.input), rel=0.1)
    with pytest.raises(ConfigError, match="rate"):
        trace.scale(0)
    with pytest.raises(ConfigError, match="requests"):
        trace.resample(0)


def test_spliced_traces_keep_their_groups_sessions_and_blocks() -> None:
    one = Trace([0, 10], [1, 2], [1, 1], groups=["a"], session=[1, 1],
                block=[5, 6, 5], blocks=[0, 2, 3])  # fmt: skip
    two = Trace([0], [3], [1], groups=["b"], session=[1], block=[7], blocks=[0, 1])
    both = one.splice(two, at=5e-9)
    assert list(both.at) == [0, 5, 10]
    assert [both.name_of(i) for i in range(3)] == ["a", "b", "a"]
    assert list(both.session or []) == [1, 2, 1]
    assert list(both.block or []) == [5, 6, 7, 5]
    assert len(both.cut(0, 9e-9)) == 2
    assert len(one.splice(Trace([1], [1], [1]))) == 3


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"at": [2, 1]}, "at"),
        ({"at": [-1, 1]}, "at"),
        ({"at": [1]}, "input"),
        ({"input": [0, 1]}, "input"),
        ({"output": [1, -1]}, "output"),
        ({"group": [0, 1]}, "group"),
        ({"session": [1]}, "session"),
        ({"block": [1]}, "blocks"),
        ({"input": [1, 2**40]}, "input"),
    ],
)
def test_columns_that_make_no_sense_are_refused(
    columns: dict[str, list[int]], message: str
) -> None:
    good: dict[str, list[int]] = {"at": [0, 1], "input": [1, 1], "output": [1, 1]}
    with pytest.raises(ConfigError, match=message):
        Trace(**(good | columns))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "options",
    [
        {"rate": 0},
        {"seconds": -1},
        {"turns": 0.5},
        {"input": 0},
        {"input": (100, 9)},
        {"output": "many"},
    ],
)
def test_generators_refuse_what_makes_no_sense(options: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        Trace.poisson(**({"rate": 1.0, "seconds": 10.0} | options))  # type: ignore[arg-type]


def test_a_weibull_cannot_be_smoother_than_it_is() -> None:
    with pytest.raises(ConfigError, match="Weibull"):
        Trace.bursty(rate=1, seconds=10, cv=0.001, shape="weibull")


def test_files_may_be_compressed(tmp_path: Path) -> None:
    text = "at,input,output\n0,10,1\n5,20,2\n"
    (tmp_path / "plain.csv").write_text(text)
    (tmp_path / "packed").write_bytes(gzip.compress(text.encode()))
    line = b'{"timestamp": 1, "input_length": 7, "output_length": 3}\n'
    (tmp_path / "m.jsonl.gz").write_bytes(gzip.compress(line))
    for made in (Trace.from_csv, Trace.from_file):
        plain, packed = made(tmp_path / "plain.csv"), made(tmp_path / "packed")
        assert list(packed.at) == list(plain.at) == [0, 5_000_000_000]
    assert list(Trace.from_file(tmp_path / "m.jsonl.gz").input) == [7]
    (tmp_path / "cut").write_bytes(gzip.compress(text.encode() * 50)[:60])
    with pytest.raises(ConfigError, match="cut"):
        Trace.from_csv(tmp_path / "cut")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("nan,2,3,", r"calls.csv:3.*at = nan"),
        ("1e300,2,3,", r"calls.csv:3.*give seconds"),
        ("1700000000000,2,3,", r"calls.csv:3.*give seconds"),  # they are ms
        ("1,inf,3,", r"calls.csv:3"),
        ("1,-2,3,", r"calls.csv:3.*input = -2"),
        ("1,2,-3,", r"calls.csv:3.*output = -3"),
        ("1,2,3e12,", r"calls.csv:3.*output = 3e12"),
        ("1,2,3,-4", r"calls.csv:3.*max_tokens = -4"),
        ("1,2", r"calls.csv:3.*ends before its last column"),
    ],
)
def test_a_row_of_no_request_is_refused_with_its_line(
    row: str, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "calls.csv"
    path.write_text(f"at,input,output,max_tokens\n0,1,1,\n{row}\n")
    with pytest.raises(ConfigError, match=message):
        Trace.from_csv(path)


def test_files_of_another_kind_are_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "odd"
    path.write_bytes(b"at,input,output,group\n0,1,1,caf\xe9\n")
    with pytest.raises(ConfigError, match=r"odd.*UTF-8"):
        Trace.from_file(path)
    for where in (path, tmp_path / "none.db", tmp_path):
        with pytest.raises(ConfigError, match="no ledger"):
            Trace.from_ledger(where)
    assert not (tmp_path / "none.db").exists()
    good = '{"timestamp": 0, "input_length": 1, "output_length": 1, "hash_ids": [3]}\n'
    for old, new in (("1,", "-1,"), ("[3]", "[-3]"), ("{", "")):
        path.write_text(good + good.replace(old, new))
        with pytest.raises(ConfigError, match="odd:2"):
            Trace.from_mooncake(path)


@pytest.mark.parametrize(
    ("rows", "options", "message"),
    [
        ("0,1\n600,x\n", {}, ":3"),
        ("0,1\n600,-1\n", {}, ":3.*rates >= 0"),
        ("0,1\n600,nan\n", {}, ":3.*rates >= 0"),
        ("600,1\n0,1\n", {}, "ascend"),
        ("0,1\n600,1\n", {"scale": 0}, "scale"),
        ("0,1\n600,1\n", {"seconds": -1}, "seconds"),
    ],
)
def test_rates_that_make_no_sense_are_refused(
    rows: str, options: dict[str, float], message: str, tmp_path: Path
) -> None:
    path = tmp_path / "rates.csv"
    path.write_text("t_s,m\n" + rows)
    with pytest.raises(ConfigError, match=message):
        Trace.from_servegen(path, "m", **options)  # type: ignore[arg-type]


def test_a_rate_of_nothing_is_a_trace_of_nothing(tmp_path: Path) -> None:
    (tmp_path / "rates.csv").write_text("t_s,m\n0,0\n600,0\n")
    assert len(Trace.from_servegen(tmp_path / "rates.csv", "m")) == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.scale("2"), "rate"),
        (lambda t: t.scale(float("inf")), "rate"),
        (lambda t: t.resample(2.5), "requests"),
        (lambda t: t.cut(float("nan")), "start"),
        (lambda t: t.cut(0, -1), "end"),
        (lambda t: t.splice(t, at=-1), "at"),
        (lambda t: t.splice("t"), "other"),
        (lambda t: Trace.bursty(1, 10, cv=1000), "cv"),
        (lambda t: Trace.daily(1, 1, peak=25), "peak"),
        (lambda t: Trace.poisson(1, 10, input=(float("nan"), 1)), "input"),
        (lambda t: Trace([0], [1], [1], groups="chat"), "groups"),
        (lambda t: Trace([0], [1], [1], most=[-1]), "most"),
        (lambda t: Trace([0], [1], [1], session=[2**31]), "session"),
        (lambda t: Trace([0], [1], [1], block=[1], blocks=[0, 2]), "blocks"),
        (lambda t: Trace([0], [1], [1], block_tokens=0), "block_tokens"),
        (lambda t: Trace([2**63 - 1], [1], [1]), "at"),
    ],
)
def test_what_makes_no_trace_is_refused_by_name(
    change: Callable[[Trace], Trace], message: str
) -> None:
    with pytest.raises(ConfigError, match=f"^{message}"):
        change(Trace.poisson(rate=1, seconds=10, seed=1))


def test_prompt_blocks_of_different_sizes_are_not_mixed() -> None:
    one, two = (
        Trace([0], [1], [1], block=[1], blocks=[0, 1], block_tokens=size)
        for size in (512, 16)
    )
    assert one.splice(two).block is None
    assert list(one.splice(one).block or []) == [1, 1]
