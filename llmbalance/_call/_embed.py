"""Embedding many texts: cut into requests that every target takes, joined again.

    texts --cut--> parts --one call each--> replies --join--> one reply, same order

The parts are as large as the narrowest backend of the group allows, so each may fail
over to any of them. Vectors of different models cannot be compared: in a group with
several models the one that answers the first part answers them all.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from msgspec import structs

from .._core import measure
from .._types import Embedding, EmbeddingReply, Usage

if TYPE_CHECKING:
    from .._fleet._fleet import Fleet
    from .._fleet._target import Target
    from ._run import Run

_MARGIN = 1.2  # a token estimate may be so much too low
_AT_ONCE = 8  # parts of one call in flight

Make = Callable[[str, Any, dict[str, Any], Any], "Run"]


class Parts:
    """The calls that one embedding call is made of; none when it fits into one."""

    def __init__(
        self, fleet: Fleet, model: str, whole: Run, options: Mapping[str, Any]
    ) -> None:
        self.inputs: list[Sequence[Any]] = []
        self._fleet, self._model, self._options = fleet, model, options
        self._limit = whole.options.max_cost  # nano-USD, its task's perhaps
        self._trial = whole.trial
        if self._trial is not None:
            self._model, self._options = self._trial.model, self._trial.options
        texts = whole.call.input
        many = not isinstance(texts, str) and len(texts) > 1
        if not many or not all(isinstance(text, str | list | tuple) for text in texts):
            return  # what is wrong is refused by position when the call is measured
        all_ = whole.targets(overflow=True)
        targets = [target for target in all_ if _embeds(target)]
        limits = [target.dialect.embed_limits() for target in targets]
        if not limits:
            return
        most, tokens = (min(column) for column in zip(*limits, strict=True))
        self._weights = [measure(text) * _MARGIN for text in texts]
        inputs = cut(texts, self._weights, most, tokens)
        if len(inputs) > 1:
            self.inputs = inputs
            whole.spare = None  # all parts are answered by one arm
            self.mixed = len({t.backend.model.partition("/")[2] for t in targets}) > 1

    def runs(self, make: Make, first: EmbeddingReply | None = None) -> list[Run]:
        """Make the calls; all, or those after ``first`` on the model that gave it."""
        options, model = dict(self._options), self._model
        inputs = self.inputs
        if first is not None:
            inputs = inputs[1:]
            model = self._fleet.backends[self._fleet.index(first.backend)].model
        whole, limit = sum(self._weights), self._limit
        runs = []
        at = len(self.inputs[0]) if first is not None else 0
        for part in inputs:
            if limit is not None:
                share = sum(self._weights[at : at + len(part)]) / whole
                options["max_cost"] = limit * share / 1e9
            at += len(part)
            run = make(model, part, options, self._trial and self._trial.again())
            if first is not None:
                run.stay()
            runs.append(run)
        return runs


def _embeds(target: Target) -> bool:
    return target.dialect.supports.get("embeddings") != "refused"


def cut(
    texts: Sequence[Any], weights: Sequence[float], most: int, tokens: int
) -> list[Sequence[Any]]:
    """Cut into runs of at most ``most`` texts and ``tokens`` tokens (or one text)."""
    parts: list[Sequence[Any]] = []
    start, weight = 0, 0.0
    for at, one in enumerate(weights):
        if at > start and (at - start >= most or weight + one > tokens):
            parts.append(texts[start:at])
            start, weight = at, 0.0
        weight += one
    parts.append(texts[start:])
    return parts


async def drive_all(runs: Sequence[Run], drive: Callable[[Run], Any]) -> list[Any]:
    """Carry out calls, a few at once; the first error ends them all."""
    gate = asyncio.Semaphore(_AT_ONCE)

    async def one(run: Run) -> Any:
        async with gate:
            return await drive(run)

    tasks = [asyncio.create_task(one(run)) for run in runs]
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def join(replies: Sequence[EmbeddingReply]) -> EmbeddingReply:
    """Make one reply of several: vectors in order, usage and cost summed.

    What is not known of one is not known of the whole; there is no ``raw`` body.
    """
    first = replies[0]
    data: list[Embedding] = []
    for reply in replies:
        for item in reply.data:
            item.index = len(data)
            data.append(item)
    nano = _sum([reply.cost_nano_usd for reply in replies])
    return EmbeddingReply(
        data=data,
        model=first.model,
        usage=_usage([reply.usage for reply in replies]),
        backend=", ".join(dict.fromkeys(reply.backend for reply in replies)),
        cost=None if nano is None else nano / 1e9,
        cost_nano_usd=nano,
        attempts=[attempt for reply in replies for attempt in reply.attempts],
        decision=first.decision,
        warnings=list(dict.fromkeys(w for reply in replies for w in reply.warnings)),
        experiments=first.experiments,
        provider_request_id=first.provider_request_id,
    )


def _usage(used: Sequence[Usage | None]) -> Usage | None:
    known = [usage for usage in used if usage is not None]
    if len(known) < len(used):
        return None
    columns = zip(*map(structs.astuple, known), strict=True)
    return Usage(*(_sum(column) for column in columns))


def _sum(values: Sequence[Any]) -> Any:
    return None if None in values else sum(values)
