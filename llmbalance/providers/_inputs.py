"""What is to be embedded: texts, or the numbers of their tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .._errors import InvalidRequestError

if TYPE_CHECKING:
    from ._base import Dialect


def inputs_of(dialect: Dialect, given: Any) -> list[Any]:
    """The inputs of an embedding call, each a text or a list of token numbers.

    InvalidRequestError when they are none, too many for one request, mixed, or token
    numbers where the provider takes texts only.
    """
    alone = isinstance(given, str) or (given and _is_number(given[0]))
    inputs = [given] if alone else list(given)
    most, _ = dialect.embed_limits()
    if not inputs or len(inputs) > most:
        raise InvalidRequestError(
            "input", f"({len(inputs)} texts)", f"give 1 to {most} texts"
        )
    texts = sum(isinstance(one, str) for one in inputs)
    if texts == len(inputs):
        return inputs
    if texts:
        raise InvalidRequestError("input", "(mixed)", "give texts or tokens, not both")
    if dialect.supports.get("embed_tokens", "refused") == "refused":
        raise InvalidRequestError(
            "input", "(token numbers)", f"{dialect.name} embeds texts only"
        )
    if not all(map(_is_tokens, inputs)):
        raise InvalidRequestError(
            "input", "(token numbers)", "give lists of whole numbers, none empty"
        )
    return inputs


def _is_tokens(value: object) -> bool:
    return (
        isinstance(value, list | tuple) and bool(value) and all(map(_is_number, value))
    )


def _is_number(value: object) -> bool:
    return type(value) is int
