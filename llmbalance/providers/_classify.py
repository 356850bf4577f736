"""Reading the errors of all providers into the rows of ``_failures.py``.

The body decides before the status: an exhausted account answers 429 like a busy one,
Gemini answers 400 to a wrong key, llama.cpp 500 to a missing feature. So the order is

    provider's codes, innermost first -> words of the message -> HTTP status

Content types are not believed: JSON comes as text/plain, and HTML as anything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from .._types import Failure
from ._limits import google_details, retry_after, wait_in_text

# Codes, types and statuses of providers, lower case -> row.
_CODES: Mapping[str, str] = {
    "context_length_exceeded": "context_length",
    "exceed_context_size_error": "context_length",
    "too_many_prompt_tokens": "context_length",
    "too_many_tokens": "context_length",
    "string_above_max_length": "context_length",
    "request_too_large": "too_large",
    "content_filter": "content_filter",
    "content_policy_violation": "content_filter",
    "responsibleaipolicyviolation": "content_filter",
    "invalid_api_key": "auth",
    "api_key_invalid": "auth",
    "authentication_error": "auth",
    "unauthenticated": "auth",
    "unauthorized": "auth",
    "account_deactivated": "auth",
    "unrecognizedclientexception": "auth",
    "expiredtokenexception": "auth",
    "invalidsignatureexception": "auth",
    "incompletesignatureexception": "auth",
    "missingauthenticationtokenexception": "auth",
    "permission_error": "permission",
    "permission_denied": "permission",
    "accessdeniedexception": "permission",
    "service_disabled": "permission",
    "forbidden": "permission",
    "unsupported_country_region_territory": "region",
    "insufficient_quota": "quota",
    "credit_balance_exhausted": "quota",
    "billing_error": "quota",
    "billing_hard_limit_reached": "quota",
    "billing_not_active": "quota",
    "enforced_spend_limit_reached": "quota",
    "insufficient_balance": "quota",
    "servicequotaexceededexception": "quota",
    "model_not_found": "model_missing",
    "not_found_error": "model_missing",
    "not_found": "model_missing",
    "deploymentnotfound": "model_missing",
    "invalid_model": "model_missing",
    "resourcenotfoundexception": "model_missing",
    "rate_limit_exceeded": "rate_limit",
    "rate_limit_error": "rate_limit",
    "ratelimitreached": "rate_limit",
    "too_many_requests": "rate_limit",
    "slow_down": "rate_limit",
    "throttlingexception": "rate_limit",
    "toomanyrequestsexception": "rate_limit",
    "capacity_exceeded": "tier_capacity",
    "server_is_overloaded": "overloaded",
    "service_unavailable_error": "overloaded",
    "overloaded_error": "overloaded",
    "unavailable": "overloaded",
    "serviceunavailableexception": "overloaded",
    "modelnotreadyexception": "overloaded",
    "insufficient_system_resource": "overloaded",
    "timeout_error": "timeout",
    "deadline_exceeded": "timeout",
    "modeltimeoutexception": "timeout",
    "modelerrorexception": "transient",
    "cancelled": "transient",
    "internalserverexception": "server",
    "modelstreamerrorexception": "server",
    "api_error": "server",
    "internal": "server",
    "not_supported_error": "incapable",
    "unsupported_parameter": "unsupported",
    "unsupported_value": "unsupported",
    "tool_use_failed": "malformed",
    # of the Responses API, whose errors come with status 200
    "bio_policy": "content_filter",
    "misalignment_policy_violation": "content_filter",
    "image_content_policy_violation": "content_filter",
    "data_residency_mismatch": "unsupported",
    "failed_to_download_image": "unsupported",
    "vector_store_timeout": "timeout",
    **dict.fromkeys(
        (
            *("invalid_prompt", "invalid_image", "invalid_image_format"),
            *("invalid_base64_image", "invalid_image_url", "invalid_image_mode"),
            *("image_too_large", "image_too_small", "image_file_too_large"),
            *("image_parse_error", "image_file_not_found", "empty_image_file"),
            "unsupported_image_media_type",
        ),
        "bad_request",
    ),
}


# Words of messages -> row, most telling first. Only what no code tells stands here.
_WORDS: tuple[tuple[str, tuple[str, ...]], ...] = (
    (
        "context_length",
        (
            "prompt is too long",
            "prompt too long",
            "maximum context length",
            "exceeds the maximum number of tokens",
            "available context size",
            "input is too long",
            "input tokens exceeded",
            "length of all messages is too long",
            "too many tokens: size limit",
            "maximum prompt length",
            "reduce the length of the messages",
        ),
    ),
    (
        "quota",
        (
            "credit balance is too low",
            "spend limit",
            "insufficient balance",
            "insufficient credits",
            "requires more credits",
            "used all available credits",
        ),
    ),
    ("auth", ("incorrect api key", "api key not valid", "invalid api key")),
    ("region", ("location is not supported", "country, region, or territory")),
    (
        "incapable",
        (
            "requires --jinja",
            "tools param requires",
            "image input is not supported",
            "does not support embeddings",
            "does not support audio input",
            "does not support image input",
            "cannot use both json_schema and grammar",
            "logprobs is not enabled",
            "increase the physical batch size",
        ),
    ),
    (
        "model_missing",
        (
            "model not found",
            "model identifier is invalid",
            "with on-demand throughput isn",
            "invalid model",
            "is not a valid model",
            "model does not exist",
            "end of its life",
        ),
    ),
    ("tier_capacity", ("resource unavailable",)),
    ("overloaded", ("resource exhausted. please try again later", "overloaded")),
)


_STATUS: Mapping[int, str] = {
    400: "bad_request",
    401: "auth",
    402: "quota",
    403: "permission",
    404: "model_missing",
    405: "bad_request",
    408: "transient",
    409: "transient",
    413: "too_large",
    422: "bad_request",
    424: "transient",
    425: "transient",
    429: "rate_limit",
    498: "tier_capacity",
    499: "transient",
    503: "overloaded",
    504: "timeout",
    522: "timeout",
    524: "timeout",
    529: "overloaded",
}


# A 4xx body whose words or codes name a mere request fault stays one, whatever
# else the same status may mean.
_REQUEST_FAULTS = frozenset(("invalid_request_error", "invalid_argument"))


_REQUEST_IDS = (
    "x-request-id",
    "request-id",
    "x-amzn-requestid",
    "apim-request-id",
    "x-generation-id",
    "mistral-correlation-id",
    "cf-ray",
)


class ErrorBody(NamedTuple):
    """The error of any provider in one shape."""

    message: str = ""
    code: str | None = None  # the provider's own, as sent
    words: tuple[str, ...] = ()  # code, type, status and the like, lower case
    details: Any = None
    request_id: str | None = None


def request_id(headers: Mapping[str, str]) -> str | None:
    """The provider's id of a request, from whichever header it uses."""
    for name in _REQUEST_IDS:
        value = headers.get(name)
        if value:
            return value
    return None


def read_error(body: bytes | str | dict[str, Any], hint: str = "") -> ErrorBody:
    """Read an error body of any of the known shapes; content types are not believed.

    ``hint`` is an error type from a header (Bedrock's ``x-amzn-errortype``).
    """
    value: Any = body
    if not isinstance(body, dict):
        raw = body.encode() if isinstance(body, str) else body
        if raw.lstrip()[:1] not in (b"{", b"["):
            return ErrorBody(_plain(raw), None, _lower(hint))
        try:
            value = msgspec.json.decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return ErrorBody(_plain(raw), None, _lower(hint))
    if isinstance(value, list):
        value = value[0] if value and isinstance(value[0], dict) else {}
    return _from_object(value, hint)


def _from_object(outer: dict[str, Any], hint: str) -> ErrorBody:
    error = outer.get("error")
    inner: dict[str, Any] = error if isinstance(error, dict) else outer
    message = inner.get("message") or outer.get("message") or outer.get("Message")
    if isinstance(error, str):
        message = error
    if message is None:
        message = outer.get("detail") or ""
    if isinstance(message, list | dict):
        message = msgspec.json.encode(message).decode()
    details = inner.get("details")
    found: list[Any] = [hint]
    # The inner the word stands, the more it tells: a spent budget is a
    # "rate_limit_error" to the type and says what it is in the details alone.
    if isinstance(details, dict):
        found.append(details.get("error_code"))
    elif isinstance(details, list):
        found += [d.get("reason") for d in details if isinstance(d, dict)]
    for nest in (inner.get("innererror"), inner.get("metadata")):
        if isinstance(nest, dict):
            found += [nest.get("code"), nest.get("error_type")]
    found += [inner.get("code"), inner.get("type"), inner.get("status")]
    found += [outer.get("error_type"), outer.get("code"), outer.get("__type")]
    code = inner.get("code", outer.get("code"))
    rid = outer.get("request_id")
    return ErrorBody(
        str(message),
        None if code is None else str(code),
        _lower(*found),
        details,
        rid if isinstance(rid, str) else None,
    )


def _lower(*values: Any) -> tuple[str, ...]:
    return tuple(str(v).lower() for v in values if v and not isinstance(v, dict | list))


def _plain(raw: bytes) -> str:
    text = raw[:400].decode("utf-8", "replace").strip()
    if text.startswith("<"):
        at = text.lower().find("<title>")
        title = text[at + 7 :].partition("<")[0].strip() if at >= 0 else ""
        return f"an HTML page instead of an answer ({title or 'untitled'})"
    return text


def kind_of(error: ErrorBody, status: int) -> str:
    """The row of the table: codes before words, words before status."""
    kind = _kind_by_code(error.words, status)
    if kind is None or kind in ("model_missing", "rate_limit", "server", "bad_request"):
        # These words are used for several things; the message may know better.
        lowered = error.message.lower()
        for candidate, phrases in _WORDS:
            if any(phrase in lowered for phrase in phrases):
                return candidate
        if kind is None and _names_missing_model(lowered) and status in (0, 400, 404):
            return "model_missing"
    if kind is None:
        kind = _STATUS.get(status)
    if kind is None:
        kind = "server" if status >= 500 or status < 400 else "bad_request"
    return kind


def _kind_by_code(words: tuple[str, ...], status: int) -> str | None:
    for word in words:
        kind = _CODES.get(word)
        # Some write "api_error" over everything: a 4xx is not the server's fault.
        if kind is not None and not (kind == "server" and 400 <= status < 500):
            return kind
    for word in words:
        if word in _REQUEST_FAULTS and status in (0, 200, 400, 422):
            return "bad_request"
    return None


def _names_missing_model(message: str) -> bool:
    if "model" not in message:
        return False
    return "does not exist" in message or "not found" in message


def classify(
    status: int,
    headers: Mapping[str, str],
    body: bytes | str | dict[str, Any],
    *,
    now_wall: float,
    secrets: Sequence[str] = (),
) -> Failure:
    """Understand an error answer, whichever provider sent it.

    ``status`` is 200 for an error inside an answer. ``secrets`` are struck out of
    the message, should the provider repeat them.
    """
    hint = headers.get("x-amzn-errortype", "").partition(":")[0]
    error = read_error(body, hint)
    kind = kind_of(error, status)
    wait = retry_after(headers, status if status >= 400 else 429, now_wall)
    if kind in ("rate_limit", "quota", "overloaded", "tier_capacity"):
        delay, scope, any_quota = google_details(error.details)
        if wait is None:
            wait = delay if delay is not None else wait_in_text(error.message)
        if (
            not any_quota
            or "limit: 0" in error.message
            or (scope == "day" and kind == "rate_limit")
        ):
            kind = "quota"
    return Failure(
        kind=kind,
        message=clean(error.message, secrets) or f"HTTP status {status}",
        status=status,
        code=error.code,
        request_id=error.request_id or request_id(headers),
        retry_after=wait,
    )


def clean(message: str, secrets: Sequence[str] = ()) -> str:
    """Shorten a provider's message and strike keys out of it."""
    for secret in secrets:
        if len(secret) >= 8 and secret in message:
            message = message.replace(secret, "[key]")
    words = message.split()
    for at, word in enumerate(words):
        bare = word.strip("\"'`().,:;")
        if bare.startswith(("sk-", "gsk_", "xai-", "AIza", "AKIA", "ya29.")):
            words[at] = word.replace(bare, "[key]")
    text = " ".join(words)
    return text if len(text) <= 500 else f"{text[:480]}..."
