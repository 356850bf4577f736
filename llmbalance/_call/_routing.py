"""The routing part of a call, as the core takes it; read in ``_options.py``."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from .._config import Timeouts


class Options(Struct, kw_only=True):
    """Where a call may go and on what terms; None: not asked for."""

    group: int
    fallbacks: list[int] | None = None  # None: the group's own
    max_tokens: int | None = None
    needs: int = 0
    tags: int | None = None
    any_tag: bool = False
    session: int | None = None
    max_cost: int | None = None
    max_latency: float | None = None
    value: float | None = None
    strategy: int | None = None
    quality: int | None = None
    priority: bool | None = None
    attempts: int | None = None
    rank: int = 0
    budgets: tuple[int, ...] | None = None
    labels: tuple[str, ...] = ()
    task: str | None = None
    tuned: str | None = None
    user: str | None = None
    timeout: float = 600.0
    timeouts: Timeouts | None = None
    wait: bool = True
    hedge: bool | None = None
    wanted: type[Any] | None = None  # what the answer is to be read as
    kind: str | None = None  # in books and events, where it is not the call's own
    postprocess: bool | None = None  # None: complete answers only

    def ask(self, tools: Any) -> tuple[Any, ...]:
        """The arguments of Pool.pick and Pool.explain after group and prompt."""
        return (
            *(self.max_tokens, tools, self.needs, self.tags, self.session),
            *(self.max_cost, self.max_latency, self.value, self.strategy),
            *(self.quality, self.priority, False, None, self.budgets),
        )
