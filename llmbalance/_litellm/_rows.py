"""One row of LiteLLM's ``model_list`` becomes one Backend, or several, or a note.

    model_name: gpt-4o                          Backend("azure/prod-4o",
    litellm_params:                      -->        groups=["gpt-4o"],
      model: azure/prod-4o                          base_url="https://...",
      api_base: https://...                         api_key="env:KEY",
      api_key: os.environ/KEY                       limits=Limits(rpm=600))
      rpm: 600

What a row's neighbours decide (names, shares, orders) is left to ``_plan.py``.
"""

from __future__ import annotations

import difflib
import os
from typing import Any

from msgspec import Struct

from .._config import Backend
from .._errors import ConfigError
from .._fleet._parameters import DEFAULTS, PARAMETERS
from .._fleet._target import make_dialect
from .._money._prices import PriceTable
from ._names import (
    INFO,
    MODES,
    OPTIONS,
    PARAMS,
    PREFIXES,
    Host,
    provider_at,
    vendor_of,
)
from ._row_figures import Dropped, Figures, Habits
from ._sheet import Sheet
from ._terms import is_price
from ._unread import INFO as INFO_UNREAD
from ._unread import of_param

_ROUTER = ("model_name", "litellm_params", "model_info", "rpm", "tpm")


class Deployment(Struct):
    """A row that can be served, with what its group still has to settle."""

    row: int
    group: str
    backend: Backend
    id: str | None = None
    weight: float | None = None
    order: int | None = None
    rpm: float | None = None
    tpm: float | None = None
    budget: tuple[float, str] | None = None  # USD, per
    retries: int | None = None
    silent: str | None = None  # the group that gets copies of its calls


def deployments(sheet: Sheet, habits: Habits) -> list[Deployment]:
    """Read all rows; those that cannot be served are noted and left out."""
    prices = PriceTable()
    found = []
    for index in range(len(sheet.rows)):
        try:
            found += _Row(sheet, index, habits, prices).read()
        except Dropped as why:
            sheet.note_row(index, (), f"dropped: {why}")
    return found


class _Row(Figures):
    """Reads one row."""

    def __init__(
        self, sheet: Sheet, index: int, habits: Habits, prices: PriceTable
    ) -> None:
        self.sheet, self.index, self.habits, self.prices = sheet, index, habits, prices
        row = sheet.rows[index][0]
        params = row.get("litellm_params")
        if not row.get("model_name") or not isinstance(params, dict):
            raise Dropped("needs model_name and litellm_params")
        self.group = str(row["model_name"])
        self.raw = {**habits.params, **self._credential(params), **params}
        self.params: dict[str, Any] = {}
        for key, value in self.raw.items():
            found, wrong = sheet.resolve(value)
            self.params[key] = found
            if sheet.is_shell_style(value):
                self.note(
                    ("litellm_params", key),
                    f"{value} is read from the environment; LiteLLM takes it "
                    "literally: write os.environ/",
                    "changed",
                )
            if wrong and key != "api_key":
                self.note(("litellm_params", key), wrong)
        info = row.get("model_info")
        self.info: dict[str, Any] = info if isinstance(info, dict) else {}
        for key in (
            "rpm",
            "tpm",
            "itpm",
            "otpm",
        ):  # beside litellm_params, or in model_info
            if self.params.get(key) is None:
                self.params[key] = row.get(key, self.info.get(key))
        for key in ("allowed_fails", "cooldown_time"):
            if self.params.get(key) is None:
                self.params[key] = self.info.get(key)
        self._unknown_keys(row)

    def _credential(self, params: dict[str, Any]) -> dict[str, Any]:
        """What the credential that the row names adds to it."""
        name = params.get("litellm_credential_name")
        if name is None:
            return {}
        for entry in self.sheet.list_section("credential_list"):
            if isinstance(entry, dict) and entry.get("credential_name") == name:
                return dict(entry.get("credential_values") or {})
        raise Dropped(f"credential_list has no {name!r}")

    def _unknown_keys(self, row: dict[str, Any]) -> None:
        for key in row:
            if key not in _ROUTER:
                self.note((key,), f"unknown key; {_near(key, _ROUTER)}")
        for key in self.raw:
            path = ("litellm_params", key)
            unread = of_param(key)
            if unread is not None:
                self.note(path, *unread)
            elif key in PARAMETERS:
                if key not in DEFAULTS:
                    self.note(path, "says what a call is: pass it with the call")
            elif key not in PARAMS and not is_price(key):
                self.note(path, f"unknown key; {_near(key, PARAMS)}")
        for key in self.info:
            if key not in INFO and not is_price(key):
                why = INFO_UNREAD.get(key, ("does not concern routing", "ignored"))
                self.note(("model_info", key), *why)

    # -- the backend ---------------------------------------------------------

    def read(self) -> list[Deployment]:
        """Return the row's backends: one for each organisation it names."""
        self._must_be_served()
        organizations = self.params.get("organization")
        if not isinstance(organizations, list):
            organizations = [organizations]
        return [self._deployment(each) for each in organizations]

    def _must_be_served(self) -> None:
        mode = self.info.get("mode")
        if mode is not None and mode not in MODES:
            raise Dropped(f"mode {mode}: chat and embeddings are served")
        if self.info.get("blocked"):
            raise Dropped("is blocked")
        here = os.environ.get("LITELLM_ENVIRONMENT")
        places = self.info.get("supported_environments")
        if isinstance(places, list) and here is not None and here not in places:
            raise Dropped(f"is not for LITELLM_ENVIRONMENT={here}")
        if self.params.get("model") == "*" and self._given_address() is None:
            raise Dropped("* is at no provider: write a row for each, e.g. openai/*")

    def _deployment(self, organization: Any) -> Deployment:
        model, host = self._model()
        options = self._options(organization)
        try:
            backend = Backend(
                model,
                groups=(self.group,),
                api_key=self._key(host),
                base_url=self._address(host, model),
                limits=self.limits(),
                price=self.price(model),
                context=self.count("max_input_tokens"),
                max_output=self.count("max_output_tokens") or self.count("max_tokens"),
                can=self.abilities(model),
                tags=self.tags(),
                service_tier=self.params.get("service_tier"),
                region=self.params.get("region_name"),
                timeouts=self.timeouts(),
                breaker=self.breaker(),
                params=self._params(),
                options=options,
            )
            make_dialect(backend).sigv4()  # says what keys are missing
        except ConfigError as error:
            raise Dropped(str(error)) from None
        return Deployment(
            self.index,
            self.group,
            backend,
            id=None if self.info.get("id") is None else str(self.info["id"]),
            weight=self.number("weight", zero=True),
            order=self.whole("order"),
            rpm=self.number("rpm"),
            tpm=self.number("tpm"),
            budget=self.budget(),
            retries=self.whole("num_retries"),
            silent=self._silent(),
        )

    def _model(self) -> tuple[str, Host]:
        """Whose model it is: by prefix, by custom_llm_provider, by the price table."""
        name = str(self.params.get("model") or "")
        if not name:
            raise Dropped("litellm_params needs a model")
        prefix, slash, rest = name.partition("/")
        custom = self.params.get("custom_llm_provider")
        if custom and not (slash and prefix == custom):
            prefix, rest = str(custom), name
        elif not slash or prefix not in PREFIXES:
            return self._unprefixed(name)
        host = PREFIXES.get(prefix)
        if host is None:
            raise Dropped(f"no dialect for provider {prefix!r}")
        address = self._given_address()
        if host.provider == "openai" and address is not None:
            host = host._replace(provider=provider_at(address), key="OPENAI_API_KEY")
        if host.provider == "bedrock":
            for route in ("converse/", "invoke/"):
                rest = rest.removeprefix(route)
        return f"{host.provider}/{rest}", host

    def _unprefixed(self, name: str) -> tuple[str, Host]:
        address = self._given_address()
        if address is not None:
            provider = provider_at(address)
            self.note(
                ("litellm_params", "model"),
                f"no provider named: taken as {provider}/ because of api_base",
                "changed",
            )
            return f"{provider}/{name}", Host(provider)
        if "/" not in name:
            known = self.prices.find(name)
            vendor = known.provider if known is not None else vendor_of(name)
            if vendor is not None:
                return f"{vendor}/{name}", Host(vendor)
        raise Dropped(f"model {name!r}: no such provider; write provider/model")

    def _given_address(self) -> str | None:
        names = ("api_base", "base_url", "aws_bedrock_runtime_endpoint")
        found = next((v for n in names if (v := self.params.get(n))), None)
        return None if found is None else str(found)

    def _address(self, host: Host, model: str) -> str | None:
        for key in ("api_base", "base_url", "aws_bedrock_runtime_endpoint"):
            if self.raw.get(key) is not None and self.params.get(key) is None:
                raise Dropped(f"{key}: {self.sheet.resolve(self.raw[key])[1]}")
        given = self._given_address()
        if given is None and host.provider == "azure":
            return self.sheet.variables.get(
                "AZURE_API_BASE", os.environ.get("AZURE_API_BASE")
            )
        return host.base_url if given is None else given

    def _key(self, host: Host) -> str | None:
        own = self.raw.get("api_key")
        name = (
            "azure_ad_token" if own is None and host.provider == "azure" else "api_key"
        )
        key, wrong = self.sheet.secret(self.raw.get(name))
        if wrong:
            raise Dropped(f"{name}: {wrong}")
        if key is None and host.key is not None:
            key, _ = self.sheet.secret(f"os.environ/{host.key}")
        return key

    def _options(self, organization: Any) -> dict[str, Any]:
        options = {
            ours: self.params[theirs]
            for theirs, ours in OPTIONS.items()
            if self.params.get(theirs) is not None
        }
        if "api_version" in options:  # YAML reads 2024-10-21 as a date
            options["api_version"] = str(options["api_version"])
        if organization is not None:
            options["organization"] = str(organization)
        if self.info.get("base_model"):
            options["base_model"] = str(self.info["base_model"]).rpartition("/")[2]
        drop = self.params.get("drop_params")
        if drop is False or (drop is None and self.habits.refuse_unknown):
            options["unsupported"] = "refuse"
        return options

    def _params(self) -> dict[str, Any]:
        """Parameters that calls get from here, unless they give their own."""
        known = {k: v for k, v in self.params.items() if k in DEFAULTS}
        return {k: v for k, v in known.items() if v is not None and k not in PARAMS}

    def _silent(self) -> str | None:
        name = self.params.get("silent_model")
        return None if name is None else str(name)


def _near(word: str, known: Any) -> str:
    near = difflib.get_close_matches(word, list(known), n=1)
    return f"did you mean {near[0]!r}?" if near else "it has no meaning here"
