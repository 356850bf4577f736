"""The Router: choose a backend for every call, send it, account for it.

chat / generate / embed      one call: Run decides, Transport carries
acquire                      a lease for those who bring their own client

What happened, what it cost and why it was so: _router_reports.py. What can be changed
while it runs: _router_operation.py. Its calls in LiteLLM's words: _router_words.py.
"""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, overload

from ._books._books import Books
from ._call._count import TokenCount, count
from ._call._drive import drive
from ._call._embed import Parts, drive_all, join
from ._call._lease import AcquiredLease
from ._call._options import Inputs, Messages, as_messages
from ._call._race import drive_race
from ._call._run import Run
from ._call._stream import ChatStream
from ._checks import MOST_SECONDS, MOST_USD, positive, switches, whole_numbers
from ._config import Backend, Breaker, Budget, Timeouts
from ._errors import ConfigError
from ._fields import check_kind
from ._fleet._fleet import Fleet
from ._fleet._groups import Group
from ._fleet._hedge import Hedge
from ._fleet._retries import Retries
from ._fleet._shape import Step
from ._fleet._watch import Watch
from ._intake import Intake
from ._money._alerts import Anomaly
from ._money._prices import PriceTable
from ._price import Price
from ._router_operation import Operation
from ._router_reports import Reports
from ._router_words import OtherWords
from ._tasks._task import Task, Tasks
from ._transport import Transport
from ._types import ChatReply, EmbeddingReply

if TYPE_CHECKING:
    from ._configfile._follow import Follower
    from ._configfile._reload import Source
    from ._experiments._experiment import Experiment
    from ._experiments._mirror import Mirror
    from ._money._ledger import Book
    from ._sync import SyncRouter


class Router(Reports, Operation, OtherWords):
    """Balances calls over backends.

    ``strategy``: round_robin, weighted, least_busy, latency, cost, p2c, composite or
    predictive. ``v``: USD a second of waiting is worth; with it composite minimises
    price + v * seconds. ``fallbacks``: group -> groups to go on with; ``groups``: what
    groups have of their own (Group); ``aliases``: further names for groups, models and
    backends. ``max_models``: how many may come through wildcards. ``tasks``: what calls
    with ``task=`` ask for (Task); ``classifier``: Rules, a function of the messages or
    a model with ``predict``, which tells the task of calls with task="auto";
    ``shadow_classifier``: one that is only counted; ``default_task``: where none fits
    (default: the first). ``timeout``: seconds for a whole call, ``timeouts``: for the
    phases of one attempt. ``wait``: when all limits are used up, wait within the
    time-out in order of priority and arrival, at most ``max_waiting`` calls (False:
    raise at once). ``shift_at``: the used share of a rate limit from which a backend
    gets dearer in the choice, ``stop_at``: where calls without ``priority`` stop (1:
    nothing is kept free). ``retry_budget``: the share of calls that may ask the same
    backends again (None: as many as they like). ``hedge``: when a second backend is
    asked for a call that is slow (Hedge, or True for its defaults); off by default.
    ``health_interval``: seconds between free looks at every backend (None: none); what
    does not answer gets no calls until it does; needs an event loop with calls on it.
    ``prices``: the price table; ``unknown_price``: "dearest", "refuse", a Price or the
    name of a model whose price to assume, for backends without one. ``ledger``: where
    every attempt is kept: a path, a Ledger or anything like it; None (the default)
    keeps nothing. ``on_anomaly``: called when money goes faster than ever.
    ``predict``: "auto": where the ledger's history shows that the time of day tells how
    fast a backend is, that is expected of it while nothing newer is known (see
    ``outlook``); None (the default): history is not looked at.
    ``postprocess``: what is done to the text of complete answers after each backend's
    own steps and its group's: "trim", "strip_fences" or functions of the text (see
    Backend).
    ``sessions``: conversations to remember (a power of two); ``auto_session``: tell
    them by how they begin where no ``session`` is given. ``experiments``: splits of
    calls between arms (Experiment); ``mirrors``: copies of calls to other groups
    (Mirror). ``seed`` makes choices repeatable.

    Raises ConfigError when anything is wrong; nothing is sent at construction.
    """

    def __init__(
        self,
        backends: Iterable[Backend],
        *,
        strategy: str = "composite",
        v: float | None = None,
        fallbacks: Mapping[str, Sequence[str]] | None = None,
        groups: Iterable[Group] = (),
        aliases: Mapping[str, str] | None = None,
        max_models: int = 256,
        tasks: Iterable[Task] = (),
        classifier: Any = None,
        shadow_classifier: Any = None,
        default_task: str | None = None,
        budgets: Iterable[Budget] = (),
        timeout: float = 600.0,
        timeouts: Timeouts | None = None,
        breaker: Breaker | None = None,
        health_interval: float | None = None,
        wait: bool = True,
        max_waiting: int | None = None,
        shift_at: float = 0.8,
        stop_at: float = 0.95,
        retry_budget: float | None = 0.2,
        hedge: Hedge | bool | None = None,
        prices: PriceTable | None = None,
        unknown_price: str | Price = "dearest",
        ledger: str | Path | Book | None = None,
        on_anomaly: Callable[[Anomaly], None] | None = None,
        predict: str | None = None,
        postprocess: Sequence[str | Step] = (),
        sessions: int = 4096,
        auto_session: bool = False,
        experiments: Iterable[Experiment] = (),
        mirrors: Iterable[Mirror] = (),
        seed: int | None = None,
    ) -> None:
        check_kind("timeout", timeout, float)
        for field, listed in (
            ("tasks", tasks),
            ("experiments", experiments),
            ("mirrors", mirrors),
        ):
            check_kind(field, listed, Iterable)
        positive("timeout", timeout, most=MOST_SECONDS)
        positive("v", v, zero=True, most=MOST_USD)
        switches(wait=wait, auto_session=auto_session)
        whole_numbers(max_waiting=max_waiting, sessions=sessions, seed=seed)
        self._fleet = Fleet(
            backends,
            strategy=strategy,
            value=v,
            fallbacks=fallbacks,
            groups=groups,
            aliases=aliases,
            max_models=max_models,
            budgets=budgets,
            prices=prices,
            unknown_price=unknown_price,
            timeouts=timeouts,
            breaker=breaker,
            postprocess=postprocess,
            shift_at=shift_at,
            stop_at=stop_at,
            sessions=sessions,
            seed=seed,
        )
        given = Tasks(
            tasks, classifier, shadow_classifier, default_task, self._fleet.groups
        )
        self._intake = Intake(
            self._fleet,
            given if given.by_name else None,
            timeout=float(timeout),
            wait=wait,
            auto_session=auto_session,
        )
        positive("max_waiting", max_waiting, zero=True)
        self._fleet.lines.most = max_waiting
        self._fleet.retries = None if retry_budget is None else Retries(retry_budget)
        self._fleet.set_hedges(hedge)
        self._transport = Transport()
        self._seed = seed
        for experiment in experiments:
            self.start_experiment(experiment)
        if mirrors := list(mirrors):
            from ._experiments._mirrors import Mirrors

            self._intake.mirrors = Mirrors(
                self._fleet, self._transport, mirrors, timeout=timeout, seed=seed
            )
        self._watch: Watch | None = None
        self._look_after(health_interval)
        self._sync: SyncRouter | None = None
        self.notes = ()
        self._source: Source | None = None  # the file it was made from
        self._follower: Follower | None = None  # reads it again when it changes
        self._ways = None
        self._books = Books(self._fleet, ledger, on_anomaly)
        self._fleet.books = self._books or None
        # Before the ledger's own end: what was learned is kept even without aclose().
        weakref.finalize(self, self._books.close)
        if self._intake.mirrors is not None:  # the last to be named ends first
            weakref.finalize(self, self._intake.mirrors.close)
        if self._intake.studies is not None:
            self._books.keep(self._intake.studies)
        if predict is not None:
            from ._history._outlook import Outlook

            self._fleet.outlook = Outlook(predict, self._fleet, self._books.book)
            self._fleet.due = 0.0

    # -- from files ----------------------------------------------------------

    @classmethod
    def from_file(
        cls, source: str | Path | Mapping[str, Any], *, watch: bool = False
    ) -> Router:
        """Return the router that a TOML or YAML file describes, or a dict of its shape.

        ``watch``: follow the file when it changes, until the router is closed or
        dropped (a forked child does not follow); what came of it is a ReloadEvent.
        ConfigFileError lists everything that is wrong, with its lines;
        docs/configuration.md says what may stand in it.
        """
        from ._configfile._load import load
        from ._configfile._reload import Source

        return cls._made(Source(source, load), watch)

    @classmethod
    def from_litellm(
        cls,
        source: str | Path | Mapping[str, Any],
        *,
        strict: bool = False,
        watch: bool = False,
    ) -> Router:
        """Return the router that a LiteLLM configuration asks for.

        ``notes`` tells every row that was dropped and every key that was ignored or
        read in another way. With ``strict`` ConfigFileError is raised when something
        that concerns routing cannot be honoured. ``watch``: as for ``from_file``, the
        files it includes as well.
        """
        from ._configfile._reload import Source
        from ._litellm._plan import load_litellm

        return cls._made(Source(source, partial(load_litellm, strict=strict)), watch)

    @classmethod
    def _made(cls, source: Source, watch: bool) -> Router:
        """Return the router of a file, which may follow it."""
        router = source.build(cls)
        router._source = source
        if watch:
            router._followed().look()
        return router

    def reload(self, source: str | Path | Mapping[str, Any] | None = None) -> None:
        """Read the router's file again, or another one, and take over what changed.

        Leases, learned latencies, breakers, what is used of limits and spent of
        budgets go on as they are; a backend that is gone gets no more calls.
        ConfigFileError when the file is wrong or asks for what needs a new router:
        nothing changes then. ConfigError for routers not made from a file.
        """
        if self._source is None:
            remedy = "only routers made by from_file or from_litellm have one"
            raise ConfigError("source", None, remedy)
        self._source.reload(self, source)

    def reload_on_signal(self, signal: int) -> None:
        """Have ``reload`` done whenever this process gets a signal (signal.SIGHUP).

        Until the router is closed or dropped. ConfigError when this is not the main
        thread, which alone may say so, or when the router has no file.
        """
        self._followed().on_signal(signal)

    def _followed(self) -> Follower:
        if self._source is None:
            remedy = "only routers made by from_file or from_litellm have a file"
            raise ConfigError("source", None, remedy)
        if self._follower is None:
            from ._configfile._follow import Follower

            self._follower = Follower(self, self._source)
        return self._follower

    def _unfollow(self) -> None:
        follower, self._follower = self._follower, None
        if follower is not None:
            follower.close()

    # -- calls ---------------------------------------------------------------

    @overload
    async def chat(
        self,
        model: str = "",
        messages: Messages = (),
        *,
        stream: Literal[False] = False,
        **options: Any,
    ) -> ChatReply: ...
    @overload
    async def chat(
        self,
        model: str = "",
        messages: Messages = (),
        *,
        stream: Literal[True],
        **options: Any,
    ) -> ChatStream: ...
    async def chat(
        self,
        model: str = "",
        messages: Messages = (),
        *,
        stream: bool = False,
        **options: Any,
    ) -> ChatReply | ChatStream:
        """Answer a conversation; with ``stream`` return its chunks as they come.

        ``model``: a group, a model ("openai/gpt-4o") or a backend's name; with ``task``
        it may be left out (``chat(messages=..., task="fast")``). Options are
        OpenAI's parameters (max_tokens, temperature, tools, ...) and these for the
        choice: ``max_cost`` (USD, with the longest allowed answer), ``max_latency`` (s,
        expected), ``timeout`` (s, the whole call), ``timeouts`` (Timeouts of an
        attempt), ``session`` (str: keep a conversation where its prompt cache is),
        ``tags`` (backends must have all, with ``any_tag`` one; "key=value" labels the
        costs only), ``task`` and ``user`` (labels of costs, and budgets),
        ``fallbacks`` (group names), ``strategy``, ``v``, ``min_quality``, ``priority``
        (may use what is kept free for it), ``max_attempts`` (in each group), ``hedge``
        (True, False: ask a second backend when the first is slow), ``postprocess``
        (False: none; True: in streams too). ``response_format`` also takes a msgspec
        Struct, a dataclass or a pydantic model: the validated object stands in
        ``choices[0].message.parsed`` (streams: in the last chunk's ``parsed``).

        Raises InvalidRequestError before anything is sent; NoBackendError and its kin
        when nobody can take the call; otherwise the error of the last attempt, with
        all attempts in ``.attempts``.
        """
        run = self._intake.run("chat", model, messages, stream, options)
        if stream:
            if self._watch is not None:
                self._watch.start()
            return await ChatStream(run, self._transport).start()
        reply: ChatReply = await self._drive(run)
        return reply

    async def generate(
        self, prompt: str, *, model: str = "", **options: Any
    ) -> ChatReply:
        """Answer one prompt; options as for ``chat``."""
        reply: ChatReply = await self.chat(model, as_messages(prompt), **options)
        return reply

    async def embed(self, model: str, input: Inputs, **options: Any) -> EmbeddingReply:
        """Return the embeddings of one or several texts; options as for ``chat``.

        More texts than the backends take at once go out in several requests. A text
        may also be the list of its tokens' numbers, where the provider takes that.
        """
        run = self._intake.run("embed", model, input, False, options)
        parts = Parts(self._fleet, model, run, options)
        if not parts.inputs:
            reply: EmbeddingReply = await self._drive(run)
            return reply
        if not parts.mixed:
            return join(await drive_all(parts.runs(self._intake.part), self._drive))
        run.call.input = parts.inputs[0]
        first = await self._drive(run)
        rest = await drive_all(parts.runs(self._intake.part, first), self._drive)
        return join([first, *rest])

    async def count_tokens(
        self, model: str, messages: Messages | str, **options: Any
    ) -> TokenCount:
        """Return how many tokens a prompt has, an int that says if it is ``exact``.

        Asked of the first backend behind ``model`` whose provider counts for nothing
        (Anthropic, Google); for others it is estimated. Options as for ``chat``.
        """
        if isinstance(messages, str):
            messages = as_messages(messages)
        run = self._intake.run("chat", model, messages, False, options)
        return await count(run, self._transport)

    async def _drive(self, run: Run) -> Any:
        if self._watch is not None:
            self._watch.start()
        if run.contest is not None:
            return await drive_race(run, self._transport)
        return await drive(run, self._transport)

    def acquire(
        self, model: str, messages: Messages | str, **options: Any
    ) -> AcquiredLease:
        """Choose and reserve for a call that you send with a client of your own.

        Use as ``with`` (raises when nothing fits now) or ``async with`` (waits within
        the time-out). Options as for ``chat``.
        """
        if isinstance(messages, str):
            messages = as_messages(messages)
        return AcquiredLease(self._intake.run("chat", model, messages, False, options))

    @property
    def sync(self) -> SyncRouter:
        """The same calls for code without an event loop."""
        if self._sync is None:
            from ._sync import SyncRouter

            self._sync = SyncRouter(self)
        return self._sync

    async def aclose(self) -> None:
        """End what is in flight on this loop and write the ledger down.

        Calls that are not over raise ConnectionLostError, and are accounted for. The
        router can be used again.
        """
        if self._watch is not None:
            self._watch.close()
        if self._intake.mirrors is not None:
            await self._intake.mirrors.aclose()
        self._unfollow()
        self._transport.close()
        await asyncio.sleep(0)  # those that were in flight settle first
        self._fleet.events.close()
        if self._books.book is not None:
            await asyncio.to_thread(self._books.close)

    def close(self) -> None:
        """End copies and write the ledger down, for code without an event loop."""
        self._unfollow()
        if self._intake.mirrors is not None:
            self._intake.mirrors.close()
        self._books.close()

    async def __aenter__(self) -> Router:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        return f"Router({', '.join(self.backends)})"
