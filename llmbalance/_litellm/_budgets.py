"""Budgets of a LiteLLM configuration: of everything, of rows, providers and tags."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from .._config import Backend, Budget
from .._configfile._places import Path
from .._errors import ConfigError
from ._names import PREFIXES
from ._rows import Deployment
from ._sheet import Sheet

if TYPE_CHECKING:
    from .._fleet._fleet import Fleet


class Budgets:
    """Reads one sheet; ``number`` reads a value that stands somewhere."""

    def __init__(
        self,
        sheet: Sheet,
        router: Mapping[str, Any],
        shared: Mapping[str, Any],
        number: Callable[[Any, Path], float | None],
    ) -> None:
        self.sheet, self.router, self.shared = sheet, router, shared
        self._number = number
        self.tags: set[str] = set()  # that have a budget

    def read(
        self, backends: list[Backend], rows: list[Deployment]
    ) -> tuple[list[Budget], list[Any]]:
        """Return the budgets, and what is to be done once the fleet stands."""
        made: list[Budget] = []
        finish: list[Any] = []
        usd = self._number(
            self.shared.get("max_budget"), ("litellm_settings", "max_budget")
        )
        if usd is not None:
            per = _per(self.shared.get("budget_duration"))
            self._budget(made, ("litellm_settings", "max_budget"), usd, per, None)
        for row in rows:
            if row.budget is not None:
                per = _per(row.budget[1])
                where: Path = ("model_list",)
                self._budget(made, where, row.budget[0], per, row.backend.label)
        place: Path = ("router_settings", "provider_budget_config")
        for here, provider, usd, per in self._entries(place, self.router):
            ours = PREFIXES[provider].provider if provider in PREFIXES else provider
            labels = [b.label for b in backends if b.provider == ours]
            if not labels:
                self.sheet.note(here, "no deployment of this provider: left out")
            elif self._budget(made, here, usd, per, labels[0]):
                finish.append(_Charge(len(made) - 1, tuple(labels[1:])))
        place = ("litellm_settings", "tag_budget_config")
        for here, tag, usd, per in self._entries(place, self.shared):
            if self._budget(made, here, usd, per, tag=tag):
                self.tags.add(tag)
        return made, finish

    def _entries(
        self, place: Path, settings: Mapping[str, Any]
    ) -> Iterator[tuple[Path, str, float, str]]:
        """Each budget of a mapping: its place, whose it is, USD and the window."""
        config = settings.get(str(place[-1]))
        if config is not None and not isinstance(config, dict):
            self.sheet.note(place, "give a mapping: left out")
            return
        for name, entry in (config or {}).items():
            here = (*place, str(name))
            terms = entry if isinstance(entry, dict) else {}
            usd = self._number(terms.get("budget_limit", terms.get("max_budget")), here)
            duration = terms.get("time_period", terms.get("budget_duration"))
            if usd is None:
                self.sheet.note(here, "no budget_limit: left out")
            else:
                yield here, str(name), usd, _per(duration)

    def _budget(
        self,
        made: list[Budget],
        place: Path,
        usd: float,
        per: str,
        backend: str | None = None,
        tag: str | None = None,
    ) -> bool:
        try:
            made.append(Budget(usd=usd, per=per, backend=backend, tag=tag))
        except ConfigError as error:
            self.sheet.note(place, f"budget left out: {error}")
            return False
        return True


def _per(duration: Any) -> str:
    """LiteLLM's "30d", "1mo" in our words; nothing said: for ever."""
    text = str(duration or "total")
    return "month" if text in ("1mo", "monthly") else text


class _Charge(Struct, frozen=True):
    """Makes further backends count towards a budget of the first one."""

    budget: int
    labels: tuple[str, ...]

    def __call__(self, fleet: Fleet) -> None:
        budget = fleet.meters[self.budget].index
        for label in self.labels:
            for index in fleet.indices(label):
                fleet.charge("backend", index, budget)
