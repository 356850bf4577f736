"""A call in LiteLLM's words becomes a call of ``Router.chat``.

await router.acompletion("gpt-4o", messages, timeout=30, metadata={"tags": ["paid"]})
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from .._errors import InvalidRequestError

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
    "context_window_fallbacks": "use fallbacks: they serve every failure",
    "content_policy_fallbacks": "use fallbacks: they serve every failure",
    "allowed_model_region": "use tags: backends must have all tags of a call",
}
# Said by many callers, without effect here -> why.
_WITHOUT_EFFECT = {
    "num_retries": "untried backends are tried first, whatever the number",
    "max_retries": "untried backends are tried first, whatever the number",
    "caching": "answers are not cached",
    "cache": "answers are not cached",
}


def chat_options(
    model: str, options: Mapping[str, Any], *, tags_route: bool = True
) -> tuple[dict[str, Any], list[str]]:
    """Return options for ``Router.chat``, and warnings about what has no effect.

    ``tags_route``: the tags in metadata choose backends. Raises InvalidRequestError for
    what only a backend can be told.
    """
    made: dict[str, Any] = {}
    warnings = []
    given = {name: value for name, value in options.items() if value is not None}
    for name in given.pop("additional_drop_params", ()):
        given.pop(name, None)
    for name, value in given.items():
        if name in _REFUSED:
            raise InvalidRequestError(name, value, _REFUSED[name])
        if name in _WITHOUT_EFFECT:
            warnings.append(f"{name}: {_WITHOUT_EFFECT[name]}")
        elif name == "request_timeout":
            made["timeout"] = value
        elif name == "priority" and not isinstance(value, bool):
            raise InvalidRequestError(name, value, "give true or false")
        elif name == "drop_params":
            if not value:
                raise InvalidRequestError(
                    name, value, "is set for a backend: options={'unsupported': ...}"
                )
        elif name == "disable_fallbacks":
            if value:  # a group that falls back to itself visits only itself
                made["fallbacks"] = [model]
        elif name not in ("fallbacks", "metadata"):
            made[name] = value
    if "fallbacks" in given and "fallbacks" not in made:
        made["fallbacks"] = _names(given["fallbacks"])
    _metadata(given.get("metadata"), made, warnings, tags_route)
    return made, warnings


def _names(fallbacks: Any) -> list[str]:
    """The groups of ["b"] or [{"a": ["b"]}]."""
    names: list[str] = []
    for entry in [fallbacks] if isinstance(fallbacks, str) else fallbacks:
        if isinstance(entry, str):
            names.append(entry)
        elif isinstance(entry, Mapping) and "model" not in entry:
            names += (name for others in entry.values() for name in others)
        else:
            raise InvalidRequestError("fallbacks", entry, "give names of groups")
    return names


def _metadata(
    metadata: Any, made: dict[str, Any], warnings: list[str], tags_route: bool
) -> None:
    """LiteLLM's metadata is for its own loggers; only its tags choose backends."""
    if metadata is None:
        return
    if not isinstance(metadata, Mapping):
        raise InvalidRequestError("metadata", metadata, "give a mapping")
    tags = metadata.get("tags")
    if tags and tags_route:
        made["tags"] = [*(made.get("tags") or ()), *tags]
    rest = sorted(str(name) for name in metadata if name != "tags" or not tags_route)
    if rest:
        warnings.append(f"metadata: not sent ({', '.join(rest)}); see extra_body")


def warn(reply: Any, warnings: list[str]) -> Any:
    """Tell the warnings on the reply; streams have no place for them but the log."""
    if warnings and hasattr(reply, "warnings"):
        reply.warnings = [*reply.warnings, *warnings]
    elif warnings:
        _log.warning("completion: %s", "; ".join(warnings))
    return reply
