"""The same calls for code without an event loop: ``router.sync.chat(...)``.

A blocking call waits with the GIL released; everything else is the router's own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ._call._drive import drive_blocking
from ._call._embed import Parts, join
from ._call._options import Inputs, Messages, as_messages
from ._call._race import drive_race_blocking
from ._call._run import Run
from ._call._stream import BlockingChatStream
from ._types import ChatReply, EmbeddingReply

if TYPE_CHECKING:
    from ._router_operation import Operation


class SyncRouter:
    """Blocking twin of a Router; any number of threads may use it."""

    def __init__(self, router: Operation) -> None:
        self._router = router

    def chat(
        self,
        model: str = "",
        messages: Messages = (),
        *,
        stream: bool = False,
        **options: Any,
    ) -> Any:
        """As ``Router.chat``: a ChatReply, or with ``stream`` an iterator of chunks."""
        run = self._router._intake.run("chat", model, messages, stream, options)
        if stream:
            return BlockingChatStream(run, self._router._transport).start()
        return self._drive(run)

    def generate(self, prompt: str, *, model: str = "", **options: Any) -> ChatReply:
        """As ``Router.generate``."""
        reply: ChatReply = self.chat(model, as_messages(prompt), **options)
        return reply

    def embed(self, model: str, input: Inputs, **options: Any) -> EmbeddingReply:
        """As ``Router.embed``."""
        router = self._router
        run = router._intake.run("embed", model, input, False, options)
        parts = Parts(router._fleet, model, run, options)
        if not parts.inputs:
            reply: EmbeddingReply = self._drive(run)
            return reply
        run.call.input = parts.inputs[0]
        first = self._drive(run)
        kept = first if parts.mixed else None
        runs = parts.runs(router._intake.part, kept)
        rest = map(self._drive, runs if parts.mixed else runs[1:])
        return join([first, *rest])

    def _drive(self, run: Run) -> Any:
        if run.contest is not None:
            return drive_race_blocking(run, self._router._transport)
        return drive_blocking(run, self._router._transport)
