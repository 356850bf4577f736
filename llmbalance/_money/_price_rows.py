"""What a price table says of one model, decoded when somebody asks for it.

The project's own table is long and a router needs few of its lines, so that each stays
the JSON it was until then.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec
from msgspec import Struct, structs

from .._price import Price


class ModelInfo(Struct, frozen=True, kw_only=True):
    """What is known of one model of one provider.

    ``context`` is the longest prompt, ``max_output`` the longest answer in tokens, None
    = unknown; ``tokenizer`` names a family of the token estimator; ``as_of`` is the
    date of the figures. A model "*" stands for all others of its provider.
    """

    provider: str
    model: str
    price: Price
    kind: Literal["chat", "embedding", "other"] = "chat"
    context: int | None = None
    max_output: int | None = None
    tools: bool = False
    vision: bool = False
    json: bool = False
    tokenizer: str = ""
    source: str = ""
    as_of: str = ""


class Row:
    """A line of the table, decoded when it is asked for."""

    __slots__ = ("_info", "_raw")

    def __init__(self, raw: _RawModel | None, info: ModelInfo | None = None) -> None:
        self._raw = raw
        self._info = info

    @classmethod
    def of(cls, info: ModelInfo) -> Row:
        return cls(None, info)

    def info(self) -> ModelInfo:
        if self._info is None:
            assert self._raw is not None
            self._info = self._raw.info()
        return self._info

    def sold_by(self, provider: str) -> Row:
        return Row.of(structs.replace(self.info(), provider=provider))

    def placed(self, region: str) -> Row:
        info = self.info()
        factor = info.price.regions.get(region)
        price = structs.replace(
            info.price, regions={} if factor is None else {"*": factor}
        )
        return Row.of(structs.replace(info, price=price))


class _RawModel(Struct):
    model: str
    price: msgspec.Raw
    also: tuple[str, ...] = ()
    kind: Literal["chat", "embedding", "other"] = "chat"
    context: int | None = None
    max_output: int | None = None
    can: str = ""
    tokenizer: str = ""
    group: Any = None

    def info(self) -> ModelInfo:
        return ModelInfo(
            provider=self.group.provider,
            model=self.model,
            price=msgspec.json.decode(self.price, type=Price),
            kind=self.kind,
            context=self.context,
            max_output=self.max_output,
            tools="tools" in self.can,
            vision="vision" in self.can,
            json="json" in self.can,
            tokenizer=self.tokenizer or self.group.tokenizer,
            source=self.group.source,
            as_of=self.group.as_of,
        )


class _Group(Struct):
    provider: str
    source: str
    as_of: str
    models: list[_RawModel]
    tokenizer: str = ""


def builtin_rows(data: bytes) -> dict[tuple[str, str], Row]:
    """Return the rows of a table in this project's own format by provider and name."""
    rows = {}
    for group in msgspec.json.decode(data, type=list[_Group]):
        for raw in group.models:
            raw.group = group
            row = Row(raw)
            for name in (raw.model, *raw.also):
                rows[(group.provider, name)] = row
    return rows
