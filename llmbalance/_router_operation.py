"""What can be done to a router while calls go on: change it, ask after it."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

from ._checks import MOST_SECONDS, positive
from ._config import check_weight
from ._errors import ConfigError
from ._fields import check_kind
from ._fleet._health import ask_all
from ._fleet._watch import Watch
from ._price import Price
from ._report import Report

if TYPE_CHECKING:
    from ._books._books import Books
    from ._configfile._places import Note
    from ._experiments._experiment import Experiment
    from ._fleet._fleet import Fleet
    from ._intake import Intake
    from ._litellm._call import Ways
    from ._transport import Transport


class Operation:
    """What a Router has, and lets be done to it.

    ``notes``: what ``from_litellm`` has to say.
    """

    notes: tuple[Note, ...]
    _fleet: Fleet
    _books: Books
    _intake: Intake
    _seed: int | None
    _transport: Transport
    _watch: Watch | None
    _ways: Ways | None  # what LiteLLM's file says of calls

    # -- backends ------------------------------------------------------------

    def set_weight(self, backend: str, weight: float) -> None:
        """Change a backend's share while running: 1e-6 to 1e6, or 0 to drain it.

        ConfigError for other weights, and when there is no such backend.
        """
        check_kind("weight", weight, float)
        check_weight(weight)
        for index in self._fleet.indices(backend):
            self._fleet.pool.set_weight(index, float(weight))

    def set_price(self, backend: str, price: Price) -> None:
        """Change a backend's price; the next call is chosen and billed by it."""
        if not isinstance(price, Price):
            raise ConfigError("price", price, "give Price(input, output)")
        self._fleet.set_price(self._fleet.index(backend), price)

    def open_breaker(self, backend: str) -> None:
        """Stop calling a backend until ``reset_breaker``."""
        self._order(backend, 1)

    def reset_breaker(self, backend: str) -> None:
        """Let a backend's breaker decide again, beginning closed."""
        self._order(backend, 0)

    def _order(self, backend: str, order: int) -> None:
        for index in self._fleet.indices(backend):
            if self._watch is not None:
                self._watch.ordered(index, order)
            self._fleet.pool.order(index, order)

    async def health(self) -> Report:
        """Ask every backend for what is free: does it answer, is the key good?

        Returns backend -> ok, status, seconds, problem; ok None: nothing free to ask.
        """
        return await ask_all(self._fleet, self._transport)

    async def warm(self) -> None:
        """Open a connection to every backend, so that the first call finds one."""
        await ask_all(self._fleet, self._transport)

    def _look_after(self, interval: float | None) -> None:
        """Look at the backends by interval from now on, or no more."""
        positive("health_interval", interval, most=MOST_SECONDS)
        if self._watch is not None and self._watch.interval != interval:
            self._watch.close()
            self._watch = None
        if self._watch is None and interval is not None:
            self._watch = Watch(self._fleet, self._transport, interval)
            weakref.finalize(self, self._watch.close)

    # -- experiments ---------------------------------------------------------

    def start_experiment(self, experiment: Experiment | str) -> None:
        """Begin an experiment while calls go on: a new one, or one by its name."""
        if self._intake.studies is None:
            from ._experiments._studies import Studies

            self._intake.studies = Studies(self._fleet, self._seed)
            if self._fleet.books is not None:
                self._books.keep(self._intake.studies)
        self._intake.studies.start(experiment)

    def stop_experiment(self, name: str, *, winner: str | None = None) -> None:
        """End an experiment: its calls go on without it, or all as the ``winner``.

        Its figures stay in the report; ``start_experiment(name)`` goes on with it.
        """
        if self._intake.studies is None:
            raise ConfigError("name", name, "there are no experiments")
        self._intake.studies.stop(name, winner)

    def reward(self, call: Any, value: float) -> bool:
        """Say what a call was worth to its user, 0 to 1, once it is known.

        ``call``: the reply (or a stream's last chunk, or a settled lease), or the
        reply's ``id`` for one of the last 16,384 calls. False: it is part of no
        experiment, forgotten, or has its reward already.
        """
        studies = self._intake.studies
        if studies is None:
            raise ConfigError("experiments", None, "give Router(experiments=[...])")
        return studies.reward(call, value)
