"""The price table: what is known of every model, and what a call of it cost.

``PriceTable()`` starts with the project's own table (``prices.json``: current chat and
embedding models, each group with source and date), read at the first question. Other
tables are laid over it, the last one wins:

    prices.json  <-  overlay("litellm.json")  <-  set("openai/gpt-4o", Price(2, 8))

A name that is not there is tried without its date, its version, its region prefix, and
in the vendor's own list when the provider passes prices on (Azure, Vertex, Bedrock,
OpenRouter). What is then still not there has no price: unknown, never free.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from msgspec import Struct, structs

from .._core import PriceRow
from .._errors import ConfigError
from .._price import Deal as Deal
from .._price import Price as Price
from .._price import standard_tier
from .._types import Usage
from ._cost import Cost as Cost
from ._cost import Line as Line
from ._cost import as_usage, kinds_of
from ._price_rows import ModelInfo, Row, builtin_rows

# Whose list prices hold when a provider's own list lacks the model.
_RESELLERS = {
    "azure": ("openai",),
    "vertex": ("google", "anthropic", "mistral"),
    "bedrock": ("anthropic",),
    "openrouter": ("openai", "anthropic", "google", "mistral", "deepseek", "xai"),
}
_PROVIDER_NAMES = {
    "gemini": "google",
    "vertex_ai": "vertex",
    "together_ai": "together",
    "mistralai": "mistral",
    "x-ai": "xai",
    "hosted_vllm": "vllm",
}
_FIRST = ("openai", "anthropic", "google", "mistral", "deepseek", "xai", "groq")
_BEDROCK_REGION = re.compile(r"^(us-gov|us|eu|apac|au|jp|global)\.(?=[a-z0-9]+\.)")
_BEDROCK_VENDOR = re.compile(r"^(anthropic|amazon|meta|mistral|cohere|openai)\.")
_SUFFIX = re.compile(
    r"(-v\d+:\d+|(?<=\d)-v\d|:\d+|[-@]\d{4}-?\d\d-?\d\d|-\d\d-\d{2,4}|-latest|@default)$"
)


class Report(Struct, frozen=True):
    """What an overlay did: names as "provider/model".

    ``rejected`` maps the names that were refused to the reason.
    """

    added: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    rejected: dict[str, str] = {}


class PriceTable:
    """Prices and facts by provider and model; starts with the project's own table.

    ``revision`` grows with every change, so that whoever holds a row can tell that it
    is out of date.
    """

    def __init__(self, *, builtin: bool = True) -> None:
        self.revision = 0
        self._pending = builtin
        self._rows: dict[tuple[str, str], Row] = {}

    @classmethod
    def load(cls, source: str | Path) -> PriceTable:
        """Return the built-in table with a file or http(s) address laid over it.

        Formats as in ``overlay``; OSError when it cannot be read.
        """
        table = cls()
        table.overlay(source)
        return table

    def overlay(self, source: str | Path | bytes) -> Report:
        """Lay another table over this one: its rows win.

        *source* is a path, an http(s) address or the JSON itself, in this project's
        format, LiteLLM's or that of genai-prices. Rows that cannot be true (dearer
        than 1,000 USD per million tokens) or cannot be read are left out and named.
        Raises ConfigError when the format is none of these.
        """
        from ._price_sources import read_table  # only some read other tables

        added, changed = [], []
        known = self._table()
        infos, rejected = read_table(source)
        for info in infos:
            row = Row.of(info)
            name = f"{info.provider}/{info.model}"
            old = known.get((info.provider, info.model))
            if old is None:
                added.append(name)
            elif old.info() != info:
                changed.append(name)
            known[(info.provider, info.model)] = row
        self.revision += 1
        return Report(tuple(added), tuple(changed), rejected)

    def set(self, model: str, price: Price) -> None:
        """Set the price of "provider/model" from now on; other facts stay."""
        provider, name = _split(model)
        if not provider:
            raise ConfigError("model", model, 'name the provider: "openai/gpt-4o"')
        known = self.lookup(provider, name)
        facts = structs.asdict(known) if known is not None else {}
        facts.update(provider=provider, model=name, price=price, source="set", as_of="")
        self._table()[(provider, name)] = Row.of(ModelInfo(**facts))
        self.revision += 1

    def lookup(self, provider: str, model: str) -> ModelInfo | None:
        """Return what is known of a model of a provider, or None."""
        row = self._find(_PROVIDER_NAMES.get(provider, provider), model)
        return None if row is None else row.info()

    def find(self, model: str) -> ModelInfo | None:
        """Return what is known of "provider/model" or of a bare model name, or None.

        A bare name is looked for at the vendors first, then at everybody.
        """
        provider, name = _split(model)
        if provider:
            info = self.lookup(provider, name)
            if info is not None or provider in self._providers():
                return info
        for provider in dict.fromkeys((*_FIRST, *self._providers())):
            info = self.lookup(provider, model)
            if info is not None and not info.model.startswith("*"):
                return info
        return None

    def row(
        self,
        provider: str,
        model: str,
        *,
        service_tier: str | None = None,
        region: str | None = None,
        at: float | None = None,
    ) -> PriceRow | None:
        """Return the row of integer rates for a backend, or None when unknown.

        *at* is epoch seconds; without it no promotion or off-peak price applies.
        """
        info = self.lookup(provider, model)
        if info is None:
            return None
        return info.price.row(service_tier=service_tier, region=region, at=at)

    def cost(
        self,
        model: str,
        usage: Usage | Mapping[str, Any] | object,
        *,
        service_tier: str | None = None,
        region: str | None = None,
        at: float | None = None,
    ) -> Cost:
        """Return what a call of *model* ("provider/model" or bare) cost.

        *usage* is a Usage, or an object or dict in OpenAI's or Anthropic's shape. An
        amount that the provider states (``cost``) wins over the table; ``region`` None
        is the one that the usage names.
        """
        used = as_usage(usage)
        kinds = kinds_of(used)
        info = self.find(model)
        if used.cost_usd is not None:
            stated = PriceRow.parse(repr(float(used.cost_usd)), 9)
            return Cost(stated, stated=True)
        if info is None:
            return Cost(None, tuple(Line(k, n, None) for k, n in kinds.items() if n))
        where = region if region is not None else used.region
        row = info.price.row(service_tier=service_tier, region=where, at=at)
        tier = standard_tier(service_tier)
        return Cost(
            row.cost(**kinds),
            tuple(
                Line(*line)
                for line in row.lines(**kinds)
                if line[2] != 0 or line[0] != "requests"
            ),
            row.is_guess(**kinds)
            or (tier is not None and info.price.tier(tier, at) is None),
        )

    def __iter__(self) -> Iterator[ModelInfo]:
        """Every model once, in the order of the table."""
        rows = self._table().values()
        seen: dict[int, Row] = {id(row): row for row in rows}
        return iter([row.info() for row in seen.values()])

    def __len__(self) -> int:
        return len({id(row) for row in self._table().values()})

    def _table(self) -> dict[tuple[str, str], Row]:
        if self._pending:  # two threads may both read it; neither sees it half read
            path = Path(__file__).with_name("prices.json")
            self._rows = {**builtin_rows(path.read_bytes()), **self._rows}
            self._pending = False
        return self._rows

    def _providers(self) -> list[str]:
        return list(dict.fromkeys(provider for provider, _ in self._table()))

    def _find(self, provider: str, model: str) -> Row | None:
        row = self._listed(provider, model)
        if row is None or provider != "bedrock":
            return row
        # On Bedrock the model's name says where it runs, whatever the endpoint.
        prefix = _BEDROCK_REGION.match(model)
        return row.placed(prefix[1] if prefix else "")

    def _listed(self, provider: str, model: str) -> Row | None:
        table = self._table()
        for name in _spellings(model):
            row = table.get((provider, name))
            if row is not None:
                return row
        for vendor in _RESELLERS.get(provider, ()):
            for name in _spellings(model.rpartition("/")[2]):
                row = table.get((vendor, name))
                if row is not None:
                    return row.sold_by(provider)
        kind = "*" + model[model.rfind(":") :] if ":" in model else "*"  # "*:free"
        return table.get((provider, kind), table.get((provider, "*")))


def _split(model: str) -> tuple[str, str]:
    provider, slash, name = model.partition("/")
    return (_PROVIDER_NAMES.get(provider, provider), name) if slash else ("", model)


def _spellings(model: str) -> Iterator[str]:
    """The name as given, then with less and less of what does not change the price."""
    yield model
    if model.startswith("ft:"):  # ft:gpt-4o:acme::x1 costs what all tuned gpt-4o do
        yield ":".join(model.split(":")[:2])
    name = _BEDROCK_REGION.sub("", model)
    for cut in (name, _BEDROCK_VENDOR.sub("", name)):
        while True:
            yield cut
            if "claude" in cut and "." in cut:
                yield cut.replace(".", "-")
            shorter = _SUFFIX.sub("", cut)
            if shorter == cut:
                break
            cut = shorter
