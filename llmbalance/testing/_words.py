"""Text of a known number of tokens, and JSON that fits a schema.

A mock token is four bytes of UTF-8: `count(text) = ceil(bytes / 4)`. Generated words
have three letters and a space, so that n words are n tokens, exactly.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

_WORDS = (
    "the sun can see far and low sea air bay sky oak ash elm ivy fig bee ant owl fox "
    "cat dog hen cow ram ewe cub elk eel cod bat jay new old red dim wet dry hot big "
    "shy sly wry odd raw icy sad fun joy art ink pen map way hut inn den row run sit "
    "fly try ask add use fix mix set get put let may own owe pay buy cut dig fit "
)
_LENGTH = 4096  # words; longer answers start over


def count(text: str) -> int:
    """Tokens of a text: ceil(UTF-8 bytes / 4)."""
    return (len(text.encode()) + 3) // 4


class Prose:
    """An endless deterministic text; the same seed writes the same words."""

    def __init__(self, seed: int) -> None:
        rng = random.Random(f"llmbalance-prose-{seed}")
        self._text = "".join(f"{w} " for w in rng.choices(_WORDS.split(), k=_LENGTH))

    def text(self, number: int, tokens: int) -> str:
        """The answer to request `number`: exactly `tokens` tokens long."""
        if tokens <= 0:
            return ""
        start = 4 * (number * 31 % _LENGTH)
        words = self._text[start : start + 4 * tokens]
        while len(words) < 4 * tokens:
            words += self._text[: 4 * tokens - len(words)]
        return words[0].upper() + words[1:-1] + "."


def pieces(text: str) -> Iterator[str]:
    """A text in pieces of one token each (never splitting a character)."""
    if text.isascii():
        for i in range(0, len(text), 4):
            yield text[i : i + 4]
        return
    piece, size = "", 0
    for char in text:
        piece += char
        size += len(char.encode())
        if size >= 4:
            yield piece
            piece, size = "", 0
    if piece:
        yield piece


def clip(text: str, tokens: int) -> str:
    """The beginning of a text, at most `tokens` tokens."""
    return text.encode()[: 4 * tokens].decode(errors="ignore")


def example(schema: Any, depth: int = 0) -> Any:
    """A small value that fits a JSON schema (local `$ref`s are left as null)."""
    if not isinstance(schema, dict) or depth > 16:
        return None
    for key in ("const", "default"):
        if key in schema:
            return schema[key]
    if schema.get("enum"):
        return schema["enum"][0]
    for key in ("anyOf", "oneOf", "allOf"):
        if schema.get(key):
            return example(schema[key][0], depth + 1)
    kind = schema.get("type", "object" if "properties" in schema else None)
    if isinstance(kind, list):
        kind = kind[0] if kind else None
    return _of_type(str(kind).lower(), schema, depth)


def _of_type(kind: str, schema: dict[str, Any], depth: int) -> Any:
    if kind == "object":
        properties = schema.get("properties") or {}
        return {name: example(sub, depth + 1) for name, sub in properties.items()}
    if kind == "array":
        least = max(1, int(schema.get("minItems", 1)))
        return [example(schema.get("items"), depth + 1)] * min(least, 64)
    if kind in ("integer", "number"):
        if "exclusiveMinimum" in schema:
            return schema["exclusiveMinimum"] + 1
        return schema.get("minimum", min(7, schema.get("maximum", 7)))
    if kind == "boolean":
        return True
    if kind == "string":
        return "sun".ljust(int(schema.get("minLength", 0)), "n")
    return None
