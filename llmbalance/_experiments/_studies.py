"""The experiments of one router: calls go in, figures come out.

    Intake ── assign ─▶ Trial: arms of the call, its model, options and labels
    Run    ── answered ─▶ the reply says which arms;  over ─▶ every Study hears of it
    reward(reply, 0.8) ─▶ the Trial of that reply ─▶ the same Studies

What is analysed is the arm that a call was dealt, whichever backend answered in the end
and whether the call itself said otherwise: only that was left to chance.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Iterator, Mapping
from random import Random
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from .._call._options import read_options
from .._call._routing import Options
from .._call._walk import Walk
from .._checks import one_of
from .._errors import ConfigError, InvalidRequestError
from .._money._windows import since_when
from .._tasks._sessions import session_of
from .._types import Call
from ._awaited import Awaited
from ._experiment import Experiment
from ._memory import knowledge_of, recall
from ._scope import Scope, group_of
from ._study import Study

if TYPE_CHECKING:
    from .._call._story import Story
    from .._fleet._fleet import Fleet

_log = logging.getLogger("llmbalance")
_KEY = "experiment/"  # of what a ledger keeps
_AWAITED = 16_384  # answered calls that a reward may still name by their id
_SAME = {"max_tokens": "max_completion_tokens", "max_completion_tokens": "max_tokens"}


class Arms(dict[str, str]):
    """Experiment -> arm, as replies carry it; knows the call it belongs to."""

    __slots__ = ("trial",)

    trial: Trial

    def __reduce__(self) -> tuple[Any, ...]:
        return dict, (dict(self),)  # it may leave the process, the call may not


class _Arm:
    """One arm as calls take it on."""

    __slots__ = (
        *("_settings", "control", "experiment", "labels", "model", "name", "number"),
        *("options", "study"),
    )

    def __init__(self, study: Study, number: int) -> None:
        self.study, self.number = study, number
        self.experiment = study.experiment.name
        self.name, options = list(study.experiment.arms.items())[number]
        self.labels = (f"experiment.{self.experiment}={self.name}",)
        self.options = {k: v for k, v in options.items() if k != "model"}
        self._settings = [(k, _SAME.get(k), v) for k, v in self.options.items()]
        self.model: str | None = options.get("model")
        self.control: _Arm | None = None  # None: it is the control

    def gives_way(self, budgets: Mapping[str, Any]) -> bool:
        """Whether it is one beside the control, with a budget of its own."""
        return self.control is not None and self.labels[0] in budgets

    def put_into(self, options: dict[str, Any], asked: Mapping[str, Any]) -> None:
        """Set what the call has not said itself, whatever its task says."""
        for name, twin, value in self._settings:
            if asked.get(name) is not None:
                continue
            if twin is not None:
                if asked.get(twin) is not None:
                    continue
                options.pop(twin, None)
            options[name] = value


class _Room:
    """An experiment with what calls need of it at hand."""

    __slots__ = ("arms", "name", "scope", "study", "unit")

    def __init__(self, fleet: Fleet, study: Study) -> None:
        experiment = study.experiment
        self.study = study
        self.name = experiment.name
        self.unit = experiment.unit
        self.arms = [_Arm(study, number) for number in range(len(experiment.arms))]
        for arm in self.arms[1:]:
            arm.control = self.arms[0]
        self.scope = self.fit(fleet)

    def fit(self, fleet: Fleet) -> Scope:
        """Look up what it is about; ConfigError for what the fleet has not."""
        for arm in self.arms:
            _check_arm(fleet, self.study.experiment, arm)
        return Scope(fleet, self.study.experiment)


class Trial(Struct, eq=False):
    """One call's part in experiments; told by its Run how it ends.

    ``model``: where the call goes; ``options``: what it asks for; ``seats``: an arm
    and the unit for each experiment. ``won``: the arms it has of those that are over.
    """

    studies: Studies
    model: str
    options: dict[str, Any]
    seats: tuple[_Seat, ...]
    labels: tuple[str, ...]
    won: tuple[_Arm, ...] = ()
    nano: int = 0
    seconds: float = 0.0
    rewarded: bool = False
    answer: str = ""  # the id of the answer

    def arms(self) -> Arms:
        """Return experiment -> arm."""
        arms = Arms()
        for arm, _ in self.seats:
            arms[arm.experiment] = arm.name
        arms.trial = self
        return arms

    def is_under(self, budgets: Mapping[str, Any]) -> bool:
        """Whether one of its arms is under these budgets of tags, and gives way."""
        if budgets.keys().isdisjoint(self.labels):
            return False
        return any(arm.gives_way(budgets) for arm, _ in self.seats)

    def as_control(
        self, model: str, options: dict[str, Any], asked: Mapping[str, Any]
    ) -> Trial:
        """Return the call with controls for the arms that have a budget.

        It has no part in their experiments, which count it apart. ``model``,
        ``options``, ``asked``: as in ``Studies.assign``.
        """
        budgets = self.studies.fleet.call_budgets.get("tag", {})
        arms, seats = list(self.won), []
        for seat in self.seats:
            arm = seat[0]
            if arm.control is not None and arm.gives_way(budgets):
                arm.study.turn_away(arm.number)
                arms.append(arm.control)
            else:
                seats.append(seat)
                arms.append(arm)
        labels = tuple(label for arm, _ in seats for label in arm.labels)
        options = dict(options)
        for arm in arms:
            model = arm.model or model
            arm.put_into(options, asked)
        return Trial(self.studies, model, options, tuple(seats), labels, self.won)

    def again(self) -> Trial:
        """Return the same part for a piece of the call that is counted of its own."""
        return Trial(self.studies, self.model, self.options, self.seats, self.labels)

    def answered(self, reply: Any) -> None:
        """The call has an answer, which says what it is part of."""
        reply.experiments = self.arms()
        self.answer = getattr(reply, "id", "")

    def over(self, story: Story) -> None:
        """The call has ended, well or not."""
        now = time.monotonic()
        self.seconds = seconds = now - story.began
        nano = 0
        for attempt in story.attempts:
            nano += attempt.cost_nano_usd
        self.nano = nano
        verdict = story.verdict
        good = True if verdict is None else None if verdict in _LEFT else False
        for arm, unit in self.seats:
            arm.study.hear((arm.number, unit, good, nano, seconds, None), now)
        self.options = self.studies.no_options  # rewards may take their time
        if self.answer and self.seats:
            self.studies.awaited.put(self.answer, self)

    def reward(self, value: float) -> bool:
        """Tell what the call was worth; False: that was told before, or to nobody."""
        if self.rewarded or not self.seats:
            return False
        self.rewarded = True
        now = time.monotonic()
        for arm, unit in self.seats:
            heard = arm.number, unit, True, self.nano, self.seconds, value
            arm.study.hear(heard, now)
        return True


_Seat = tuple[_Arm, str | None]
_LEFT = ("cancelled", InvalidRequestError.__name__)  # no arm's success or failure


class Studies:
    """The experiments of a router."""

    def __init__(self, fleet: Fleet, seed: int | None) -> None:
        self.fleet = fleet
        self._seed = seed
        self._rooms: tuple[_Room, ...] = ()
        self._open: tuple[_Room, ...] = ()  # those at work, or won by an arm
        self.awaited: Awaited[Trial] = Awaited(_AWAITED)
        self._lessons: Mapping[str, Any] = {}  # what a ledger knows of experiments
        self.no_options: dict[str, Any] = {}  # of all calls that have ended

    def start(self, experiment: Experiment | str) -> None:
        """Take up an experiment, or go on with the one of this name.

        ConfigError when it is wrong, unknown or there already.
        """
        if isinstance(experiment, str):
            study = self.find(experiment)
            room = next(room for room in self._rooms if room.study is study)
            self._check(room)
            room.scope = room.fit(self.fleet)
            study.start(time.monotonic())
            self._open = self._at_work()
            return
        if not isinstance(experiment, Experiment):
            raise ConfigError("experiments", experiment, "give Experiment objects")
        if any(room.name == experiment.name for room in self._rooms):
            raise ConfigError("experiments", experiment.name, "it is there twice")
        age = 0.0
        if experiment.since is not None:
            wall = time.time()
            age = wall - since_when(experiment.since, wall)
        seed = None if self._seed is None else f"{self._seed}/{experiment.name}"
        study = Study(experiment, time.monotonic(), Random(seed), age)
        room = _Room(self.fleet, study)
        self._check(room)
        self._recall(study)
        self._rooms = (*self._rooms, room)
        self._open = self._at_work()

    def _check(self, room: _Room) -> None:
        """Refuse an experiment that would get into another one's way."""
        for other in self._open:
            if other is not room:
                _check_apart(room, other)

    def _at_work(self) -> tuple[_Room, ...]:
        return tuple(
            room
            for room in self._rooms
            if room.study.running or room.study.winner is not None
        )

    def stop(self, name: str, winner: str | None) -> None:
        """End an experiment; ``winner``: the arm that all its calls get from now on."""
        study = self.find(name)
        if winner is not None:
            one_of("winner", winner, study.split.arms)
        study.work(time.monotonic())
        study.winner = None if winner is None else study.split.arms.index(winner)
        study.running = False
        self._open = self._at_work()

    def check(self, fleet: Fleet, name: str) -> None:
        """Refuse a fleet that lacks what an experiment at work is about."""
        room = next(room for room in self._rooms if room.name == name)
        if room.study.running or room.study.winner is not None:
            room.fit(fleet)

    def refit(self) -> None:
        """The fleet has changed: names may lead elsewhere."""
        for room in self._rooms:
            with contextlib.suppress(ConfigError):  # it rests, and what it had is gone
                room.scope = Scope(self.fleet, room.study.experiment)

    # -- over a restart ------------------------------------------------------

    def lessons(self, wall: float) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield what is to be kept: key and state."""
        now = time.monotonic()
        for name, study in self.all.items():
            known = knowledge_of(study, now)
            if any(arm["calls"] for arm in known["arms"]):
                yield _KEY + name, {"at": wall, **known}

    def recall(self, lessons: Mapping[str, Any]) -> None:
        """Go on from what was kept, now or when an experiment of that name starts."""
        self._lessons = {k: v for k, v in lessons.items() if k.startswith(_KEY)}
        for study in self.all.values():
            self._recall(study)

    def _recall(self, study: Study) -> None:
        name = study.experiment.name
        known = self._lessons.get(_KEY + name)
        if known is None:
            return
        try:
            gone = max(time.time() - known["at"], 0.0)
            used = recall(study, known, gone, time.monotonic())
        except (KeyError, TypeError, ValueError) as error:
            _log.warning("what was kept of experiment %r is damaged: %s", name, error)
            return
        if not used:
            _log.info("experiment %r has changed: its figures begin anew", name)

    @property
    def all(self) -> dict[str, Study]:
        """The experiments by name."""
        return {room.name: room.study for room in self._rooms}

    def find(self, name: str) -> Study:
        """Return an experiment; ConfigError names the known ones."""
        study = self.all.get(name) if isinstance(name, str) else None
        if study is None:
            known = ", ".join(self.all) or "none"
            raise ConfigError("experiment", name, f"use one of {known}")
        return study

    # -- calls ---------------------------------------------------------------

    def assign(
        self,
        kind: str,
        model: str,
        content: Any,
        asked: Mapping[str, Any],
        options: dict[str, Any],
        auto_session: bool,
    ) -> Trial | None:
        """Return a call's part in experiments; None: it has none.

        ``asked``: what the call says itself, ``options``: with what its task says.
        """
        now = time.monotonic()
        goal, chosen = model, options
        seats: tuple[_Seat, ...] = ()
        labels: tuple[str, ...] = ()
        won: tuple[_Arm, ...] = ()
        for room in self._open:
            study = room.study
            winner = study.winner
            scope = room.scope
            if not scope.everything and not scope.has(model, options):
                continue
            if kind == "embed" and not scope.models:
                continue
            if winner is None:
                unit = asked.get(room.unit)  # of a call of its own there is none
                if not unit and unit in (None, ""):
                    unit = _session(room.unit, model, content) if auto_session else None
                elif type(unit) is not str:
                    unit = str(unit)
                arm = room.arms[study.deal(unit, now)]
                seats += ((arm, unit),)
                labels += arm.labels
            else:
                arm = room.arms[winner]
                won += (arm,)
            if arm.model is not None:
                goal = arm.model
            if arm.options:
                if chosen is options:
                    chosen = dict(options)
                arm.put_into(chosen, asked)
        if seats or goal is not model or chosen is not options:
            return Trial(self, goal, chosen, seats, labels, won)
        return None

    def reward(self, call: Any, value: float) -> bool:
        """Tell what a call was worth; see ``Router.reward``."""
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or not 0 <= value <= 1:
            raise InvalidRequestError("value", value, "give a number 0 to 1")
        if isinstance(call, str):
            trial = self.awaited.get(call)
            return trial is not None and trial.reward(float(value))
        if not hasattr(call, "experiments"):
            raise InvalidRequestError("call", type(call), "give a reply or its id")
        arms = call.experiments
        return isinstance(arms, Arms) and arms.trial.reward(float(value))


def _session(unit: str, model: str, content: Any) -> str | None:
    """The session of a call that does not say it itself; None: that is no unit."""
    if unit == "session" and not isinstance(content, str):
        return str(session_of(model, content))
    return None


def _check_arm(fleet: Fleet, experiment: Experiment, arm: _Arm) -> None:
    """Read an arm's options as a call's would be, so that none fails later."""
    field = f"experiments[{experiment.name!r}].arms[{arm.name!r}]"
    if arm.model is not None:
        group_of(fleet, f"{field}.model", arm.model)
    fallbacks = arm.options.get("fallbacks")
    for name in fallbacks if isinstance(fallbacks, list | tuple) else ():
        group_of(fleet, f"{field}.fallbacks", name)
    routing = Options(group=0)
    try:
        read_options(fleet, routing, arm.options, arm.model or "")
    except InvalidRequestError as error:
        raise ConfigError(f"{field}.{error.field}", error.value, error.remedy) from None
    if routing.tuned is not None:
        _check_tuned(fleet, experiment, arm, f"{field}.tuned")


def _check_tuned(fleet: Fleet, experiment: Experiment, arm: _Arm, field: str) -> None:
    """Refuse a variant that calls of the arm could not have."""
    variant = arm.options["tuned"]
    models = (arm.model,) if arm.model is not None else experiment.models
    for name in models:
        group = fleet.group(name)
        call = Call(kind="chat", model=name)
        try:
            Walk(fleet, call, Options(group=group, tuned=variant), 0.0)
        except InvalidRequestError as error:
            raise ConfigError(field, variant, error.remedy) from None
    if not models:
        one_of(field, variant, sorted({name for _, name in fleet.variants}))


def _check_apart(room: _Room, other: _Room) -> None:
    """Two experiments must not pull at the same option of the same calls."""
    if not room.scope.meets(other.scope):
        return
    sets, others = (
        {name for arm in r.study.experiment.arms.values() for name in arm}
        for r in (room, other)
    )
    for name in sorted(sets & others):
        raise ConfigError(
            "experiments",
            room.name,
            f"experiment {other.name!r} sets {name!r} of the same calls: give them"
            " different models or tasks, or make one experiment with more arms",
        )
