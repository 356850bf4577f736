"""What a call is for, and what follows from that: tasks, and who tells them.

    chat(task="fast", ...)   ── Task ──▶ group, strategy, v, max_cost, max_latency, ...
    chat(task="auto", ...)   ── classifier ──▶ name of a task, then the same

A classifier is a list of Rules, of which the first that fits decides, or any function
of the messages, or an object with scikit-learn's ``predict``. Another one may run in
the shadow: it decides nothing, and what it would have said is counted.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from msgspec import Struct

from .._checks import MOST_SECONDS, MOST_USD, check_strategy, one_of, positive
from .._errors import ConfigError, InvalidRequestError
from .._fields import check_fields
from .._fleet._wildcards import is_known
from .._report import Report
from ._rules import Messages, Rule, all_text, look_at

_log = logging.getLogger("llmbalance")

AUTO = "auto"
Classifier = Callable[[Messages], str]
_Classify = Callable[[Messages, Mapping[str, Any]], str]
_SAME = {"max_tokens": "max_completion_tokens"}  # two names of one thing
_NO_TASKS = "give tasks=[Task(...)] as well"


class Task(Struct, frozen=True, kw_only=True):
    """A kind of call, and what it asks for unless the call itself says otherwise.

    ``group``: where it goes when the call names no model. ``strategy``, ``v``,
    ``max_cost`` (USD), ``max_latency`` (s), ``max_tokens``, ``timeout`` (s),
    ``min_quality``, ``priority``: as for Router.chat.
    """

    name: str
    group: str
    strategy: str | None = None
    v: float | None = None
    max_cost: float | None = None
    max_latency: float | None = None
    max_tokens: int | None = None
    timeout: float | None = None
    min_quality: int | None = None
    priority: int | None = None

    def __post_init__(self) -> None:
        check_fields(self)
        if not self.name or self.name == AUTO:
            raise ConfigError("name", self.name, 'give a name other than "auto"')
        if self.strategy is not None:
            check_strategy("strategy", self.strategy)
        for field in ("max_latency", "timeout"):
            positive(field, getattr(self, field), most=MOST_SECONDS)
        for field in ("v", "max_cost"):
            positive(field, getattr(self, field), zero=True, most=MOST_USD)
        positive("max_tokens", self.max_tokens)
        positive("min_quality", self.min_quality, zero=True)
        if self.min_quality is not None and self.min_quality > 255:
            raise ConfigError("min_quality", self.min_quality, "at most 255")

    def plan(self) -> tuple[str, list[tuple[str, str, Any]]]:
        """Return its group and the options it sets.

        Of each the name, the name under which a call may say the same, and the value.
        """
        return self.group, [
            (field, _SAME.get(field, field), value)
            for field in self.__struct_fields__[2:]
            if (value := getattr(self, field)) is not None
        ]


class Tasks:
    """The tasks of one router, and who tells to which a call belongs."""

    def __init__(
        self,
        tasks: Iterable[Task],
        classifier: Any = None,
        shadow: Any = None,
        default: str | None = None,
        groups: Iterable[str] = (),
    ) -> None:
        self.by_name: dict[str, Task] = {}
        known = list(groups)
        for task in tasks:
            if not isinstance(task, Task):
                raise ConfigError("tasks", task, "give Task objects")
            if task.name in self.by_name:
                raise ConfigError("tasks", task.name, "this task is there twice")
            if not is_known(task.group, known):
                one_of("group", task.group, known)
            self.by_name[task.name] = task
        self._plans = {name: task.plan() for name, task in self.by_name.items()}
        if default is not None:
            if not self.by_name:
                raise ConfigError("default_task", default, _NO_TASKS)
            one_of("default_task", default, self.by_name)
        self.default = default or next(iter(self.by_name), None)
        self.counts: Counter[tuple[str, str]] = Counter()  # (chosen, shadow's)
        self._complained: set[str] = set()
        # Tells the task of a call by its messages and options.
        self.classify = self._ready("classifier", classifier)
        self.shadowed = shadow is not None
        if self.shadowed:
            other = self._ready("shadow_classifier", shadow)
            self.classify = self._beside(self.classify, other)

    def _ready(self, field: str, value: Any) -> _Classify:
        """A classifier that always tells a task: the default where it fails."""
        if value is None:
            return lambda messages, options: self.default or ""
        if not self.by_name:
            raise ConfigError(field, value, _NO_TASKS)
        if isinstance(value, list | tuple):
            return self._rules(field, value)
        if hasattr(value, "predict"):
            return self._guarded(
                field, lambda messages, _: str(value.predict([all_text(messages)])[0])
            )
        if callable(value):
            return self._guarded(field, lambda messages, _: value(messages))
        raise ConfigError(
            field, value, "give Rules, a function of the messages, or a model"
        )

    def _guarded(self, field: str, tell: Callable[..., Any]) -> _Classify:
        """A classifier whose failures and odd answers leave the default."""
        known, default = self.by_name, self.default
        assert default is not None

        def classify(messages: Messages, options: Mapping[str, Any]) -> str:
            try:
                name = tell(messages, options)
            except Exception:
                self._failed(field)
                return default
            if name in known:
                return str(name)
            self._complain(field, f"says {name!r}, which is no task; it counts as none")
            return default

        return classify

    def _beside(self, deciding: _Classify, shadow: _Classify) -> _Classify:
        """A classifier with another one in its shadow, which is only counted."""

        def classify(messages: Messages, options: Mapping[str, Any]) -> str:
            chosen = deciding(messages, options)
            self.counts[chosen, shadow(messages, options)] += 1
            return chosen

        return classify

    def _rules(self, field: str, rules: Sequence[Any]) -> _Classify:
        """A classifier that goes by rules, which tell a task there is."""
        ready = []
        for rule in rules:
            if not isinstance(rule, Rule):
                raise ConfigError(field, rule, "give Rule objects")
            one_of(field, rule.task, self.by_name)
            ready.append((rule.task, rule.test()))
        default = self.default
        assert default is not None

        def classify(messages: Messages, options: Mapping[str, Any]) -> str:
            try:
                look = look_at(messages, options)
                for task, fits in ready:
                    if fits(look):
                        return task
            except Exception:
                self._failed(field)
            return default

        return classify

    def apply(
        self, model: str, messages: Messages, options: Mapping[str, Any]
    ) -> tuple[str, dict[str, Any]]:
        """Return where a call with ``task`` goes and its options, its own ones first.

        A name that is no task only labels the call, if that says its model itself.
        """
        name = options["task"]
        if name == AUTO:
            name = self.classify(messages, options)
        plan = self._plans.get(name)
        if plan is None:
            if not model:
                known = ", ".join((*self.by_name, AUTO))
                raise InvalidRequestError("task", name, f"use one of {known}")
            return model, dict(options)
        group, settings = plan
        chosen = {**options, "task": name}
        for key, twin, value in settings:
            if options.get(key) is None and options.get(twin) is None:
                chosen[key] = value
        return model or group, chosen

    def apply_to_texts(
        self, model: str, options: Mapping[str, Any]
    ) -> tuple[str, dict[str, Any]]:
        """The same for embeddings, which have no answer to bound and no classifier."""
        own = options.get("max_tokens", options.get("max_completion_tokens"))
        model, chosen = self.apply(model, (), options)
        if own is None:
            chosen.pop("max_tokens", None)
        return model, chosen

    def report(self) -> Report:
        """What was chosen and what the shadow classifier would have chosen."""
        total = sum(self.counts.values())
        rows = [
            {
                "chosen": chosen,
                "shadow": shadow,
                "calls": calls,
                "share": calls / total,
            }
            for (chosen, shadow), calls in self.counts.most_common()
        ]
        agreed = sum(n for (chosen, other), n in self.counts.items() if chosen == other)
        data = {
            "calls": total,
            "agreement": agreed / total if total else None,
            "pairs": rows,
        }
        columns = {"chosen": "", "shadow": "", "calls": "n", "share": "%"}
        return Report(data, rows, columns)

    def _failed(self, field: str) -> None:
        self._complain(field, "failed; it is not reported again", error=True)

    def _complain(self, field: str, text: str, *, error: bool = False) -> None:
        if field not in self._complained:
            self._complained.add(field)
            _log.warning("the %s %s", field, text, exc_info=error)
