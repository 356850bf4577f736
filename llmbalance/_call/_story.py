"""What is told of a call: an attempt as it goes out, and how the call has gone so far.

    Run ──a Story──▶ the ledger's books, events, experiments, mirrors
      writes it        read it, and know nothing of how a call finds its way

Whoever reads it knows what happened, not the Run that it happened to; the Run knows of
its readers what they want to hear, and no more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    from .._core import Lease
    from .._fleet._target import Target
    from .._money._ledger import Entry
    from .._types import Call, Request
    from ._decision import Attempt
    from ._routing import Options


class Shot(NamedTuple):
    """One attempt ready to be sent.

    ``timeouts``: connect, first byte, first token, idle and total, in seconds, 0 for
    none; ``sent_at``: monotonic.
    """

    lease: Lease
    target: Target
    request: Request
    timeouts: tuple[float, float, float, float, float]
    sent_at: float


class Story:
    """One call: what it asks for, what was tried for it, how it stands."""

    __slots__ = ("attempts", "began", "call", "id", "number", "options", "verdict")

    call: Call
    options: Options
    began: float  # monotonic
    attempts: list[Attempt]
    verdict: str | None  # the error's name, "cancelled" until the end, None: answered
    id: str  # in the ledger, "" before it is there
    number: int  # in events, likewise 0


class Listener(Protocol):
    """Who has a part in a call, and hears how it ends."""

    def answered(self, reply: Any) -> None:
        """There is an answer, which the caller has not got yet."""

    def over(self, story: Story) -> None:
        """The call has ended, well or not."""


class Scribe(Protocol):
    """Who writes down what attempts cost, and what a restart needs; see ``Books``."""

    keeps: bool  # whether attempts are written down, and not only watched

    def watch(self, nano: int) -> None:
        """Look whether what an attempt cost is to be told of."""

    def note(
        self,
        story: Story,
        shot: Shot,
        status: str,
        counts: tuple[int, ...] | None,
        nano: int,
        known: bool,
        seconds: float | None,
        ttft: float | None,
    ) -> Entry:
        """Take note of a settled attempt; its entry is given to ``write``."""

    def write(self, entry: Entry, last: bool) -> None:
        """Write an entry; ``last`` says that it ended its call."""

    def save(self) -> None:
        """Keep what was learned."""

    def recall(self, key: str) -> None:
        """Tell the pool what was learned of a backend or group that has come."""
