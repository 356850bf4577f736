"""What the user writes down of an experiment.

    Experiment(
        name="cheaper", models=["frontier"],
        arms={"control": {}, "cheap": {"strategy": "cost"}, "mid": {"model": "mid"}},
        ramp=[(0, 0.01), ("1h", 0.05), ("1d", 0.25), ("3d", 1.0)],
    )

An arm is a handful of options of a call; the first arm is the one that the others are
compared with.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

from msgspec import Struct

from .._checks import one_of, positive, seconds_of
from .._errors import ConfigError
from .._fields import check_fields
from .._money._windows import since_when

UNITS = ("call", "session", "user")
METRICS = ("success", "cost", "latency", "reward")
REWARDS = ("success", "feedback")
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")
# What says who calls, and is no matter of how the call is answered.
_NOT_AN_ARMS = ("task", "session", "user", "messages", "input", "stream")

Names = tuple[str, ...] | list[str]


class Bandit(Struct, frozen=True, kw_only=True):
    """Shares that follow results: discounted Thompson sampling.

    What an arm earns with a call is its reward - ``cost_weight`` * USD -
    ``latency_weight`` * seconds. ``reward``: "success" (1 for an answer, 0 for a
    failure) or "feedback" (what ``router.reward`` says, 0..1; 0 for a failure at once).
    ``gamma``: how much less a call counts with each later one: 0.999 remembers about
    a thousand. ``min_share``: of every arm, so that none is forgotten.
    """

    reward: str = "success"
    cost_weight: float = 0.0
    latency_weight: float = 0.0
    gamma: float = 0.999
    min_share: float = 0.02

    def __post_init__(self) -> None:
        check_fields(self)
        one_of("reward", self.reward, REWARDS)
        positive("cost_weight", self.cost_weight, zero=True)
        positive("latency_weight", self.latency_weight, zero=True)
        if not 0.5 <= self.gamma <= 1:
            raise ConfigError("gamma", self.gamma, "give a number 0.5 to 1, e.g. 0.999")
        if not 0 <= self.min_share < 1:
            raise ConfigError("min_share", self.min_share, "give a share such as 0.02")


class Experiment(Struct, frozen=True, kw_only=True):
    """A split of calls between arms.

    ``arms``: name -> options of ``Router.chat`` that its calls get where they do not
    say themselves, and ``model``, which replaces theirs. The first is the control.
    ``models``, ``tasks``, ``tags``: calls of one of these models or groups, for one of
    these tasks, with one of these tags; empty: whichever. Embeddings take part where
    ``models`` names theirs. ``unit``: what stays in its arm: a "call" (each is dealt
    anew), a "session" or a "user" (calls without one are dealt anew).

    ``weights``: arm -> its part, nothing for those it does not name (default: equal
    parts). ``ramp``: instead, the share of calls that are not control, in steps of
    (time after ``since``, share): a unit that is in stays in. ``since``: a date, ISO
    text or epoch second (None: when the experiment starts; a restart begins the ramp
    again). ``bandit``: instead, shares that follow results. ``running``: False waits
    for ``router.start_experiment``.

    ``metric``: what decides: "success", "cost", "latency" or "reward" (given later by
    ``router.reward``). ``alpha``: how often a verdict may be wrong. ``effect``: a
    difference worth finding, in the metric's own unit (a share, USD, ln seconds;
    default: a tenth of its standard deviation).
    """

    name: str
    arms: Mapping[str, Mapping[str, Any]]
    models: Names = ()
    tasks: Names = ()
    tags: Names = ()
    unit: str = "call"
    weights: Mapping[str, float] | None = None
    ramp: Sequence[tuple[float | str, float]] | None = None
    since: float | str | date | None = None
    bandit: Bandit | None = None
    running: bool = True
    metric: str = "success"
    alpha: float = 0.05
    effect: float | None = None

    def __post_init__(self) -> None:
        check_name("name", self.name)
        one_of("unit", self.unit, UNITS)
        one_of("metric", self.metric, METRICS)
        check_scope(self)
        self._check_arms()
        check_fields(self)
        self._check_shares()
        if not 0 < self.alpha < 1:
            raise ConfigError("alpha", self.alpha, "give a share such as 0.05")
        positive("effect", self.effect)

    def _check_arms(self) -> None:
        if not isinstance(self.arms, Mapping) or not 2 <= len(self.arms) <= 20:
            remedy = 'give 2 to 20, such as {"control": {}, "cheap": {"strategy": ...}}'
            raise ConfigError("arms", self.arms, remedy)
        for name, options in self.arms.items():
            check_name("arms", name)
            if not isinstance(options, Mapping):
                raise ConfigError(f"arms[{name!r}]", options, "give a dict of options")
            for option in options:
                if option in _NOT_AN_ARMS:
                    remedy = "says what a call is, not how it is answered: leave it out"
                    raise ConfigError(f"arms[{name!r}]", option, remedy)

    def _check_shares(self) -> None:
        given = [
            field
            for field in ("weights", "ramp", "bandit")
            if getattr(self, field) is not None
        ]
        if len(given) > 1:
            remedy = f"{given[0]} says the shares already: drop one"
            raise ConfigError(given[1], getattr(self, given[1]), remedy)
        if self.weights is not None:
            for arm, weight in self.weights.items():
                one_of("weights", arm, self.arms)
                positive(f"weights[{arm!r}]", weight, zero=True)
            if not sum(self.weights.values()) > 0:
                raise ConfigError("weights", self.weights, "give one arm more than 0")
        if self.bandit is not None and self.bandit.min_share * len(self.arms) >= 1:
            remedy = f"is too much for {len(self.arms)} arms"
            raise ConfigError("min_share", self.bandit.min_share, remedy)
        if self.since is not None and self.ramp is None:
            raise ConfigError("since", self.since, "says when a ramp began: give ramp")
        if self.ramp is not None:
            read_ramp(self.ramp)
            if self.since is not None:
                since_when(self.since, time.time())


def read_ramp(ramp: Sequence[tuple[float | str, float]]) -> list[tuple[float, float]]:
    """Return the steps of a ramp as (seconds, share), rising in both."""
    steps: list[tuple[float, float]] = []
    shown = 'give steps such as [(0, 0.01), ("1h", 0.05), ("1d", 1.0)]'
    for step in ramp:
        if not isinstance(step, list | tuple) or len(step) != 2:
            raise ConfigError("ramp", step, shown)
        after, share = step
        if not isinstance(after, int | float | str) or isinstance(after, bool):
            raise ConfigError("ramp", step, shown)
        seconds = 0.0 if after == 0 else seconds_of("ramp", after)
        number = isinstance(share, int | float) and not isinstance(share, bool)
        if not number or not 0 <= share <= 1:
            raise ConfigError("ramp", share, "give a share 0 to 1")
        if steps and (seconds <= steps[-1][0] or share < steps[-1][1]):
            raise ConfigError("ramp", step, "times and shares must rise")
        steps.append((seconds, float(share)))
    if not steps:
        raise ConfigError("ramp", ramp, shown)
    return steps


def check_name(field: str, name: Any) -> None:
    """Refuse what cannot stand in a label such as "experiment.NAME=ARM"."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        remedy = "use letters, digits and _ . - (at most 64)"
        raise ConfigError(field, name, remedy)


def check_scope(given: Any) -> None:
    """Refuse scopes that are one word where a list of words is meant."""
    for field in ("models", "tasks", "tags"):
        names = getattr(given, field)
        good = isinstance(names, list | tuple | set | frozenset)
        if not good or not all(isinstance(name, str) for name in names):
            raise ConfigError(field, names, "give a list of names")
