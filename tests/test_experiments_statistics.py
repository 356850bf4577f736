"""The statistics of experiments, against oracles, brute force and simulated worlds."""

from __future__ import annotations

import json
import math
from collections import Counter
from random import Random
from typing import Any

import pytest

from llmbalance import Bandit, Experiment
from llmbalance._experiments._awaited import Awaited
from llmbalance._experiments._bandit import Thompson
from llmbalance._experiments._memory import knowledge_of, recall
from llmbalance._experiments._sequential import apart, evidence, p_b_beats_a, radius
from llmbalance._experiments._split import Split
from llmbalance._experiments._study import _MOST_UNITS, Outcome, Study
from llmbalance._experiments._tally import Tally

ARMS: dict[str, dict[str, Any]] = {"control": {}, "b": {}}


def study(seed: int = 1, **fields: Any) -> Study:
    return Study(
        Experiment(**({"name": "x", "arms": ARMS} | fields)), 0.0, Random(seed)
    )


# -- the sequential test -------------------------------------------------------


@pytest.mark.parametrize(
    ("calls", "difference", "tau2", "ratio"),
    [
        (100, 0.1, 0.01, 0.8874534402305833),
        (1000, 0.1, 0.01, 3.278721627526389),
        (1000, 0.2, 0.01, 1698.4198515761295),
        (10000, 0.05, 0.01, 64.17015094518752),
    ],
)
def test_the_evidence_is_that_of_the_normal_mixture(calls, difference, tau2, ratio):
    assert math.exp(evidence(difference, 2 / calls, tau2)) == pytest.approx(ratio)


def test_the_recorded_oracles_agree(recorded):
    oracles = json.loads((recorded / "oracles.json").read_text())
    for n, d, s2, tau2, ratio in oracles["msprt_normal_two_sample"]["cases"]:
        assert math.exp(evidence(d, 2 * s2 / n, tau2)) == pytest.approx(ratio)
    for counts, probability in oracles["beta_p_b_beats_a"]["cases"]:
        assert p_b_beats_a(*counts) == pytest.approx(probability, rel=1e-9)


def test_the_interval_holds_what_the_test_would_not_refuse():
    for alpha in (0.01, 0.05, 0.2):
        half = radius(0.002, 0.01, alpha)
        assert evidence(half, 0.002, 0.01) == pytest.approx(-math.log(alpha))
    least = apart(0.5, 0.001, 0.002, 0.01)
    alpha = math.exp(-least) / 2
    both = radius(0.001, 0.01, alpha) + radius(0.002, 0.01, alpha)
    assert both == pytest.approx(0.5, rel=1e-6)


@pytest.mark.parametrize(
    ("counts", "probability"),
    [
        ((1, 1, 1, 1), 0.5),
        ((2, 1, 1, 2), 1 / 6),
        ((11, 91, 16, 86), 0.8532837899338557),
        ((101, 901, 121, 881), 0.9231834389731917),
    ],
)
def test_who_succeeds_more_often_is_computed_exactly(counts, probability):
    assert p_b_beats_a(*counts) == pytest.approx(probability, rel=1e-9)


@pytest.mark.parametrize(
    "counts", [(3, 40, 9, 7), (40, 3, 9, 7), (9, 7, 3, 40), (3000, 2000, 2950, 2050)]
)
def test_whichever_sum_is_shortest_the_probability_is_the_same(counts):
    a, b, c, d = counts
    direct = p_b_beats_a(a, b, c, d)
    assert p_b_beats_a(c, d, a, b) == pytest.approx(1 - direct, abs=1e-9)
    assert p_b_beats_a(b, a, d, c) == pytest.approx(1 - direct, abs=1e-9)
    rng = Random(1)
    draws = 20_000
    wins = sum(rng.betavariate(c, d) > rng.betavariate(a, b) for _ in range(draws))
    assert direct == pytest.approx(wins / draws, abs=0.015)


def test_very_many_calls_go_by_the_normal():
    counts = (95_000, 15_000, 95_200, 14_800)
    exact = 0.8936266834  # by the sum, with 14,800 terms
    assert p_b_beats_a(*counts) == pytest.approx(exact, abs=1e-5)


def means_of(rng: Random, calls: int, gap: float, looks: int) -> list[float]:
    """ln of the evidence at evenly spread looks at two arms of unit variance."""
    step, total, seen = calls // looks, 0.0, []
    for look in range(1, looks + 1):
        n = look * step
        total += rng.gauss(gap * step, math.sqrt(2 * step))
        seen.append(evidence(total / n, 2 / n, 0.01))
    return seen


def test_equal_arms_looked_at_fifty_times_are_rarely_told_apart():
    rng = Random(5)
    worlds, bar = 2000, math.log(20)
    wrong = sum(max(means_of(rng, 5000, 0.0, 50)) > bar for _ in range(worlds))
    assert wrong / worlds <= 0.05


def test_a_tenth_of_a_deviation_is_found():
    rng = Random(6)
    worlds, bar = 500, math.log(20)
    found = [
        next((i for i, x in enumerate(looks) if x > bar), None)
        for looks in (means_of(rng, 5000, 0.1, 50) for _ in range(worlds))
    ]
    stops = sorted(100 * (i + 1) for i in found if i is not None)
    assert len(stops) / worlds >= 0.95
    assert 1000 <= stops[len(stops) // 2] <= 2200  # of 5,000 calls an arm


def verdict_of(rates: tuple[float, float], seed: int, **fields: Any) -> str:
    """The verdict after 2,000 calls, looked at 40 times."""
    s, rng = study(seed, **fields), Random(seed + 1000)
    for i in range(2000):
        now = i / 50
        arm = s.deal(None, now)
        s.hear(Outcome(arm, None, rng.random() < rates[arm], 1000, 0.5), now)
    s.work(100.0)
    return s.compare(1, 0).verdict


def test_equal_arms_of_an_experiment_are_rarely_told_apart():
    told = [verdict_of((0.9, 0.9), seed) for seed in range(120)]
    assert told.count("undecided") >= 114


def test_equal_arms_of_a_bandit_are_rarely_told_apart():
    told = [verdict_of((0.9, 0.9), seed, bandit=Bandit()) for seed in range(60)]
    assert told.count("undecided") >= 57


def test_a_small_arm_that_is_equal_is_rarely_told_apart():
    told = [verdict_of((0.95, 0.95), seed, ramp=[(0, 0.1)]) for seed in range(200)]
    assert told.count("undecided") >= 195


def test_a_difference_is_found_and_said_in_the_right_direction():
    assert verdict_of((0.7, 0.9), 1) == "better"
    assert verdict_of((0.9, 0.7), 1) == "worse"
    assert verdict_of((0.5, 0.9), 1, bandit=Bandit(min_share=0.2)) == "better"


@pytest.mark.parametrize(
    ("metric", "other", "lift"),
    [
        ("cost", Outcome(1, None, True, 500, 1.0), -0.5),
        ("latency", Outcome(1, None, True, 1000, 0.5), -0.5),
    ],
)
def test_cheaper_and_faster_are_better(metric, other, lift):
    s, rng = study(metric=metric), Random(2)
    for i in range(600):
        noise = rng.uniform(0.9, 1.1)
        base = other if i % 2 else Outcome(0, None, True, 1000, 1.0)
        nano, seconds = int(base.nano * noise), base.seconds * noise
        s.hear(base._replace(nano=nano, seconds=seconds), i / 20)
    s.work(100.0)
    found = s.compare(1, 0)
    assert found.verdict == "better"
    assert found.lift == pytest.approx(lift, abs=0.03)
    assert found.low < lift < found.high < 0
    assert s.best() == 1


def test_a_failure_is_not_fast():
    s = study(metric="latency")
    for i in range(400):
        s.hear(Outcome(i % 2, None, not (i % 2 and i % 3), 10, 0.01 if i % 3 else 1), i)
    slow, quick = (s.tallies[arm].n for arm in (0, 1))
    assert slow > 2 * quick  # the failures of the second arm have no latency


def test_of_several_arms_only_the_best_of_all_wins():
    s, rng = study(arms={"a": {}, "b": {}, "c": {}}), Random(3)
    for i in range(9000):
        arm = i % 3
        s.hear(Outcome(arm, None, rng.random() < (0.5, 0.9, 0.9)[arm], 1, 1), i / 100)
    s.work(200.0)
    assert [s.compare(arm, 0).verdict for arm in (1, 2)] == ["better", "better"]
    assert s.compare(1, 2).verdict == "undecided"
    assert s.best() is None
    for i in range(9000):
        arm = i % 3
        s.hear(Outcome(arm, None, rng.random() < (0.5, 0.9, 0.6)[arm], 1, 1), i / 100)
    s.work(400.0)
    assert s.split.arms[s.best()] == "b"


def test_a_verdict_once_found_stays():
    s = study()
    for i in range(800):
        s.hear(Outcome(i % 2, None, i % 2 == 1 or i % 5 == 0, 1, 1), i / 10)
    s.work(100.0)
    p = s.compare(1, 0).p
    assert s.compare(1, 0).verdict == "better"
    for i in range(400):
        s.hear(Outcome(i % 2, None, i % 2 == 0, 1, 1), 100 + i / 10)
    s.work(200.0)
    assert (s.compare(1, 0).verdict, s.compare(1, 0).p) == ("better", p)


# -- what an arm has seen ------------------------------------------------------


def test_calls_of_one_user_count_for_less_than_calls_of_many():
    """The variance of the mean is that over users, as a jackknife finds it."""
    rng, tally, users = Random(4), Tally(binary=False), []
    for _ in range(200):
        level, seat = rng.gauss(0, 1), [0.0, 0, 0.0]
        values = [level + rng.gauss(0, 0.3) for _ in range(rng.randint(1, 20))]
        tally.note(values)
        tally.note_units(values, [seat] * len(values))
        users.append((len(values), sum(values)))
    n, total = (sum(column) for column in zip(*users, strict=True))
    left_out = [(total - y) / (n - k) for k, y in users]
    centre = sum(left_out) / 200
    jackknife = 199 / 200 * sum((x - centre) ** 2 for x in left_out)
    assert tally.mean == pytest.approx(total / n)
    assert tally.variance() == pytest.approx(jackknife, rel=0.1)
    assert tally.variance() > 4 * tally.spread() / n
    assert tally.weight == 200


def test_equal_arms_with_loyal_users_are_rarely_told_apart():
    wrong = 0
    for seed in range(60):
        s, rng = study(seed, unit="user"), Random(seed)
        moods = {str(user): rng.choice((0.2, 0.95)) for user in range(120)}
        for i in range(1500):
            user = str(rng.randrange(120))
            arm = s.deal(user, i / 30)
            s.hear(Outcome(arm, user, rng.random() < moods[user], 1, 1), i / 30)
        s.work(100.0)
        wrong += s.compare(1, 0).verdict != "undecided"
    assert wrong <= 3


def test_arms_without_a_single_failure_are_not_sure_of_it():
    s = study()
    for i in range(80):
        s.hear(Outcome(i % 2, None, i != 1, 1, 1), i / 10)
    s.work(100.0)
    assert s.compare(1, 0).verdict == "undecided"
    assert 0.1 < s.beats(1) < 0.5


# -- who gets which arm --------------------------------------------------------


def test_units_are_dealt_by_weight():
    split = Split(
        Experiment(
            name="w",
            arms={"a": {}, "b": {}, "c": {}, "d": {}},
            weights={"a": 5, "b": 3, "d": 2},
        )
    )
    dealt = Counter(split.arm(*split.places(str(i))) for i in range(20_000))
    for arm, share in enumerate((0.5, 0.3, 0.0, 0.2)):
        assert dealt[arm] / 20_000 == pytest.approx(share, abs=0.015)
        assert split.shares[arm] == pytest.approx(share)


def test_who_is_in_stays_in_as_the_share_grows():
    ramp = [(0, 0.01), ("1h", 0.05), ("1d", 0.25), ("3d", 1.0)]
    split = Split(
        Experiment(name="r", arms={"control": {}, "b": {}, "c": {}}, ramp=ramp)
    )
    users = [str(i) for i in range(4000)]
    before: dict[str, int] = {}
    for seconds, share in ((-1, 0), (0, 0.01), (3600, 0.05), (1e5, 0.25), (1e6, 1)):
        split.at(seconds)
        arms = {user: split.arm(*split.places(user)) for user in users}
        treated = sum(arm > 0 for arm in arms.values()) / len(users)
        assert treated == pytest.approx(share, abs=0.02)
        assert split.treated == share
        assert all(arms[user] == arm for user, arm in before.items() if arm > 0)
        before = arms


def test_experiments_deal_independently_of_each_other():
    splits = [Split(Experiment(name=name, arms=ARMS)) for name in ("one", "two")]
    pairs = Counter(
        tuple(split.arm(*split.places(str(i))) for split in splits)
        for i in range(20_000)
    )
    assert all(abs(count / 20_000 - 0.25) < 0.015 for count in pairs.values())


def test_the_same_unit_has_the_same_place_in_every_process():
    split = Split(Experiment(name="x", arms=ARMS))
    assert split.places("user-1") == pytest.approx((0.602339788623, 0.210335019598))
    assert split.places("\ud800") != split.places("")


def test_a_ramp_with_a_date_goes_on_where_it_was():
    experiment = Experiment(
        name="x", arms=ARMS, ramp=[(0, 0.1), ("1h", 0.5)], since="2026-01-01"
    )
    late = Study(experiment, 1000.0, Random(1), age=7200.0)
    assert late.split.treated == 0.5
    late.work(1001.0)
    assert late.split.treated == 0.5


def test_a_ramp_goes_on_after_a_restart():
    ramp = [(0, 0.1), ("1h", 0.5), ("2h", 1.0)]
    before, after = study(ramp=ramp), study(ramp=ramp)
    known = knowledge_of(before, 3000.0)
    assert before.split.treated == 0.1
    assert recall(after, known, 700.0, 50.0)
    after.work(51.0)
    assert after.split.treated == 0.5
    after.work(50.0 + 7200.0)
    assert after.split.treated == 1.0


def test_knowledge_of_another_experiment_is_of_no_use():
    known = knowledge_of(study(), 1.0)
    for other in ({"metric": "cost"}, {"unit": "user"}, {"bandit": Bandit()}):
        assert not recall(study(**other), known, 0.0, 1.0)
    assert recall(study(alpha=0.01), known, 0.0, 1.0)
    busy = study()
    busy.hear(Outcome(0, None, True, 1, 1), 0.0)
    busy.work(1.0)
    assert not recall(busy, known, 0.0, 1.0)


# -- bandits -------------------------------------------------------------------


def regret_of(bandit: Bandit | None, seed: int, calls: int = 20_000) -> float:
    """Successes lost to a swap half-way: 95 and 90 %, then 90 and 95 %."""
    s, rng, lost = study(seed, bandit=bandit), Random(seed + 1000), 0.0
    for i in range(calls):
        now = i / 50
        rates = (0.95, 0.90) if i < calls / 2 else (0.90, 0.95)
        arm = s.deal(None, now)
        lost += max(rates) - rates[arm]
        s.hear(Outcome(arm, None, rng.random() < rates[arm], 1000, 1.0), now)
    return lost


def test_a_bandit_that_forgets_follows_arms_that_change_places():
    split = regret_of(None, 1)
    forgets = sum(regret_of(Bandit(), seed) for seed in (1, 2, 3)) / 3
    remembers = sum(regret_of(Bandit(gamma=1.0), seed) for seed in (1, 2, 3)) / 3
    assert split == pytest.approx(500, rel=0.05)
    assert forgets < 0.4 * split
    assert forgets < 0.7 * remembers


def test_a_bandit_is_the_same_for_the_same_seed():
    assert regret_of(Bandit(), 9, 2000) == regret_of(Bandit(), 9, 2000)
    assert regret_of(Bandit(), 9, 2000) != regret_of(Bandit(), 10, 2000)


def test_no_arm_of_a_bandit_starves():
    s = study(bandit=Bandit(min_share=0.05))
    for i in range(3000):
        arm = s.deal(None, i / 50)
        s.hear(Outcome(arm, None, arm == 0, 1, 1), i / 50)
    assert s.split.shares == pytest.approx([0.95, 0.05])
    assert s.tallies[1].calls > 80


def test_cost_and_latency_count_as_they_are_weighed():
    cheap = Bandit(cost_weight=100.0)  # a cent is worth as much as an answer
    s, rng = study(bandit=cheap), Random(1)
    for i in range(2000):
        arm = s.deal(None, i / 50)
        good = rng.random() < (0.99, 0.95)[arm]
        nano = int((8e6, 1e6)[arm] * rng.uniform(0.5, 1.5))
        s.hear(Outcome(arm, None, good, nano, 1.0), i / 50)
    assert s.split.shares[1] > 0.9
    fast = study(bandit=Bandit(latency_weight=0.5))
    for i in range(1000):
        arm = fast.deal(None, i / 50)
        fast.hear(Outcome(arm, None, True, 1, (0.5, 1.5)[arm]), i / 50)
    assert fast.split.shares[0] > 0.9


def test_where_people_judge_an_answer_waits_for_them():
    s = study(bandit=Bandit(reward="feedback"))
    s.hear(Outcome(0, None, True, 1, 1), 0.0)
    s.hear(Outcome(1, None, False, 1, 1), 0.0)
    s.work(1.0)
    assert [round(s.bandit.known(arm)[0], 2) for arm in (0, 1)] == [0.0, 1.0]
    s.hear(Outcome(0, None, True, 1, 1, 0.8), 1.0)
    s.work(2.0)
    count, mean = s.bandit.known(0)
    assert (count, mean) == (1.0, pytest.approx(0.8))
    success = study(bandit=Bandit())
    success.hear(Outcome(0, None, True, 1, 1), 0.0)
    success.hear(Outcome(0, None, True, 1, 1, 0.1), 0.0)
    success.work(1.0)
    assert success.bandit.known(0) == (1.0, 1.0)


def test_what_a_bandit_knows_fades_with_every_call():
    bandit = Thompson(2, gamma=0.9, min_share=0.0, bounded=True, rng=Random(1))
    bandit.learn(0, 1.0)
    for _ in range(10):
        bandit.learn(1, 0.0)
    assert bandit.known(0)[0] == pytest.approx(0.9**10)
    for _ in range(5000):  # beyond what a float holds, were it not divided in between
        bandit.learn(1, 0.5)
    count, mean = bandit.known(1)
    assert (count, mean) == (pytest.approx(10), pytest.approx(0.5))
    assert sum(bandit.shares()) == pytest.approx(1.0)


def test_a_unit_keeps_its_arm_while_a_bandits_shares_move():
    s = study(unit="user", bandit=Bandit())
    first = {}
    for i in range(300):
        user = str(i % 50)
        arm = s.deal(user, i / 50)
        s.hear(Outcome(arm, user, arm == 0, 1, 1), i / 50)
        s.work(i / 50)
        assert first.setdefault(user, arm) == arm
    late = Counter(s.deal(f"new-{i}", 6.0) for i in range(200))
    assert late[0] > 180


# -- over time -----------------------------------------------------------------


def test_the_history_is_thinned_and_never_long():
    s = study()
    for second in range(5000):
        s.hear(Outcome(second % 2, None, True, 1, 1), float(second))
        s.work(float(second))
    times = [look.at for look in s.history]
    assert len(times) < 600
    assert times == sorted(times)
    assert times[-1] > 4900


def test_units_that_are_forgotten_leave_their_figures_behind():
    s = study(unit="user")
    most = _MOST_UNITS
    for i in range(most + 100):
        s.queue.append(Outcome(0, str(i), True, 1, 1))
    s.work(0.0)
    assert len(s._units) == most
    assert s.tallies[0].units == s.tallies[0].calls == most + 100


# -- what a reward may name ------------------------------------------------------


def test_the_newest_answers_are_remembered():
    awaited: Awaited[int] = Awaited(3)
    for number in range(5):
        awaited.put(f"answer-{number}", number)
    found = [awaited.get(f"answer-{number}") for number in range(5)]
    assert found == [None, None, 2, 3, 4]


def test_answers_of_one_id_are_one_and_the_last_of_them_counts():
    awaited: Awaited[int] = Awaited(2)
    for number in range(9):
        awaited.put("same", number)
    assert awaited.get("same") == 8
    awaited.put("b", 1)
    awaited.put("same", 9)
    awaited.put("c", 2)  # the first one goes, as it came first
    assert [awaited.get(name) for name in ("same", "b", "c")] == [None, 1, 2]
    awaited.put("same", 10)
    assert [awaited.get(name) for name in ("same", "b", "c")] == [10, None, 2]
