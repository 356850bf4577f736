"""What a mirror is: which calls are copied, where to, and how many."""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct

from .._checks import MOST_SECONDS, positive, within_one
from .._errors import ConfigError
from .._fields import check_fields
from .._types import ChatReply
from ._experiment import Names, check_name, check_scope


class Mirror(Struct, frozen=True, kw_only=True):
    """Copies of answered calls that go to another group as well.

    ``to``: a group, model or backend. ``share`` of the calls of one of ``models``, for
    one of ``tasks``, with one of ``tags`` (empty: whichever). ``name``: in reports and
    in the label "mirror=NAME" (default: ``to``). ``max_in_flight``: copies at once.
    ``timeout``: seconds for a copy (default: the router's). ``compare``: a function of
    the reply and the mirrored reply whose number is averaged in the report (None: not
    counted); it is called on a thread of its own.
    """

    to: str
    share: float = 0.1
    models: Names = ()
    tasks: Names = ()
    tags: Names = ()
    name: str | None = None
    max_in_flight: int = 16
    timeout: float | None = None
    compare: Callable[[ChatReply, ChatReply], float | None] | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.to, str) or not self.to:
            raise ConfigError("to", self.to, "give the name of a group")
        if self.compare is not None and not callable(self.compare):
            raise ConfigError("compare", self.compare, "give a function of two replies")
        check_fields(self)
        if self.name is not None:
            check_name("name", self.name)
        elif "=" in self.to:  # it is to stand in "mirror=NAME"
            raise ConfigError("name", None, f"give one: {self.to!r} cannot be a label")
        check_scope(self)
        within_one("share", self.share)
        positive("max_in_flight", self.max_in_flight)
        positive("timeout", self.timeout, most=MOST_SECONDS)

    @property
    def label(self) -> str:
        """What it is called."""
        return self.name or self.to
