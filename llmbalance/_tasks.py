"""What a call is for, and what follows from that: tasks, and rules that tell them.

    chat(task="fast", ...)   ── Task ──▶ group, strategy, v, max_cost, max_latency, ...
    chat(task="auto", ...)   ── classifier ──▶ name of a task, then the same

A classifier is a list of Rules, of which the first that fits decides, or any function
of the messages, or an object with scikit-learn's ``predict``. Another one may run in
the shadow: it decides nothing, and what it would have said is counted.
"""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from msgspec import Struct

from ._checks import check_strategy, one_of, positive
from ._errors import ConfigError, InvalidRequestError
from ._fields import check_fields
from ._patterns import must_contain
from ._report import Report
from ._wildcards import is_known

_log = logging.getLogger("llmbalance")

AUTO = "auto"
_END = 500  # characters of either end of the last message that rules look at
# A line that begins like code; the leading newline lets the search jump to it.
_CODE = re.compile(r"\n[ \t]*(?:def|class|import|#include|SELECT|func|fn) ")
_CODE_FIRST = re.compile(_CODE.pattern[2:])
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

Messages = Sequence[Mapping[str, Any]]
Classifier = Callable[[Messages], str]

_NO_TASKS = "give tasks=[Task(...)] as well"


class Task(Struct, frozen=True, kw_only=True):
    """A kind of call, and what it asks for unless the call itself says otherwise.

    ``group``: where it goes when the call names no model. ``strategy``, ``v``,
    ``max_cost`` (USD), ``max_latency`` (s), ``max_tokens``, ``timeout`` (s),
    ``min_quality``, ``priority``: as for Router.chat.
    """

    name: str
    group: str
    strategy: str | None = None
    v: float | None = None
    max_cost: float | None = None
    max_latency: float | None = None
    max_tokens: int | None = None
    timeout: float | None = None
    min_quality: int | None = None
    priority: int | None = None

    def __post_init__(self) -> None:
        check_fields(self)
        if not self.name or self.name == AUTO:
            raise ConfigError("name", self.name, 'give a name other than "auto"')
        if self.strategy is not None:
            check_strategy("strategy", self.strategy)
        for field in ("max_latency", "max_tokens", "timeout"):
            positive(field, getattr(self, field))
        for field in ("v", "max_cost", "min_quality"):
            positive(field, getattr(self, field), zero=True)
        if self.min_quality is not None and self.min_quality > 255:
            raise ConfigError("min_quality", self.min_quality, "at most 255")

    def options(self) -> dict[str, Any]:
        """Return what it sets, as options of a call."""
        return {
            field: value
            for field in self.__struct_fields__[2:]
            if (value := getattr(self, field)) is not None
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

    def tests(self) -> list[Callable[[_Look], bool]]:
        """Return what must hold, the cheapest first."""
        found: list[Callable[[_Look], bool]] = []
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
            if needed := must_contain(pattern):
                found.append(lambda look: needed in look.text)
            found.append(lambda look: search(look.text) is not None)
        if script is not None:
            found.append(lambda look: script_of(look.text) == script)
        return found


class _Look:
    """One conversation as rules see it; parts are made when first asked for."""

    __slots__ = ("_lower", "messages", "options", "size", "text")

    def __init__(self, messages: Messages, options: Mapping[str, Any]) -> None:
        self.messages = messages
        self.options = options
        size, text = 0, ""
        for message in messages:
            content = message.get("content")
            text = content if type(content) is str else text_of(content)
            size += len(text)
        self.size = size
        if len(text) > 2 * _END:
            text = f"{text[:_END]}\n{text[-_END:]}"
        self.text = text
        self._lower: str | None = None

    @property
    def lower(self) -> str:
        if self._lower is None:
            self._lower = self.text.lower()
        return self._lower


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


def _any_word(words: tuple[str, ...]) -> Callable[[_Look], bool]:
    def test(look: _Look) -> bool:
        text = look.lower
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


def _has_json(look: _Look) -> bool:
    form = look.options.get("response_format")
    return form is not None or look.text.lstrip().startswith(("{", "["))


def _has_image(look: _Look) -> bool:
    return any(
        isinstance(part, Mapping) and part.get("type") in ("image_url", "image")
        for message in look.messages
        if not isinstance(message.get("content"), str)
        for part in message.get("content") or ()
    )


def _has_code(look: _Look) -> bool:
    text = look.text  # single characters are found ten times faster than others
    if _CODE_FIRST.match(text) or ("`" in text and "```" in text):
        return True
    return "\n" in text and _CODE.search(text) is not None


_HAS: Mapping[str, Callable[[_Look], bool]] = {
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


class Tasks:
    """The tasks of one router, and who tells to which a call belongs."""

    def __init__(
        self,
        tasks: Iterable[Task],
        classifier: Any = None,
        shadow: Any = None,
        default: str | None = None,
        groups: Iterable[str] = (),
    ) -> None:
        self.by_name: dict[str, Task] = {}
        known = list(groups)
        for task in tasks:
            if not isinstance(task, Task):
                raise ConfigError("tasks", task, "give Task objects")
            if task.name in self.by_name:
                raise ConfigError("tasks", task.name, "this task is there twice")
            if not is_known(task.group, known):
                one_of("group", task.group, known)
            self.by_name[task.name] = task
        self._options = {name: task.options() for name, task in self.by_name.items()}
        if default is not None:
            if not self.by_name:
                raise ConfigError("default_task", default, _NO_TASKS)
            one_of("default_task", default, self.by_name)
        self.default = default or next(iter(self.by_name), None)
        self.classifier = self._ready("classifier", classifier)
        self.shadow = self._ready("shadow_classifier", shadow)
        self.counts: Counter[tuple[str, str]] = Counter()  # (chosen, shadow's)
        self._complained: set[str] = set()

    def _ready(self, field: str, value: Any) -> Any:
        """A classifier as a function of messages and options, or None."""
        if value is None:
            return None
        if not self.by_name:
            raise ConfigError(field, value, _NO_TASKS)
        if isinstance(value, list | tuple):
            return self._rules(field, value)
        if hasattr(value, "predict"):
            return lambda messages, _: str(value.predict([all_text(messages)])[0])
        if callable(value):
            return lambda messages, _: value(messages)
        raise ConfigError(
            field, value, "give Rules, a function of the messages, or a model"
        )

    def _rules(self, field: str, rules: Sequence[Any]) -> Any:
        ready = []
        for rule in rules:
            if not isinstance(rule, Rule):
                raise ConfigError(field, rule, "give Rule objects")
            one_of(field, rule.task, self.by_name)
            ready.append((rule.task, rule.tests()))
        default = self.default

        def decide(messages: Messages, options: Mapping[str, Any]) -> str | None:
            look = _Look(messages, options)
            for task, tests in ready:
                for test in tests:
                    if not test(look):
                        break
                else:
                    return task
            return default

        return decide

    def apply(
        self, model: str, messages: Messages, options: Mapping[str, Any]
    ) -> tuple[str, dict[str, Any]]:
        """Return where a call with ``task`` goes and its options, its own ones first.

        A name that is no task only labels the call, if that says its model itself.
        """
        name = options["task"]
        if name == AUTO:
            name = self.classify(messages, options)
        task = self.by_name.get(name)
        if task is None:
            if not model:
                known = ", ".join((*self.by_name, AUTO))
                raise InvalidRequestError("task", name, f"use one of {known}")
            return model, dict(options)
        chosen = dict(self._options[name])
        for key, value in options.items():
            if value is not None:
                chosen[key] = value
        if "max_completion_tokens" in chosen:
            chosen.pop("max_tokens", None)
        chosen["task"] = name
        return model or task.group, chosen

    def apply_to_texts(
        self, model: str, options: Mapping[str, Any]
    ) -> tuple[str, dict[str, Any]]:
        """The same for embeddings, which have no answer to bound and no classifier."""
        own = options.get("max_tokens", options.get("max_completion_tokens"))
        model, chosen = self.apply(model, (), options)
        if own is None:
            chosen.pop("max_tokens", None)
        return model, chosen

    def report(self) -> Report:
        """What was chosen and what the shadow classifier would have chosen."""
        total = sum(self.counts.values())
        rows = [
            {
                "chosen": chosen,
                "shadow": shadow,
                "calls": calls,
                "share": calls / total,
            }
            for (chosen, shadow), calls in self.counts.most_common()
        ]
        agreed = sum(n for (chosen, other), n in self.counts.items() if chosen == other)
        data = {
            "calls": total,
            "agreement": agreed / total if total else None,
            "pairs": rows,
        }
        columns = {"chosen": "", "shadow": "", "calls": "n", "share": "%"}
        return Report(data, rows, columns)

    def classify(self, messages: Messages, options: Mapping[str, Any]) -> str:
        """Return the task of a call; a classifier that fails leaves the default."""
        chosen = self._ask("classifier", self.classifier, messages, options)
        if self.shadow is not None:
            other = self._ask("shadow_classifier", self.shadow, messages, options)
            self.counts[chosen, other] += 1
        return chosen

    def _ask(
        self, field: str, classify: Any, messages: Messages, options: Mapping[str, Any]
    ) -> str:
        assert self.default is not None
        if classify is None:
            return self.default
        try:
            name = classify(messages, options)
        except Exception:
            self._complain(field, "failed; it is not reported again", error=True)
            return self.default
        if name in self.by_name:
            return str(name)
        self._complain(field, f"says {name!r}, which is no task; it counts as none")
        return self.default

    def _complain(self, field: str, text: str, *, error: bool = False) -> None:
        if field not in self._complained:
            self._complained.add(field)
            _log.warning("the %s %s", field, text, exc_info=error)


def all_text(messages: Messages) -> str:
    """Return the texts of a conversation, one below the other."""
    return "\n".join(text_of(message.get("content")) for message in messages)
