"""Rules that tell what a call is for by how it looks.

    messages, options ──▶ Look: size, the last text ──▶ tests of a Rule, cheapest first

A rule is compiled into one function of a look once; what a look takes time for, such as
the text in small letters, it makes when the first test asks for it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from msgspec import Struct

from .._checks import one_of
from .._errors import ConfigError
from .._fields import check_fields
from ._patterns import must_contain

Messages = Sequence[Mapping[str, Any]]

_END = 500  # characters of either end of the last message that rules look at
# A line that begins like code; the leading newline lets the search jump to it.
_CODE_WORDS = ("def", "class", "import", "#include", "SELECT", "func", "fn")
_CODE = re.compile(rf"\n[ \t]*(?:{'|'.join(_CODE_WORDS)}) ")
_CODE_FIRST = re.compile(_CODE.pattern[2:])
_CODE_BEGINS = frozenset((" ", "\t", *(word[0] for word in _CODE_WORDS)))
_JSON_BEGINS = ("{", "[")
HAS = ("code", "json", "tools", "image")
# First and last code point of what is typical of a script.
SCRIPTS: Mapping[str, tuple[tuple[int, int], ...]] = {
    "latin": ((0x41, 0x5A), (0x61, 0x7A), (0xC0, 0x24F)),
    "cyrillic": ((0x400, 0x52F),),
    "greek": ((0x370, 0x3FF),),
    "arabic": ((0x600, 0x6FF),),
    "hebrew": ((0x590, 0x5FF),),
    "devanagari": ((0x900, 0x97F),),
    "thai": ((0xE00, 0xE7F),),
    "hangul": ((0x1100, 0x11FF), (0xAC00, 0xD7AF)),
    "kana": ((0x3040, 0x30FF),),
    "han": ((0x4E00, 0x9FFF), (0x3400, 0x4DBF)),
}


class Rule(Struct, frozen=True, kw_only=True):
    """Calls that all of this is true of belong to ``task``.

    ``longer``, ``shorter``: characters of the whole conversation, exclusive.
    ``keywords``: any of these words or phrases, whatever their case; ``pattern``: a
    regular expression; both in the last message, of a long one in the 500 characters
    of either end, where what is asked for stands.
    ``has``: code, json, tools, image; all of them. ``script``: the writing most
    letters belong to, one of SCRIPTS.
    """

    task: str
    longer: int | None = None
    shorter: int | None = None
    keywords: tuple[str, ...] | list[str] = ()
    pattern: str | None = None
    has: tuple[str, ...] | list[str] = ()
    script: str | None = None

    def __post_init__(self) -> None:
        check_fields(self)
        for name in self.has:
            one_of("has", name, HAS)
        if self.script is not None:
            one_of("script", self.script, SCRIPTS)
        try:
            re.compile(self.pattern or "")
        except re.error as error:
            raise ConfigError("pattern", self.pattern, str(error)) from None

    def test(self) -> Test:
        """Return a function that says whether it fits."""
        tests = self._tests()
        if len(tests) == 1:
            return tests[0]

        def fits(look: Look) -> bool:
            for test in tests:  # noqa: SIM110  most rules fail at the first
                if not test(look):
                    return False
            return True

        return fits

    def _tests(self) -> list[Test]:
        """What must hold, the cheapest first."""
        found: list[Test] = []
        longer, shorter, script = self.longer, self.shorter, self.script
        if longer is not None:
            found.append(lambda look: look.size > longer)
        if shorter is not None:
            found.append(lambda look: look.size < shorter)
        found += [_HAS[name] for name in self.has]
        if self.keywords:
            words = tuple(word.lower() for word in self.keywords)
            found.append(_any_word(words))
        if self.pattern is not None:
            pattern = re.compile(self.pattern)
            search = pattern.search
            needed = must_contain(pattern) or ""
            found.append(
                lambda look: needed in look.text and search(look.text) is not None
            )
        if script is not None:
            found.append(lambda look: script_of(look.text) == script)
        return found


class Look(Struct, eq=False):
    """One conversation as rules see it; see ``look_at``.

    ``size``: characters of all messages; ``text``: of the last one, or its two ends;
    ``lower``: that in small letters, once a rule has asked for it.
    """

    messages: Messages
    options: Mapping[str, Any]
    size: int
    text: str
    lower: str | None = None


def look_at(messages: Messages, options: Mapping[str, Any]) -> Look:
    """Return what rules see of a conversation."""
    size, text = 0, ""
    for message in messages:
        content = message.get("content")
        text = content if type(content) is str else text_of(content)
        size += len(text)
    if len(text) > 2 * _END:
        text = f"{text[:_END]}\n{text[-_END:]}"
    return Look(messages, options, size, text)


Test = Callable[[Look], bool]


def text_of(content: Any) -> str:
    """Return the text of a message's content, whether plain or in parts."""
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list | tuple) else ()
    return "\n".join(
        part["text"]
        for part in parts
        if isinstance(part, Mapping) and isinstance(part.get("text"), str)
    )


def _any_word(words: tuple[str, ...]) -> Callable[[Look], bool]:
    def test(look: Look) -> bool:
        text = look.lower
        if text is None:
            text = look.lower = look.text.lower()
        for word in words:  # noqa: SIM110  a generator takes longer than the search
            if word in text and _stands_alone(word, text):
                return True
        return False

    return test


def _stands_alone(word: str, text: str) -> bool:
    """Whether a word is found that is no piece of a longer one."""
    at = text.find(word)
    while at >= 0:
        end = at + len(word)
        if not (text[at - 1 : at].isalnum() or text[end : end + 1].isalnum()):
            return True
        at = text.find(word, end)
    return False


def _has_json(look: Look) -> bool:
    if look.options.get("response_format") is not None:
        return True
    return look.text.lstrip()[:1] in _JSON_BEGINS


def _has_image(look: Look) -> bool:
    return any(
        isinstance(part, Mapping) and part.get("type") in ("image_url", "image")
        for message in look.messages
        if not isinstance(message.get("content"), str)
        for part in message.get("content") or ()
    )


def _has_code(look: Look) -> bool:
    text = look.text  # single characters are found ten times faster than others
    if "`" in text and "```" in text:
        return True
    if text[:1] in _CODE_BEGINS and _CODE_FIRST.match(text):
        return True
    return "\n" in text and _CODE.search(text) is not None


_HAS: Mapping[str, Callable[[Look], bool]] = {
    "code": _has_code,
    "json": _has_json,
    "tools": lambda look: bool(look.options.get("tools")),
    "image": _has_image,
}


def script_of(text: str) -> str | None:
    """Return the script most letters of the first 200 are of; None without any."""
    head = text[:200]
    if head.isascii():
        return "latin" if any(c.isalpha() for c in head) else None
    counts: Counter[str] = Counter()
    for char in head:
        code = ord(char)
        for name, ranges in SCRIPTS.items():
            if any(low <= code <= high for low, high in ranges):
                counts[name] += 1
                break
    return counts.most_common(1)[0][0] if counts else None


def all_text(messages: Messages) -> str:
    """Return the texts of a conversation, one below the other."""
    return "\n".join(text_of(message.get("content")) for message in messages)
