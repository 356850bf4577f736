"""A call in LiteLLM's words becomes a call of ``Router.chat``.

await router.acompletion("gpt-4o", messages, timeout=30, metadata={"tags": ["paid"]})
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

from msgspec import Struct

from .._errors import InvalidRequestError, UnknownModelError

_log = logging.getLogger("llmbalance")

# What no call may change -> what to do instead.
_REFUSED = {
    "api_key": "keys belong to backends",
    "api_base": "addresses belong to backends: Backend(base_url=...)",
    "base_url": "addresses belong to backends: Backend(base_url=...)",
    "api_version": "belongs to the backend: options={'api_version': ...}",
    "custom_llm_provider": "belongs to the backend: 'provider/model'",
    "mock_response": "use llmbalance.testing",
    "mock_timeout": "use llmbalance.testing",
    "context_window_fallbacks": "belong to groups: router_settings, or Group",
    "content_policy_fallbacks": "belong to groups: router_settings, or Group",
    "retry_policy": "belongs to groups: router_settings, or Group(attempts=...)",
    "model_list": "make a Router of it: Router.from_litellm",
    "organization": "belongs to the backend: options={'organization': ...}",
    "extra_headers": "belong to backends: options={'headers': ...}",
    "headers": "belong to backends: options={'headers': ...}",
    "stream_timeout": "give timeouts=Timeouts(first_token=...)",
    "deployment_id": "give the name of the backend as the model",
    "functions": "give tools",
    "function_call": "give tool_choice",
    "allowed_model_region": "use tags: backends must have all tags of a call",
}
# Said by many callers, without effect here -> why.
_WITHOUT_EFFECT = {
    "max_retries": "the client repeats nothing by itself: num_retries",
    "specific_deployment": "the name of a backend means that one",
    "caching": "answers are not cached",
    "cache": "answers are not cached",
    "is_async": "the name of the call says it",
    "max_fallbacks": "each group is visited once",
    "allowed_openai_params": "each provider gets what it knows",
    "litellm_session_id": "use session= to stay with a backend",
    "litellm_trace_id": "for LiteLLM's loggers",
    "litellm_call_id": "for LiteLLM's loggers",
    "no-log": "for LiteLLM's loggers",
    "logger_fn": "for LiteLLM's loggers",
    "verbose": "for LiteLLM's loggers",
}


class Ways(Struct, frozen=True, kw_only=True):
    """What a LiteLLM configuration says of calls.

    ``tags_route``: tags in metadata choose backends; ``any_tag``: one of them is
    enough; ``tags``: group -> the tags of each of its backends, where they choose;
    ``spending``: tags with a budget, whose calls it counts in any case; ``unknown``:
    groups for names that nobody has; ``priority``: of calls without one.
    """

    tags_route: bool = True
    any_tag: bool = False
    tags: dict[str, tuple[frozenset[str], ...]] = {}
    spending: frozenset[str] = frozenset()
    unknown: tuple[str, ...] = ()
    priority: int | None = None

    def tags_for(self, model: str, asked: list[str]) -> list[str]:
        """Return the tags that choose: the call's, or "default" where none fit."""
        rows = self.tags.get(model)
        if rows is None:
            return asked
        if self.any_tag:
            asked = [t for t in asked if any(t in row for row in rows)] or asked
            fits = asked and any(not row.isdisjoint(asked) for row in rows)
        else:
            fits = asked and any(row.issuperset(asked) for row in rows)
        default = any("default" in row for row in rows)
        return ["default"] if default and not fits else asked

    def goal(self, find: Callable[[str], int], model: str, made: dict[str, Any]) -> str:
        """Return where a call goes; default fallbacks serve names nobody has."""
        if not self.unknown:
            return model
        try:
            find(model)
        except UnknownModelError:
            made.setdefault("fallbacks", list(self.unknown[1:]))
            return self.unknown[0]
        return model


def chat_options(
    model: str, options: Mapping[str, Any], ways: Ways | None = None
) -> tuple[dict[str, Any], list[str]]:
    """Return options for ``Router.chat``, and warnings about what has no effect.

    Raises InvalidRequestError for what only a backend can be told.
    """
    ways = ways or Ways()
    made: dict[str, Any] = {}
    warnings: list[str] = []
    given = {name: value for name, value in options.items() if value is not None}
    for name in given.pop("additional_drop_params", ()):
        given.pop(name, None)
    if ways.priority is not None:
        given.setdefault("priority", ways.priority)
    for name, value in given.items():
        if name in _REFUSED:
            raise InvalidRequestError(name, value, _REFUSED[name])
        if name in _WITHOUT_EFFECT:
            warnings.append(f"{name}: {_WITHOUT_EFFECT[name]}")
        elif name in _READERS:
            _READERS[name](made, name, value, model)
        elif name not in ("fallbacks", "metadata"):
            made[name] = value
    if "fallbacks" in given and "fallbacks" not in made:
        made["fallbacks"] = _names(given["fallbacks"])
    _metadata(given.get("metadata"), made, warnings, ways, model)
    return made, warnings


def _timeout(made: dict[str, Any], name: str, value: Any, model: str) -> None:
    made["timeout"] = value


def _retries(made: dict[str, Any], name: str, value: Any, model: str) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise InvalidRequestError(name, value, "give a whole number >= 0")
    made["max_attempts"] = value + 1


def _priority(made: dict[str, Any], name: str, value: Any, model: str) -> None:
    """LiteLLM's least number comes first; here the greatest does."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise InvalidRequestError(name, value, "give a whole number >= 0: 0 is first")
    made["priority"] = -value


def _drop(made: dict[str, Any], name: str, value: Any, model: str) -> None:
    if not value:
        remedy = "is set for a backend: options={'unsupported': ...}"
        raise InvalidRequestError(name, value, remedy)


def _no_fallbacks(made: dict[str, Any], name: str, value: Any, model: str) -> None:
    if value:  # a group that falls back to itself visits only itself
        made["fallbacks"] = [model]


_READERS: Mapping[str, Callable[[dict[str, Any], str, Any, str], None]] = {
    "request_timeout": _timeout,
    "num_retries": _retries,
    "priority": _priority,
    "drop_params": _drop,
    "disable_fallbacks": _no_fallbacks,
}


def _names(fallbacks: Any) -> list[str]:
    """The groups of ["b"] or [{"a": ["b"]}]."""
    names: list[str] = []
    for entry in [fallbacks] if isinstance(fallbacks, str) else fallbacks:
        if isinstance(entry, str):
            names.append(entry)
        elif isinstance(entry, Mapping) and set(entry) == {"model"}:
            names.append(entry["model"])
        elif isinstance(entry, Mapping) and "model" not in entry:
            names += (name for others in entry.values() for name in others)
        else:
            remedy = "give names of groups: fallbacks get the call as it is"
            raise InvalidRequestError("fallbacks", entry, remedy)
    return names


def _metadata(
    metadata: Any, made: dict[str, Any], warnings: list[str], ways: Ways, model: str
) -> None:
    """LiteLLM's metadata is for its own loggers; only its tags choose backends."""
    if metadata is not None and not isinstance(metadata, Mapping):
        raise InvalidRequestError("metadata", metadata, "give a mapping")
    data = metadata or {}
    tags = data.get("tags") if ways.tags_route else None
    chosen = ways.tags_for(model, list(tags or ()))
    spent = [t for t in data.get("tags") or () if t in ways.spending]
    if chosen or spent:
        every = dict.fromkeys((*(made.get("tags") or ()), *chosen, *spent))
        made["tags"] = list(every)
        if ways.any_tag and len(chosen) > 1:
            made["any_tag"] = True
    counted = ways.tags_route or ways.spending
    rest = sorted(str(n) for n in data if n != "tags" or not counted)
    if rest:
        warnings.append(f"metadata: not sent ({', '.join(rest)}); see extra_body")


def warn(reply: Any, warnings: list[str]) -> Any:
    """Tell the warnings on the reply; streams have no place for them but the log."""
    if warnings and hasattr(reply, "warnings"):
        reply.warnings = [*reply.warnings, *warnings]
    elif warnings:
        _log.warning("completion: %s", "; ".join(warnings))
    return reply
