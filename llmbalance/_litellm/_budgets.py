"""Budgets of a LiteLLM configuration: of everything, of rows, of providers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from .._config import Backend, Budget
from .._configfile._places import Path
from .._errors import ConfigError
from ._names import PREFIXES
from ._rows import Deployment
from ._sheet import Sheet

if TYPE_CHECKING:
    from .._fleet import Fleet


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
        config = self.router.get("provider_budget_config")
        place: Path = ("router_settings", "provider_budget_config")
        if config is not None and not isinstance(config, dict):
            self.sheet.note(place, "give a mapping: left out")
            config = None
        for provider, entry in (config or {}).items():
            here = (*place, str(provider))
            ours = PREFIXES[provider].provider if provider in PREFIXES else provider
            labels = [b.label for b in backends if b.provider == ours]
            terms = entry if isinstance(entry, dict) else {}
            limit = terms.get("budget_limit", terms.get("max_budget"))
            amount = self._number(limit, here)
            if not labels or amount is None:
                why = "no deployment of this provider" if amount else "no budget_limit"
                self.sheet.note(here, f"{why}: left out")
                continue
            duration = terms.get("time_period", terms.get("budget_duration"))
            if self._budget(made, here, amount, _per(duration), labels[0]):
                finish.append(_Charge(len(made) - 1, tuple(labels[1:])))
        return made, finish

    def _budget(
        self,
        made: list[Budget],
        place: Path,
        usd: float,
        per: str,
        backend: str | None,
    ) -> bool:
        try:
            made.append(Budget(usd=usd, per=per, backend=backend))
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
