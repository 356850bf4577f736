"""What a router tells: what happened, what it cost, why it was so, what will be."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Any

from ._books._reports import budgets_report, explanation, stats_report
from ._call._options import Messages, as_messages, checked_messages
from ._errors import ConfigError
from ._report import Report

if TYPE_CHECKING:
    from ._books._books import Books
    from ._events import Events
    from ._experiments._report import ExperimentsReport
    from ._fleet._fleet import Fleet
    from ._intake import Intake


class Reports:
    """The reports of a Router, each a dict that prints as a table."""

    _books: Books
    _fleet: Fleet
    _intake: Intake

    @property
    def events(self) -> Events:
        """What happens: ``subscribe`` a function, or iterate with ``async for``."""
        return self._fleet.events

    @property
    def backends(self) -> list[str]:
        """Names of all backends."""
        return [target.name for target in self._fleet.targets]

    def stats(self) -> Report:
        """Return per backend: requests, success rate, latency, cost, share, breaker."""
        return stats_report(self._fleet)

    def costs(
        self, by: str = "backend", *, since: float | str | date | None = None
    ) -> Report:
        """Return what was spent: requests, total, average, percentage, tokens.

        ``by``: backend, group, model, task, user, tag, "tag:KEY" (of KEY=value tags),
        kind, status, day or hour; ``since``: "7d", "month", a date, an epoch second;
        None: the start of this router. All but costs by backend since the start need a
        ledger: ConfigError without one. Amounts are USD.
        """
        from ._books._costs import cost_report  # its statistics take 5 ms to import

        return cost_report(self._books, by, since)

    def budgets(self) -> Report:
        """Return a row for each budget: usd, spent, held, left, share, ends_at.

        USD in the present window; ``held`` is what calls in flight may still cost,
        ``left`` what is neither spent nor held, ``ends_at`` the epoch second at which
        the window ends (None: never, or it rolls).
        """
        return budgets_report(self._fleet)

    def savings(
        self, reference: str, *, since: float | str | date | None = None
    ) -> Report:
        """Return what the same calls would have cost at one backend's price of today.

        The tokens that were used are priced with the rates of ``reference``; failed
        attempts, which another backend may not have had, count as spent here only.
        """
        from ._books._costs import savings_report

        return savings_report(self._books, self._fleet.index(reference), since)

    def forecast(self, *, now: float | None = None) -> Report:
        """Return what this month (UTC) will have cost at its end; needs a ledger.

        What is left of the month is taken to go like the last four weeks, each day
        like the same days of the week when there are two weeks to learn from.
        """
        from ._books._costs import forecast_report

        return forecast_report(self._books, now)

    def outlook(self, *, now: float | None = None) -> Report:
        """Return what the ledger's history says of the next hours; needs a ledger.

        By backend: calls and tokens a minute an hour from now with the range of four
        of five, when each rate limit will be used up if it goes on like that
        (``used_up_at``, epoch s), what it usually takes at this time of day, and how
        well each way of telling did on the history itself. Money is in ``forecast``.
        Reads up to 28 days: a second or two for a million attempts.
        """
        from ._history._outlook import outlook_report

        return outlook_report(self._fleet, self._books.book, now)

    def explain(self, model: str, messages: Messages | str, **options: Any) -> Report:
        """Return how every backend stands for a call, without sending it."""
        if isinstance(messages, str):
            messages = as_messages(messages)
        return explanation(self._intake.run("chat", model, messages, False, options))

    def classify(self, messages: Messages | str, **options: Any) -> str:
        """Return the task that ``task="auto"`` would take for these messages."""
        tasks = self._intake.tasks
        if tasks is None:
            raise ConfigError("tasks", None, "give Router(tasks=[Task(...)])")
        if isinstance(messages, str):
            messages = as_messages(messages)
        return tasks.classify(checked_messages(messages), options)

    def classifications(self) -> Report:
        """Return how the shadow classifier compares: pairs, calls, agreement."""
        tasks = self._intake.tasks
        if tasks is None or not tasks.shadowed:
            raise ConfigError("shadow_classifier", None, "give Router one to compare")
        return tasks.report()

    def experiments(self) -> ExperimentsReport:
        """Return a row for each arm: units, calls, share, success, cost, p50, verdict.

        It may be read at any time: p-values and intervals stay valid however often.
        ``lift``, ``low``, ``high`` are relative to the control. ``plot()`` draws shares
        and the metric over time.
        """
        from ._experiments._report import experiments_report

        studies = self._intake.studies
        return experiments_report({} if studies is None else studies.all)

    def mirrors(self) -> Report:
        """Return how copied calls went beside their originals, mirror by mirror."""
        if self._intake.mirrors is None:
            raise ConfigError("mirrors", None, "give Router(mirrors=[Mirror(...)])")
        return self._intake.mirrors.report()
