"""LiteLLM's numbers of retries as attempts in a group, by the kind of failure.

    num_retries: 2                          Group(max_attempts=3)
    retry_policy:                           Group(attempts={"rate_limit": 6, ...})
      RateLimitErrorRetries: 5
    model_group_retry_policy: {a: {...}}    the same for group a alone, in its place

A retry here goes to an untried backend of the group while there is one. Nobody's number
makes a request be repeated that every backend would refuse.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from .._configfile._places import Path
from .._configfile._tables import suggestion
from ._sheet import Sheet

# Classes of LiteLLM's policies -> kinds of failure here.
_KINDS: Mapping[str, tuple[str, ...]] = {
    "AuthenticationErrorRetries": ("auth", "permission", "region"),
    "TimeoutErrorRetries": ("request_timeout", "timeout"),
    "RateLimitErrorRetries": ("rate_limit", "tier_capacity", "quota"),
    "InternalServerErrorRetries": ("server", "transient"),
    "ServiceUnavailableErrorRetries": ("overloaded",),
    "NotFoundErrorRetries": ("model_missing",),
}
_NEVER = ("BadRequestErrorRetries", "ContentPolicyViolationErrorRetries")
_DEFAULT = "DefaultRetries"
MOST = 15  # a call makes 16 attempts in all


class Tries(Struct, frozen=True):
    """How often one group may be asked; ``most`` None: nobody says."""

    most: int | None = None
    kinds: dict[str, int] = {}

    def __bool__(self) -> bool:
        return self.most is not None or bool(self.kinds)


class Policies:
    """The retries of a sheet: those of all groups, and those that groups have."""

    def __init__(self, sheet: Sheet, router: Mapping[str, Any]) -> None:
        self._sheet = sheet
        place: Path = ("router_settings", "retry_policy")
        self._all = self._read(place, router.get("retry_policy"))
        place = ("router_settings", "model_group_retry_policy")
        own = router.get("model_group_retry_policy") or {}
        if not isinstance(own, dict):
            sheet.note(place, "give a mapping: left out")
            own = {}
        self._own = {str(g): self._read((*place, g), p) for g, p in own.items()}

    def of(self, group: str, retries: int | None) -> Tries:
        """Return a group's numbers; ``retries``: what holds beside its policy."""
        policy = self._own.get(group, self._all)
        most = policy.most if policy.most is not None else attempts_of(retries)
        return Tries(most, policy.kinds)

    def check(self, groups: set[str]) -> None:
        """Note policies of groups that are not there."""
        for group in self._own:
            if group not in groups:
                place = ("router_settings", "model_group_retry_policy", group)
                hint = suggestion(group, groups)
                self._sheet.note(place, f"no group {group!r}; {hint}")

    def _read(self, place: Path, policy: Any) -> Tries:
        if policy is not None and not isinstance(policy, dict):
            self._sheet.note(place, "give a mapping: left out")
        most: int | None = None
        kinds: dict[str, int] = {}
        for name, value in policy.items() if isinstance(policy, dict) else ():
            here: Path = (*place, name)
            retries = self.number(here, value)
            if name == _DEFAULT:
                most = attempts_of(retries)
            elif name in _KINDS and retries is not None:
                kinds |= dict.fromkeys(_KINDS[name], retries + 1)
            elif name in _NEVER:
                if retries:
                    why = "every backend would refuse it: it is asked once"
                    self._sheet.note(here, why, "changed")
            elif name not in _KINDS:
                known = (*_KINDS, *_NEVER, _DEFAULT)
                self._sheet.note(here, f"unknown key; {suggestion(name, known)}")
        return Tries(most, kinds)

    def number(self, place: Path, value: Any) -> int | None:
        """Return a number of retries; None: it says nothing, or nothing sensible."""
        if value is None:
            return None
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            self._sheet.note(place, f"{value!r} is no whole number >= 0: left out")
            return None
        if value > MOST:
            why = f"a call makes {MOST + 1} attempts at most"
            self._sheet.note(place, why, "changed")
        return min(value, MOST)


def attempts_of(retries: int | None) -> int | None:
    """Attempts in all: the first one counts."""
    return None if retries is None else retries + 1
