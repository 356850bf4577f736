"""What a call asks for: its own words, its task, its arms, its session, as a Run.

chat(model, messages, **options)
    │  task      options the call leaves open; where it goes when it names no model
    │  arms      of the experiments it is part of: what is still open, or another model
    │  options   read into the core's terms, or refused by name
    │  session   told by how the conversation begins, where none is given
    ▼
   Run           before anything is chosen or sent
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from ._call._options import checked_messages, choose_budgets, read_options
from ._call._routing import Options
from ._call._run import Run
from ._errors import InvalidRequestError
from ._tasks._sessions import session_of
from ._tasks._task import AUTO, Tasks
from ._types import Call

if TYPE_CHECKING:
    from ._experiments._mirrors import Mirrors
    from ._experiments._studies import Studies, Trial
    from ._fleet._fleet import Fleet
    from ._fleet._shape import Shaping


class Intake:
    """Makes the Runs of one router.

    ``timeout`` and ``wait`` are what calls get that do not say; ``tasks``, ``studies``
    and ``mirrors`` are None where there are none.
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
        self.studies: Studies | None = None
        self.mirrors: Mirrors | None = None

    def part(
        self, model: str, input: Any, options: dict[str, Any], of: Trial | None
    ) -> Run:
        """Return the Run of some of the texts of a larger call, which is in ``of``."""
        return self._made("embed", model, input, False, options, of)

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
        elif not content or not isinstance(content, (str, list, tuple)):
            raise InvalidRequestError(
                "input", content, "give a text or a list of texts"
            )
        asked = options
        if options.get("task"):
            if self.tasks is not None and kind == "chat":
                model, options = self.tasks.apply(model, content, options)
            else:
                model, options = self._of_task(model, options)
        trial = None
        if self.studies is not None:
            trial = self.studies.assign(
                kind, model, content, asked, options, self.auto_session
            )
        if trial is None:
            return self._made(kind, model, content, stream, options, None)
        run = self._made(kind, trial.model, content, stream, trial.options, trial)
        budgets = self.fleet.call_budgets.get("tag")
        if budgets and trial.is_under(budgets):
            run.spare = partial(self._as_control, (model, options, asked), trial)
        return run

    def _as_control(
        self, given: tuple[str, dict[str, Any], dict[str, Any]], trial: Trial, run: Run
    ) -> None:
        """Make a call what it would be if the arms without money were the controls.

        ``given``: the call's model and options, and those that it said itself.
        """
        call, wait = run.call, run.options.wait
        content = call.messages if call.kind == "chat" else call.input
        other = trial.as_control(*given)
        made = self._made(
            call.kind, other.model, content, call.stream, other.options, other
        )
        run.call, run.options, run.trial = made.call, made.options, other
        run.contest, run.options.wait = made.contest, wait

    def _made(
        self,
        kind: Literal["chat", "embed"],
        model: str,
        content: Any,
        stream: bool,
        options: dict[str, Any],
        trial: Trial | None,
    ) -> Run:
        """Return the Run of a call as its task and its arms (``trial``) have it."""
        routing = Options(
            group=self.fleet.group(model),
            timeout=self.timeout,
            wait=self.wait,
            labels=() if trial is None else trial.labels,
        )
        params = read_options(self.fleet, routing, options, model) if options else {}
        if not options and routing.labels and self.fleet.call_budgets:
            choose_budgets(self.fleet, routing)
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
        if self.fleet.hedges is not None or routing.hedge:
            run.contest = self.fleet.contest(routing.group, routing.hedge)
        if routing.postprocess is not None:
            _check_steps(run)
        run.trial = trial
        if self.mirrors is not None:
            run.mirror = self.mirrors.sample(kind, model, options)
        return run

    def _of_task(
        self, model: str, options: dict[str, Any]
    ) -> tuple[str, dict[str, Any]]:
        """Where embeddings go, or a call of a router that has no tasks."""
        if options["task"] == AUTO:
            remedy = "is for chats of a router with tasks=[Task(...)]: name the task"
            raise InvalidRequestError("task", AUTO, remedy)
        if self.tasks is None:
            return model, options
        return self.tasks.apply_to_texts(model, options)


def _check_steps(run: Run) -> None:
    """Refuse ``postprocess`` where it cannot be, before anything is sent.

    Embeddings have no text; a stream may not come to a step that needs a whole one.
    """
    asked = run.options.postprocess
    if run.call.kind != "chat":
        raise InvalidRequestError("postprocess", asked, "embeddings have no text")
    if not (asked and run.call.stream):
        return
    fleet = run.fleet
    members = fleet.members()
    reached = list(run.chain)
    for group in reached:
        terms = fleet.group_terms.get(group)
        if terms is not None:
            more = (*terms.context, *terms.filtered)
            reached += [g for g in dict.fromkeys(more) if g not in reached]
        for index in members[fleet.group_names[group]]:
            target = fleet.targets[index]
            _check_streamable(target.name, fleet.steps(target, group))


def _check_streamable(backend: str, steps: Sequence[Shaping]) -> None:
    for step in steps:
        if step.stream is None:
            raise InvalidRequestError(
                "postprocess",
                True,
                f"step {step.name!r} of backend {backend!r} needs the whole text:"
                " call without stream, or give it a method stream()",
            )
