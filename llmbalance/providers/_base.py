"""What a provider's dialect is: one small class between OpenAI's shape and the wire.

    dialect = Anthropic(model="claude-sonnet-4-5", api_key="...")
    request = dialect.chat(Call(messages=[...], params={"max_tokens": 100}))
    ... the engine sends request.target, request.headers, request.body ...
    reply = dialect.chat_reply(200, headers, body)

A dialect holds no connection and does no I/O: requests and answers are values. To add
a provider, subclass ``Dialect`` (or ``OpenAICompatible``, which needs little more than
a base URL) and pass the class to ``Backend(dialect=...)``.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from io import StringIO
from typing import Any, ClassVar, Self
from urllib.parse import urlsplit

from .._errors import (
    ConfigError,
    InvalidRequestError,
    ProtocolError,
    ProviderError,
)
from .._types import (
    Call,
    ChatChunk,
    ChatReply,
    ChunkChoice,
    Delta,
    EmbeddingReply,
    Failure,
    LimitReading,
    Request,
    Usage,
)
from ._bodies import token_count
from ._classify import classify
from ._failures import exception_of
from ._limits import limits_in_text, tightest

ApiKey = str | Callable[[], str] | None

# How a feature is served: by the provider itself, by translation into something
# else, or not at all (the call is refused or the parameter left out).
NATIVE, TRANSLATED, REFUSED = "native", "translated", "refused"


class KeyPending(Exception):
    """A key function has no key yet: ask again in so many ``seconds``."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"a key is on its way; ask again in {seconds:g} s")
        self.seconds = seconds


class Dialect:
    """One provider's way of speaking, bound to one model, address and key.

    ``base_url`` None takes the provider's own address. ``api_key`` may be a function
    that returns the key of the moment (tokens that expire); then each request carries
    it. One that has to fetch its key first raises KeyPending meanwhile, and the call
    waits; an AuthenticationError sends the call elsewhere. ``options`` are the
    provider's settings (api_version, project, region, ...); common to all are
    ``headers`` (a mapping of further header fields) and ``unsupported``: "drop" leaves
    parameters that the target does not know out and says so in ``Request.warnings``,
    "refuse" raises InvalidRequestError.
    """

    name: ClassVar[str] = ""
    key_env: ClassVar[tuple[str, ...]] = ()  # environment variables, first found wins
    base_env: ClassVar[tuple[str, ...]] = ()
    default_base_url: ClassVar[str] = ""
    needs_key: ClassVar[bool] = True
    supports: ClassVar[Mapping[str, str]] = {}  # feature -> native, translated, refused

    def __new__(cls, **settings: Any) -> Self:
        """Make the class that fits model and options: see ``variant``."""
        chosen = cls.variant(
            str(settings.get("model", "")), settings.get("options") or {}
        )
        made: Any = super().__new__(chosen)
        if not issubclass(chosen, cls):  # then Python does not call __init__ itself
            made.__init__(**settings)
        result: Self = made
        return result

    @classmethod
    def variant(cls, model: str, options: Mapping[str, Any]) -> type[Dialect]:
        """The class that really speaks: some providers speak two dialects."""
        return cls

    def __init__(
        self,
        *,
        model: str,
        base_url: str | None = None,
        api_key: ApiKey = None,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        self.model = model
        self.api_key = api_key
        self._given_key = ""  # by a function, last
        self.options: Mapping[str, Any] = dict(options or {})
        unsupported = self.options.get("unsupported", "drop")
        if unsupported not in ("drop", "refuse"):
            raise ConfigError("unsupported", unsupported, 'use "drop" or "refuse"')
        self._refuse = unsupported == "refuse"
        self._set_base(base_url or self.base_url())

    def base_url(self) -> str:
        """The address used when none is given: from the environment, as SDKs do."""
        for name in self.base_env:
            if os.environ.get(name):
                return os.environ[name]
        return self.default_base_url

    def _set_base(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigError(
                "base_url", url, f"give the address of {self.name}, https://host/path"
            )
        if parts.username or parts.password:
            raise ConfigError(
                "base_url",
                f"{parts.scheme}://...@{parts.hostname}",
                "give credentials as api_key, not in the address",
            )
        self.origin_url = f"{parts.scheme}://{parts.netloc}"
        self.path = parts.path.rstrip("/")
        self.query = parts.query

    def __repr__(self) -> str:
        return f"{type(self).__name__}(model={self.model!r}, {self.origin_url})"

    # -- requests ------------------------------------------------------------

    def auth(self, key: str) -> list[str]:
        """Header lines that carry ``key``."""
        return [f"Authorization: Bearer {key}"]

    def headers(self) -> list[str]:
        """Header lines common to all requests of a connection pool, with the key."""
        lines = ["Content-Type: application/json"]
        if isinstance(self.api_key, str) and self.api_key:
            lines += self.auth(self.api_key)
        extra: Mapping[str, str] = self.options.get("headers") or {}
        return lines + [f"{name}: {value}" for name, value in extra.items()]

    def sigv4(self) -> tuple[str, str] | None:
        """What the transport signs requests with, AWS only: (service, credentials).

        In libcurl's form: ("aws:amz:region:service", "key:secret[:session token]").
        """
        return None

    def request_headers(self) -> list[str]:
        """Header lines to add to every request: the key, when a function supplies it.

        Whoever sends a Request adds them: a key that expires is asked for at the last
        moment, and once per attempt.
        """
        if not callable(self.api_key):
            return []
        self._given_key = self.api_key()
        return self.auth(self._given_key)

    def secrets(self) -> tuple[str, ...]:
        """What no message may repeat: the key, of a function the last one."""
        known = self.api_key if isinstance(self.api_key, str) else self._given_key
        return (known,) if known else ()

    def chat(self, call: Call) -> Request:
        """Write a chat call; InvalidRequestError where it cannot be expressed."""
        raise NotImplementedError

    def embed(self, call: Call) -> Request:
        """Write an embedding call."""
        raise InvalidRequestError(
            "model", self.model, f"{self.name} offers no embeddings; use another"
        )

    def embed_limits(self) -> tuple[int, int]:
        """The most inputs of one embedding request, and the most tokens of them all.

        OpenAI's, unless the provider has its own.
        """
        return 2048, 300_000

    def count_tokens(self, call: Call) -> Request | None:
        """A request that counts a prompt's tokens for nothing, or None."""
        return None

    def counted_tokens(self, body: bytes) -> int:
        """Read the answer to ``count_tokens``; ProtocolError when it is none."""
        return token_count(body)

    def health(self) -> Request | None:
        """A request that costs nothing and answers 2xx when all is well, or None."""
        return None

    def leave_out(self, name: str, why: str, warnings: list[str]) -> None:
        """Note that parameter ``name`` is not sent, or refuse it, by the setting."""
        if self._refuse:
            raise InvalidRequestError(
                name,
                "(given)",
                f'{why}; leave it out or set unsupported="drop"',
            )
        warnings.append(f"{name} left out: {why}")

    # -- answers -------------------------------------------------------------

    def chat_reply(
        self, status: int, headers: Mapping[str, str], body: bytes
    ) -> ChatReply:
        """Read a complete chat answer.

        Raises ProtocolError for a body that is no answer, and the ProviderError that
        fits for an error inside a 200.
        """
        raise NotImplementedError

    def embed_reply(
        self, status: int, headers: Mapping[str, str], body: bytes
    ) -> EmbeddingReply:
        """Read a complete embedding answer; raises as ``chat_reply`` does."""
        raise NotImplementedError

    def stream(self) -> StreamReader:
        """A reader for one streamed chat answer."""
        raise NotImplementedError

    def failure(
        self,
        status: int,
        headers: Mapping[str, str],
        body: bytes | str | dict[str, Any],
        now_wall: float | None = None,
    ) -> Failure:
        """Understand an error answer; ``now_wall`` (epoch s) defaults to its Date."""
        if now_wall is None:
            now_wall = wall_time(headers)
        hidden = self.secrets()
        failure = classify(status, headers, body, now_wall=now_wall, secrets=hidden)
        failure.limits = self.limits(headers, now_wall)
        if failure.kind == "rate_limit" and (named := limits_in_text(failure.message)):
            failure.limits = tightest([*failure.limits, *named])
        return failure

    def limits(self, headers: Mapping[str, str], now_wall: float) -> list[LimitReading]:
        """What the headers of an answer say of rate limits; [] when nothing."""
        return []

    def error_inside(
        self, headers: Mapping[str, str], body: bytes | dict[str, Any]
    ) -> ProviderError:
        """The exception for an error that came with status 200."""
        error = exception_of(self.failure(200, headers, body))
        assert isinstance(error, ProviderError)
        return error


class StreamReader:
    """Turns the events of one streamed answer into chunks.

    ``feed`` returns the chunks an event gives: each carries content (text, a piece of
    a tool call, reasoning, a refusal), so the first one returned is the first token.
    ``end`` is called once at the end of the stream and returns the last chunk, with
    finish reasons and usage. Errors inside the stream are raised by ``feed``.
    """

    def __init__(self, dialect: Dialect) -> None:
        self.dialect = dialect
        self.id = ""
        self.model = ""
        self.created = 0  # epoch seconds
        self.usage: Usage | None = None
        self.service_tier: str | None = None
        self.system_fingerprint: str | None = None
        self.warnings: list[str] = []
        self.reasons: dict[int, str] = {}  # finish reason by choice
        self.refused = False  # the model wrote a refusal in place of an answer
        self.done = False  # the provider said that nothing more will come
        self._text = StringIO()
        self._started = False

    @property
    def text(self) -> str:
        """The text of the first choice so far."""
        return self._text.getvalue()

    @property
    def finished(self) -> bool:
        """Whether a finish signal was seen: without one the stream was cut."""
        return bool(self.reasons)

    def feed(self, event: str, data: bytes) -> list[ChatChunk]:
        """Read one event (its name, its data); returns the chunks it gives."""
        raise NotImplementedError

    def end(self) -> ChatChunk:
        """Return the last chunk; ProtocolError when no finish signal was seen."""
        if not self.finished:
            raise ProtocolError("the stream ended before the answer was finished")
        return ChatChunk(
            choices=[
                ChunkChoice(Delta(), index, reason)
                for index, reason in sorted(self.reasons.items())
            ],
            id=self.id,
            created=self.created,
            model=self.model,
            usage=self.usage,
            service_tier=self.service_tier,
            system_fingerprint=self.system_fingerprint,
            warnings=self.warnings,
        )

    def chunk(self, choices: list[ChunkChoice]) -> list[ChatChunk]:
        """Wrap choices that carry content; keeps the text of the first choice."""
        for choice in choices:
            if choice.index == 0 and choice.delta.content:
                self._text.write(choice.delta.content)
            if choice.delta.refusal:
                self.refused = True
        if not self._started:
            self._started = True
            for choice in choices:
                choice.delta.role = "assistant"
        return [
            ChatChunk(
                choices=choices,
                id=self.id,
                created=self.created,
                model=self.model,
                system_fingerprint=self.system_fingerprint,
            )
        ]

    def add(self, delta: Delta, index: int = 0) -> list[ChatChunk]:
        """Wrap one delta of choice ``index``."""
        return self.chunk([ChunkChoice(delta, index)])


def wall_time(headers: Mapping[str, str]) -> float:
    """The provider's own clock (epoch seconds), else this machine's."""
    date = headers.get("date")
    if date:
        try:
            from email.utils import parsedate_to_datetime  # 3 ms, rarely needed

            return parsedate_to_datetime(date).timestamp()
        except ValueError:
            pass
    return time.time()
