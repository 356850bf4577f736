"""One backend, ready to be called: its dialect, its connections, its number."""

from __future__ import annotations

import os
from typing import Any

from .._checks import one_of
from .._config import Backend
from .._core import Origin, PriceRow
from .._errors import ConfigError
from ..providers import PROVIDERS, dialect
from ..providers._base import Dialect
from ._environment import environment_settings
from ._parameters import DEFAULTS
from ._shape import Shaping, read_steps


class Target:
    """One backend, ready to be called."""

    __slots__ = (
        "backend",
        "dialect",
        "index",
        "name",
        "origin",
        "own_steps",
        "rows",
        "steps",
        "timeouts",
    )

    def __init__(
        self,
        backend: Backend,
        index: int,
        steps: tuple[Shaping, ...] = (),
        base: Target | None = None,
    ) -> None:
        """``base`` is the one it was made from: they share their connections."""
        self.backend = backend
        self.index = index
        self.name = backend.label
        self.dialect = make_dialect(backend)
        self.timeouts = backend.timeouts
        self.own_steps = read_steps(backend.postprocess)
        self.steps = self.own_steps + steps
        # Price rows of other service tiers and regions.
        self.rows: dict[tuple[str | None, str | None], PriceRow] = {}
        self.origin: Origin
        if base is not None and _wire(self.dialect) == _wire(base.dialect):
            self.origin = base.origin
        else:
            self.origin = _origin(self.dialect, backend)

    def __repr__(self) -> str:
        return f"Target({self.name!r}, {self.origin!r})"


def make_dialect(backend: Backend) -> Dialect:
    """Bind a backend's dialect to its model, address and key."""
    for name in backend.params:
        one_of("params", name, DEFAULTS)
    if backend.dialect is not None:
        if not (
            isinstance(backend.dialect, type) and issubclass(backend.dialect, Dialect)
        ):
            raise ConfigError("dialect", backend.dialect, "give a subclass of Dialect")
        cls = backend.dialect
    else:
        one_of("provider", backend.provider, PROVIDERS)
        cls = dialect(backend.provider)
    return cls(
        model=backend.model.partition("/")[2],
        base_url=backend.base_url,
        api_key=backend.key(cls.key_env, cls.needs_key),
        options=backend.options,
    )


def _wire(dialect: Dialect) -> tuple[Any, ...]:
    """What connections are made with, as far as a model may change it."""
    return dialect.origin_url, dialect.headers(), dialect.sigv4()


def _origin(dialect: Dialect, backend: Backend) -> Origin:
    """The pooled connections to a backend; its settings win over the environment."""
    settings: dict[str, Any] = dict(
        environment_settings(dialect.origin_url, os.environ)
    )
    if backend.proxy is not None:
        settings["proxy"] = backend.proxy
    signing = dialect.sigv4()
    if signing is not None:
        settings["sigv4"], settings["sigv4_key"] = signing
    try:
        return Origin(
            dialect.origin_url,
            headers=dialect.headers(),
            http_version=backend.http_version,
            verify=backend.verify,
            unix_socket=backend.unix_socket,
            **settings,
        )
    except ValueError as error:
        raise ConfigError("backend", backend.label, str(error)) from None
