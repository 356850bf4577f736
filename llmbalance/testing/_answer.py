"""One answer on its way: waiting for its tokens, then whole or as a stream.

Token k of a stream is due at `ttft + (k - 1) * per_token` after the start; a whole
answer is due with its last token. One timer serves an answer; what is due together is
sent together, and nothing is sent while the client does not read.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import TYPE_CHECKING

from ._dialects._base import Event, Turn
from ._script import Rule
from ._server import Connection

if TYPE_CHECKING:
    from ._desk import Desk, Seen

_FLUSH = 32 << 10  # bytes gathered before a write


class Hanging:
    """A request that is never answered."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def lost(self) -> None:
        self._desk.provider.cancelled += 1

    def resume(self) -> None:
        pass

    def stop(self) -> None:
        pass


class Answer:
    """An admitted request that is being answered."""

    __slots__ = (
        "_begun",
        "_desk",
        "_events",
        "_garbage",
        "_next",
        "_per_token",
        "_t0",
        "_timer",
        "_ttft",
        "conn",
        "cut",
        "gone",
        "lines",
        "produced",
        "seen",
        "started",
        "turn",
    )

    def __init__(
        self,
        desk: Desk,
        conn: Connection,
        seen: Seen,
        turn: Turn,
        lines: list[str],
        pace: tuple[float, float],
        cut: Rule | None,
        garbage: bool,
    ) -> None:
        self._desk = desk
        self.conn = conn
        self.seen = seen
        self.turn = turn
        self.lines = lines
        self._ttft, self._per_token = pace
        self.cut = cut
        self._garbage = garbage
        self.produced = 0  # tokens
        self.gone = False  # the client left
        self.started = False  # it has a slot
        self._begun = False  # the head of the stream is sent
        self._timer: asyncio.TimerHandle | None = None
        self._t0 = 0.0
        self._events: Iterator[Event] = iter(())
        self._next: Event | None = None

    def took(self) -> float:
        """Seconds from the start to the last token."""
        return self._ttft + self._per_token * max(0, self.turn.usage.output - 1)

    def start(self) -> None:
        """The model begins to work."""
        self._t0 = self._desk.loop.time()
        if self.turn.ask.stream:
            self._events = self._desk.dialect.events(self.turn)
            self._next = next(self._events, None)
            self._step()
        elif self.took() > 0:
            self._timer = self._desk.loop.call_later(self.took(), self._whole)
        else:
            self._whole()

    # --- whole answers -------------------------------------------------------

    def _whole(self) -> None:
        self.produced = self.turn.usage.output
        body = self._desk.dialect.unary(self.turn)
        if self._garbage:
            self._desk.broken(self)
            body = body[: len(body) // 2]
        else:
            self._desk.completed(self)
        self.conn.respond(200, self.lines, self._desk.dialect.json_type, body)

    # --- streams -------------------------------------------------------------

    def _due_at(self, position: int) -> float:
        if position < 0 or (position == 0 and self._desk.dialect.early_head):
            return self._t0
        return self._t0 + self._ttft + self._per_token * max(0, position - 1)

    def _step(self) -> None:
        """Send what is due, then sleep until the next token."""
        now = self._desk.loop.time() + 1e-6
        out: list[bytes] = []
        size = 0
        while self._next is not None and not self.conn.paused:
            position, data = self._next
            due = self._due_at(position)
            if due > now:
                self._flush(out)
                self._timer = self._desk.loop.call_at(due, self._step)
                return
            if self._breaks(position):
                out.append(data[: len(data) // 2] + b"\n\n" if self._garbage else b"")
                self._flush(out)
                self._break_off()
                return
            out.append(data)
            size += len(data)
            self.turn.sent += 1
            self.produced = max(self.produced, position)
            self._next = next(self._events, None)
            if size > _FLUSH:
                self._flush(out)
                out, size = [], 0
        self._flush(out)
        if self._next is None:
            self._finish()

    def _breaks(self, position: int) -> bool:
        """Whether the script breaks the stream off before this event."""
        if self._garbage:
            return position > 0
        if self.cut is None:
            return False
        after = int(self.cut.args["after"])
        return position > after or (position == after and self.produced >= after > 0)

    def _flush(self, out: list[bytes]) -> None:
        if not out:
            return
        if not self._begun:
            self._begun = True
            kind = self._desk.dialect.stream_content_type(self.turn.ask)
            self.conn.begin(200, self.lines, kind)
        self.conn.send(b"".join(out))

    def _finish(self) -> None:
        self.produced = self.turn.usage.output
        self._desk.completed(self)
        self.conn.end()

    def _break_off(self) -> None:
        how = "end" if self.cut is None or self._garbage else self.cut.args["how"]
        self._desk.broken(self)
        if how == "error":
            self.conn.send(self._desk.dialect.stream_error(self.turn))
        if how in ("error", "end"):
            self.conn.end()
        else:
            self.conn.drop(reset=how == "reset")

    # --- the client ----------------------------------------------------------

    def resume(self) -> None:
        if self._timer is None or self._timer.when() <= self._desk.loop.time():
            self._step()

    def stop(self) -> None:
        """The server stops."""
        self.gone = True
        if self._timer is not None:
            self._timer.cancel()
        if self.started:
            self._desk.provider.in_flight -= 1

    def lost(self) -> None:
        """The client closed before the end: stop working."""
        self.gone = True
        if self._timer is not None:
            self._timer.cancel()
        if not self.turn.ask.stream and self._t0 and self._per_token > 0:
            worked = self._desk.loop.time() - self._t0 - self._ttft
            done = int(worked / self._per_token) + 1 if worked >= 0 else 0
            self.produced = min(done, self.turn.usage.output)
        self._desk.abandoned(self)
