"""The error taxonomy: what an error is, and what the router does about it.

Each kind of failure has one row in ``KINDS``, which is the whole policy; how an answer
is read into a kind stands in ``_classify.py``.

    error    the exception the caller gets when nothing else helped
    action   never       back to the caller: any backend would refuse it
             other       another backend now
             same_later  this backend again after the wait, another one meanwhile
             larger      another model with a larger context
             able        another model or server that has the ability
    outcome  what the circuit breaker is told (the word of the pool's C core)
    scope    what is out of order: the call, the model on that backend, or the account
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from .._errors import (
    AuthenticationError,
    BadRequestError,
    ConnectError,
    ConnectionLostError,
    ContentFilterError,
    ContextLengthError,
    LLMBalanceError,
    ModelNotFoundError,
    OverloadedError,
    PermissionDeniedError,
    ProtocolError,
    ProviderError,
    QuotaExceededError,
    RateLimitError,
    RequestTimeoutError,
    ServerError,
    StreamInterruptedError,
    TLSError,
    TransportError,
)
from .._types import Failure


class Kind(NamedTuple):
    """One row: exception, action, breaker outcome, scope."""

    error: type[LLMBalanceError]
    action: str
    outcome: str
    scope: str = "call"


KINDS: Mapping[str, Kind] = {
    # the caller's request
    "bad_request": Kind(BadRequestError, "never", "rejected"),
    "unsupported": Kind(BadRequestError, "able", "rejected"),
    "context_length": Kind(ContextLengthError, "larger", "rejected"),
    "too_large": Kind(ContextLengthError, "larger", "rejected"),
    "content_filter": Kind(ContentFilterError, "never", "rejected"),
    # the account
    "auth": Kind(AuthenticationError, "other", "auth", "account"),
    "permission": Kind(PermissionDeniedError, "other", "auth", "model"),
    "region": Kind(PermissionDeniedError, "other", "auth", "account"),
    "quota": Kind(QuotaExceededError, "other", "quota", "account"),
    "model_missing": Kind(ModelNotFoundError, "other", "missing", "model"),
    # the moment
    "rate_limit": Kind(RateLimitError, "same_later", "rate_limited"),
    "tier_capacity": Kind(RateLimitError, "same_later", "rate_limited"),
    "overloaded": Kind(OverloadedError, "other", "failed", "model"),
    "server": Kind(ServerError, "other", "failed", "model"),
    "timeout": Kind(ServerError, "other", "timeout", "model"),
    "transient": Kind(ServerError, "same_later", "failed"),
    "incapable": Kind(BadRequestError, "able", "incapable", "model"),
    # an answer that is none; "malformed" is the model's doing, not the server's
    "protocol": Kind(ProtocolError, "other", "failed", "model"),
    "malformed": Kind(ServerError, "other", "rejected"),
    # no answer
    "connect": Kind(ConnectError, "other", "failed", "account"),
    "tls": Kind(TLSError, "other", "failed", "account"),
    "connection_lost": Kind(ConnectionLostError, "other", "failed", "model"),
    "request_timeout": Kind(RequestTimeoutError, "other", "timeout", "model"),
    "transport": Kind(TransportError, "other", "failed", "model"),
    "broken_stream": Kind(StreamInterruptedError, "never", "broken_stream"),
    "cancelled": Kind(TransportError, "never", "cancelled"),
}

# Error kinds of the transport engine -> row. A response too large for the caller's
# own limits is nobody's fault.
TRANSPORT_KINDS: Mapping[str, str] = {
    "cancelled": "cancelled",
    "dns": "connect",
    "connect": "connect",
    "proxy": "connect",
    "tls": "tls",
    "connect_timeout": "request_timeout",
    "first_byte_timeout": "request_timeout",
    "first_token_timeout": "request_timeout",
    "idle_timeout": "request_timeout",
    "total_timeout": "request_timeout",
    "reset": "connection_lost",
    "truncated": "connection_lost",
    "protocol": "protocol",
    "encoding": "protocol",
    "too_large": "bad_request",
    "engine": "transport",
}


def exception_of(failure: Failure, *, backend: str | None = None) -> LLMBalanceError:
    """The exception that tells the caller of ``failure``."""
    error = KINDS[failure.kind].error
    if not issubclass(error, ProviderError):
        return error(failure.message, backend=backend, retry_after=failure.retry_after)
    return error(
        failure.message,
        status=failure.status,
        code=failure.code,
        request_id=failure.request_id,
        kind=failure.kind,
        backend=backend,
        retry_after=failure.retry_after,
    )
