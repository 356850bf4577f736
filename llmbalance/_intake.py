"""What a call asks for: its own words, its task, its session, made into a Run.

chat(model, messages, **options)
    │  task      options the call leaves open; where it goes when it names no model
    │  options   read into the core's terms, or refused by name
    │  session   told by how the conversation begins, where none is given
    ▼
   Run           before anything is chosen or sent
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from ._errors import InvalidRequestError
from ._options import Options, checked_messages, read_options
from ._run import Run
from ._sessions import session_of
from ._shape import check_asked
from ._types import Call

if TYPE_CHECKING:
    from ._fleet import Fleet
    from ._tasks import Tasks


class Intake:
    """Makes the Runs of one router.

    ``timeout`` and ``wait`` are what calls get that do not say; ``tasks`` is None where
    there are none.
    """

    def __init__(
        self,
        fleet: Fleet,
        tasks: Tasks | None,
        *,
        timeout: float,
        wait: bool,
        auto_session: bool,
    ) -> None:
        self.fleet = fleet
        self.tasks = tasks
        self.timeout = timeout
        self.wait = wait
        self.auto_session = auto_session

    def run(
        self,
        kind: Literal["chat", "embed"],
        model: str,
        content: Any,
        stream: bool,
        options: dict[str, Any],
    ) -> Run:
        """Return the Run of a call; InvalidRequestError for what cannot be meant."""
        if kind == "chat":
            content = checked_messages(content)
        elif not content or not isinstance(content, str | list | tuple):
            raise InvalidRequestError(
                "input", content, "give a text or a list of texts"
            )
        if self.tasks is not None and options.get("task") and kind == "chat":
            model, options = self.tasks.apply(model, content, options)
        routing = Options(
            group=self.fleet.group(model),
            fallbacks=[],
            timeout=self.timeout,
            wait=self.wait,
        )
        params = read_options(self.fleet, routing, options, model) if options else {}
        if self.auto_session and kind == "chat" and routing.session is None:
            routing.session = session_of(model, content)
        call = Call(
            kind=kind,
            model=model,
            messages=content if kind == "chat" else (),
            input=content if kind == "embed" else (),
            params=params,
            stream=stream,
        )
        run = Run(self.fleet, call, routing)
        if routing.postprocess is not None:
            check_asked(run)
        return run
