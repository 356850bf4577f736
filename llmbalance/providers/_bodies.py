"""Writing request bodies, and reading those of answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import msgspec

from .._errors import InvalidRequestError, ProtocolError
from .._types import Call, Request, StreamMode

T = TypeVar("T")
_encode = msgspec.json.Encoder().encode


def encode(body: Any) -> bytes:
    """Write a body as JSON; InvalidRequestError for what JSON cannot say."""
    try:
        return _encode(body)
    except (TypeError, ValueError, OverflowError) as error:
        raise InvalidRequestError(
            "request", "(see there)", f"give what JSON can say: {error}"
        ) from None


def unreadable(body: bytes, error: Exception) -> ProtocolError:
    """The exception for a body that is not the JSON it should be."""
    text = str(error)
    at = text.rfind("(byte ")
    offset = len(body)
    if at >= 0 and text[at + 6 : -1].isdigit():
        offset = int(text[at + 6 : -1])
    what = "empty" if not body else "not the expected JSON"
    return ProtocolError(
        f"the answer is {what} ({len(body)} bytes, read up to {offset})", offset=offset
    )


# Fields that hold the arguments of a call, in which null is a value like any other.
_ARGUMENTS = frozenset(("args", "arguments", "input"))


def decoder(kind: type[T]) -> Callable[[bytes], T]:
    """A function that decodes a body as ``kind``; ProtocolError when it is none.

    A field that is null is read as one that is not there, whatever its type.
    """
    decode = msgspec.json.Decoder(kind).decode
    lenient = msgspec.json.Decoder(kind, strict=False).decode

    def read(body: bytes) -> T:
        try:
            return decode(body)
        except msgspec.ValidationError:
            pass  # rare, so the second look may be slow
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise unreadable(body, error) from None
        try:
            return lenient(encode(_without_nulls(msgspec.json.decode(body))))
        except msgspec.ValidationError as error:
            raise ProtocolError(
                f"the answer has an unexpected shape: {error}", offset=len(body)
            ) from None
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise unreadable(body, error) from None

    return read


def _without_nulls(value: Any) -> Any:
    """A decoded answer without the fields and items that are null."""
    if isinstance(value, list):
        return [_without_nulls(item) for item in value if item is not None]
    if not isinstance(value, dict):
        return value
    return {
        name: inner if name in _ARGUMENTS else _without_nulls(inner)
        for name, inner in value.items()
        if inner is not None
    }


def posted(
    call: Call,
    target: str,
    body: dict[str, Any],
    warnings: list[str],
    mode: StreamMode,
    marks: tuple[bytes, ...],
) -> Request:
    """The request of a chat call; ``mode`` and ``marks`` are those of its stream."""
    request = Request(target=target, body=encode(body), warnings=warnings)
    if call.stream:
        request.stream, request.marks = mode, marks
    return request


def token_count(body: bytes) -> int:
    """The number in an answer of a counting endpoint; ProtocolError without one."""
    told = decode_object(body)
    for name in ("input_tokens", "totalTokens", "inputTokens"):
        if isinstance(told.get(name), int):
            return int(told[name])
    raise ProtocolError("the answer has no number of tokens", offset=len(body))


def merge(body: dict[str, Any], extra: Any) -> None:
    """Put ``extra_body`` into a body; objects that both have are joined, once deep."""
    if not isinstance(extra, Mapping):
        raise InvalidRequestError("extra_body", extra, "give a mapping")
    for name, value in extra.items():
        mine = body.get(name)
        if isinstance(mine, dict) and isinstance(value, Mapping):
            body[name] = {**mine, **value}
        else:
            body[name] = value


def json_text(raw: msgspec.Raw) -> str:
    """Return a piece of an answer that was kept as JSON; ProtocolError if garbled."""
    body = bytes(raw)
    try:
        return body.decode()
    except UnicodeDecodeError as error:
        raise unreadable(body, error) from None


def decode_object(body: bytes) -> dict[str, Any]:
    """Decode a JSON object without a fixed shape; ProtocolError when it is none."""
    try:
        value = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise unreadable(body, error) from None
    if not isinstance(value, dict):
        raise ProtocolError("the answer is not a JSON object", offset=0)
    return value
