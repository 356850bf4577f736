"""The prompt cache of a mock provider: which beginnings of prompts it has seen."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable

_BLOCK = 128  # tokens; cached amounts are multiples of it
_LEAST = 1024  # tokens; shorter prompts are never cached
_LIFE = 300.0  # seconds since the last use
_ENTRIES = 4096


class PromptCache:
    """Remembers whole messages from the first on, for five minutes, at most 4,096."""

    def __init__(self) -> None:
        self._seen: OrderedDict[int, float] = OrderedDict()

    def use(self, texts: Iterable[str], now: float) -> tuple[int, int]:
        """(tokens found, tokens of the whole prompt now kept), in blocks of 128."""
        key, size, found = 0, 0, 0
        for text in texts:
            key = hash((key, text))
            size += len(text.encode())
            seen = self._seen.get(key)
            if seen is not None and now - seen <= _LIFE:
                found = size
            self._seen[key] = now
            self._seen.move_to_end(key)
        while len(self._seen) > _ENTRIES:
            self._seen.popitem(last=False)
        return _blocks(found), _blocks(size)


def _blocks(size: int) -> int:
    tokens = size // 4 // _BLOCK * _BLOCK
    return tokens if tokens >= _LEAST else 0
