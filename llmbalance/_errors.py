"""Every exception llmbalance raises, in one tree.

LLMBalanceError
├── ConfigError (ValueError)          a setting is wrong: nothing was started
├── InvalidRequestError (ValueError)  a call is wrong: nothing was sent
├── NoBackendError                    no backend may take the call now
│   ├── RateLimitedError              all are at their rate limits
│   ├── BudgetExceededError           a budget has no money left
│   ├── CostLimitError                none fits under ``max_cost``
│   └── UnknownModelError             no backend or group has that name
├── ProviderError                     a provider answered with an error
│   ├── BadRequestError               the request is at fault
│   │   ├── ContextLengthError        the prompt is too long for the model
│   │   └── ContentFilterError        the provider refuses the content
│   ├── AuthenticationError           the key is not accepted
│   ├── PermissionDeniedError         the key may not do this
│   ├── QuotaExceededError            the account's money or quota is used up
│   ├── ModelNotFoundError            the model is not there
│   ├── RateLimitError                too many requests or tokens just now
│   ├── OverloadedError               the provider has no capacity just now
│   ├── ServerError                   the provider failed
│   └── ProtocolError                 an answer that is none: cut, garbled
├── TransportError                    no answer came
│   ├── ConnectError                  name or connection could not be had
│   ├── TLSError                      the certificate or handshake failed
│   ├── ConnectionLostError           the connection broke
│   └── RequestTimeoutError (TimeoutError)  a phase took too long
├── StreamInterruptedError            a stream broke after text was delivered
└── LeaseError                        a lease was used against its rules

Each carries ``backend`` (name or None), ``attempts`` (what was tried, in order)
and ``retry_after`` (seconds or None). None carries a key or a prompt.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

# Names of what may be secret. Tokens of a model are counted, in the plural or "per
# token"; those that open doors are one, or say of what they are.
_SECRET = re.compile(
    r"key(?!word)|secret|passw|credential|authorization|bearer|proxy|^options$"
    r"|(auth|access|api|refresh|session|security)[_-]?token|(?<!per_)token(?!s|iz)"
)


class LLMBalanceError(Exception):
    """The root: catch it to catch everything llmbalance raises.

    ``backend`` is the name of the last backend involved, ``attempts`` what was tried
    in order, ``retry_after`` the seconds after which the same call may succeed.
    """

    def __init__(
        self,
        message: str = "",
        *,
        backend: str | None = None,
        attempts: Sequence[Any] = (),
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.backend = backend
        self.attempts = attempts
        self.retry_after = retry_after

    @property
    def message(self) -> str:
        """What went wrong, as one sentence."""
        return str(self.args[0]) if self.args else ""

    def __reduce__(self) -> tuple[Any, ...]:
        # The default would call the class with the message alone, which those with
        # further required arguments refuse: errors must survive process pools.
        return _revive, (type(self), self.args, self.__dict__)


def _revive(
    cls: type[LLMBalanceError], args: tuple[Any, ...], state: dict[str, Any]
) -> LLMBalanceError:
    error = cls.__new__(cls, *args)
    error.args = args
    error.__dict__.update(state)
    return error


class _FieldError(LLMBalanceError, ValueError):
    def __init__(
        self, field: str, value: object, remedy: str, *, backend: str | None = None
    ) -> None:
        secret = _is_secret(field) or _holds_secret(value)
        shown = "(hidden)" if secret else _short(value)
        super().__init__(f"{field} = {shown}: {remedy}", backend=backend)
        self.field = field
        self.value = None if secret else value
        self.remedy = remedy


def _is_secret(name: object) -> bool:
    return _SECRET.search(str(name).lower()) is not None


def _holds_secret(value: object, depth: int = 8) -> bool:
    """Whether something in a table, or in a list of such, has a secret's name."""
    if depth == 0:
        return True  # nobody looks deeper, so nobody shows it
    if isinstance(value, Mapping):
        names, inner = list(value), list(value.values())
    elif isinstance(value, list | tuple | set | frozenset):
        names, inner = [], list(value)
    else:
        return False
    return any(map(_is_secret, names)) or any(
        _holds_secret(v, depth - 1) for v in inner
    )


def _short(value: object) -> str:
    try:
        text = repr(value)
    except Exception:  # whole numbers of over 4,300 digits have none
        return f"({type(value).__name__})"
    return text if len(text) <= 80 else f"{text[:60]}... ({len(text)} characters)"


class ConfigError(_FieldError):
    """A setting is wrong: names the ``field``, the ``value`` and the ``remedy``."""


class InvalidRequestError(_FieldError):
    """A call is wrong and nothing was sent: names field, value and remedy."""


class NoBackendError(LLMBalanceError):
    """No backend may take the call: ``reasons`` says why, backend by backend."""

    def __init__(
        self,
        message: str = "no backend can take this call",
        *,
        reasons: Mapping[str, str] | None = None,
        backend: str | None = None,
        attempts: Sequence[Any] = (),
        retry_after: float | None = None,
    ) -> None:
        super().__init__(
            message, backend=backend, attempts=attempts, retry_after=retry_after
        )
        self.reasons: dict[str, str] = dict(reasons or {})


class RateLimitedError(NoBackendError):
    """All backends of the group are at their limits until ``retry_after``.

    That is None where it ends with a call in flight: nobody knows when.
    """


class BudgetExceededError(NoBackendError):
    """A budget has no money left; ``lifts_at`` is the epoch second it may have again.

    That is now while calls in flight hold money that they may not need; None: never.
    """

    def __init__(
        self,
        message: str = "the budget is used up",
        *,
        lifts_at: float | None = None,
        reasons: Mapping[str, str] | None = None,
        backend: str | None = None,
        attempts: Sequence[Any] = (),
        retry_after: float | None = None,
    ) -> None:
        super().__init__(
            message,
            reasons=reasons,
            backend=backend,
            attempts=attempts,
            retry_after=retry_after,
        )
        self.lifts_at = lifts_at


class CostLimitError(NoBackendError):
    """No backend can serve the call for at most ``max_cost``."""


class UnknownModelError(NoBackendError):
    """The model names neither a group nor a backend."""


class ProviderError(LLMBalanceError):
    """A provider answered with an error.

    ``status`` is the HTTP status (200 when the error came inside an answer), ``code``
    the provider's own code, ``request_id`` what its support asks for, ``kind`` the row
    of the table in ``llmbalance/providers/_failures.py`` that decided what to do.
    """

    default_kind = "server"

    def __init__(
        self,
        message: str = "the provider answered with an error",
        *,
        status: int = 0,
        code: str | None = None,
        request_id: str | None = None,
        kind: str | None = None,
        backend: str | None = None,
        attempts: Sequence[Any] = (),
        retry_after: float | None = None,
    ) -> None:
        super().__init__(
            message, backend=backend, attempts=attempts, retry_after=retry_after
        )
        self.status = status
        self.code = code
        self.request_id = request_id
        self.kind = kind or self.default_kind


class BadRequestError(ProviderError):
    """The request itself is at fault; no other backend would take it either."""

    default_kind = "bad_request"


class ContextLengthError(BadRequestError):
    """The prompt is too long for the model: a larger one may take it."""

    default_kind = "context_length"


class ContentFilterError(BadRequestError):
    """The provider refuses to process the content."""

    default_kind = "content_filter"


class AuthenticationError(ProviderError):
    """The key is missing, wrong or expired."""

    default_kind = "auth"


class PermissionDeniedError(ProviderError):
    """The key is valid but may not use this model, feature or region."""

    default_kind = "permission"


class QuotaExceededError(ProviderError):
    """The account has used up its money or quota: waiting a little does not help."""

    default_kind = "quota"


class ModelNotFoundError(ProviderError):
    """The model or deployment does not exist for this account."""

    default_kind = "model_missing"


class RateLimitError(ProviderError):
    """Too many requests or tokens just now."""

    default_kind = "rate_limit"


class OverloadedError(ProviderError):
    """The provider has no capacity just now; it is not the account's limit."""

    default_kind = "overloaded"


class ServerError(ProviderError):
    """The provider failed."""

    default_kind = "server"


class ProtocolError(ProviderError):
    """An answer that is none: cut short or not the expected JSON.

    ``offset`` is the byte where reading stopped, when known.
    """

    default_kind = "protocol"

    def __init__(
        self,
        message: str = "the answer cannot be read",
        *,
        offset: int | None = None,
        **context: Any,
    ) -> None:
        super().__init__(message, **context)
        self.offset = offset


class TransportError(LLMBalanceError):
    """No answer came: the fault lies between here and the provider."""


class ConnectError(TransportError):
    """The host name or the connection could not be had: nothing was sent."""


class TLSError(TransportError):
    """The certificate or the handshake failed: nothing was sent."""


class ConnectionLostError(TransportError):
    """The connection broke before the answer was complete."""


class RequestTimeoutError(TransportError, TimeoutError):
    """A phase took too long: connect, first_byte, first_token, idle or total."""

    def __init__(
        self, message: str = "", *, phase: str = "total", **context: Any
    ) -> None:
        super().__init__(message or f"timeout in phase {phase!r}", **context)
        self.phase = phase


class StreamInterruptedError(LLMBalanceError):
    """A stream broke after text was delivered, so nothing was tried again.

    ``text`` is what was delivered, ``usage`` and ``cost`` (USD) what is billed for it
    (estimated when the provider could not say), ``__cause__`` the fault.
    """

    def __init__(
        self,
        message: str = "the stream broke after text was delivered",
        *,
        text: str = "",
        usage: Any = None,
        cost: float | None = None,
        **context: Any,
    ) -> None:
        super().__init__(message, **context)
        self.text = text
        self.usage = usage
        self.cost = cost


class LeaseError(LLMBalanceError):
    """A lease was settled twice, or used after it was settled."""
