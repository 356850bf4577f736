"""Writing Google's request body from an OpenAI-shaped call (see ``google.py``)."""

from __future__ import annotations

import mimetypes
from collections.abc import Mapping
from typing import Any

import msgspec

from .._errors import InvalidRequestError
from .._types import Call
from . import _messages
from ._base import Dialect
from ._bodies import merge
from ._models import GeminiModel, gemini_model
from ._schema import openapi_subset

# Gemini 3 refuses a history whose function calls have no signature; calls made by
# another provider's model have none. This literal is Google's documented way out.
NO_SIGNATURE = "skip_thought_signature_validator"
# Token budgets of Gemini 2.5; -1 would leave the amount to the model.
BUDGETS = {
    "minimal": 1024,
    "low": 2048,
    "medium": 10_000,
    "high": 16_384,
    "xhigh": 24_576,
    "max": 24_576,
}
_LEVELS = {"xhigh": "high", "max": "high"}
_GENERATION: Mapping[str, str] = {
    "temperature": "temperature",
    "top_p": "topP",
    "top_k": "topK",
    "max_tokens": "maxOutputTokens",
    "max_completion_tokens": "maxOutputTokens",
    "seed": "seed",
    "n": "candidateCount",
    "presence_penalty": "presencePenalty",
    "frequency_penalty": "frequencyPenalty",
}
_TIERS = {"auto": None, "default": "standard", "flex": "flex", "priority": "priority"}
# Google's own parameters, which pass unchanged.
_NATIVE = frozenset(("safetySettings", "cachedContent", "labels"))
_UNKNOWN = "Google has no such parameter"


def write_body(
    dialect: Dialect, call: Call, warnings: list[str], *, fetches_urls: bool
) -> dict[str, Any]:
    """The body of a generateContent request.

    ``fetches_urls``: whether the host fetches images at http addresses.
    """
    model = gemini_model(dialect.model)
    writer = _Contents(model, fetches_urls)
    for at, message in enumerate(_messages.as_dicts(call.messages)):
        writer.add(at, message)
    body = writer.body()
    generation: dict[str, Any] = {}
    params = {k: v for k, v in call.params.items() if v is not None}
    extra = params.pop("extra_body", None)
    _tools(dialect, body, params, warnings)
    for name, value in params.items():
        native = _GENERATION.get(name)
        if native is not None:
            if native == "maxOutputTokens":
                generation.setdefault(native, value)
            else:
                generation[native] = value
        elif name == "stop":
            generation["stopSequences"] = _messages.stops_of(value)
        elif name == "response_format":
            _response_format(dialect, model, generation, value)
        elif name == "reasoning_effort":
            _reasoning(dialect, model, generation, value, warnings)
        elif name == "service_tier":
            _service_tier(dialect, body, value, warnings)
        elif name in ("logprobs", "top_logprobs"):
            _logprobs(generation, name, value)
        elif name in _NATIVE:
            body[name] = value
        elif not _messages.changes_nothing(name, value):
            dialect.leave_out(name, _UNKNOWN, warnings)
    if dialect.options.get("safety_settings"):
        body.setdefault("safetySettings", dialect.options["safety_settings"])
    if generation:
        body["generationConfig"] = generation
    if extra is not None:
        merge(body, extra)
    return body


class _Contents:
    """Collects messages into Google's contents: turns of user and model."""

    def __init__(self, model: GeminiModel, fetches_urls: bool) -> None:
        self.model = model
        self.fetches_urls = fetches_urls
        self.system: list[dict[str, Any]] = []
        self.contents: list[dict[str, Any]] = []
        self.names: dict[str, str] = {}  # tool call id -> function name
        self.after_results = False

    def add(self, at: int, message: Mapping[str, Any]) -> None:
        """Append one message."""
        role, content = message["role"], message.get("content")
        if role in _messages.SYSTEM_ROLES:
            _messages.only_text(at, role, content)
            text = _messages.text_of(content)
            if text:
                self.system.append({"text": text})
        elif role == "assistant":
            self._turn("model", self._assistant(at, message))
        elif role == "tool":
            media = _messages.media_of(at, content)
            shown = [self._part(at, kind, part) for kind, part in media]
            self._turn("user", [self._result(message), *shown])
        else:
            self._turn("user", list(self._user(at, content)))

    def body(self) -> dict[str, Any]:
        """Contents and system instruction; a user's turn must come first."""
        contents = self.contents
        if not contents:
            raise InvalidRequestError(
                "messages", "(system only)", "add a user message: Google needs one"
            )
        if contents[0]["role"] != "user":
            contents.insert(0, {"role": "user", "parts": [{"text": ""}]})
        body: dict[str, Any] = {"contents": contents}
        if self.system:
            body["systemInstruction"] = {"parts": self.system}
        return body

    def _turn(self, role: str, parts: list[dict[str, Any]]) -> None:
        if not parts:
            return
        if self.contents and self.contents[-1]["role"] == role:
            self.contents[-1]["parts"] += parts
        else:
            self.contents.append({"role": role, "parts": parts})

    def _assistant(self, at: int, message: Mapping[str, Any]) -> list[dict[str, Any]]:
        content, parts = _messages.said_by(message), []
        text = _messages.text_of(content)
        if text:
            parts.append(_signed({"text": text}, _signature_of(message)))
        media = _messages.media_of(at, content)
        for image in message.get("images") or ():
            media.append(("image_url", image))
        for kind, part in media:
            parts.append(_signed(self._part(at, kind, part), _signature_of(part)))
        for number, call in enumerate(message.get("tool_calls") or ()):
            name = (call.get("function") or {}).get("name") or ""
            identity = call.get("id")
            if identity:
                self.names[identity] = name
            arguments = _messages.arguments_of(call)
            signature = _signature_of(call)
            if signature is None and self.model.signed and number == 0:
                signature = NO_SIGNATURE
            made = {"functionCall": {"name": name, "args": arguments}}
            parts.append(_signed(made, signature))
        return parts

    def _result(self, message: Mapping[str, Any]) -> dict[str, Any]:
        identity = message.get("tool_call_id") or ""
        name = self.names.get(identity) or message.get("name")
        if not name:
            raise InvalidRequestError(
                "tool_call_id", identity, "name a tool call of an earlier message"
            )
        key = "error" if message.get("is_error") else "output"
        text = _messages.text_of(message.get("content"))
        return {"functionResponse": {"name": name, "response": {key: _value(text)}}}

    def _user(self, at: int, content: Any) -> list[dict[str, Any]]:
        if type(content) is str:
            return [{"text": content}]
        return [self._part(at, k, p) for k, p in _messages.parts_of(at, content)]

    def _part(self, at: int, kind: str, part: dict[str, Any]) -> dict[str, Any]:
        if kind == "text":
            return {"text": part.get("text") or ""}
        if kind == "image_url":
            return self._linked(at, _messages.image_url(at, part), "image/jpeg")
        if kind == "input_audio":
            audio = part.get("input_audio") or {}
            mime = f"audio/{audio.get('format', 'wav')}"
            return {"inlineData": {"mimeType": mime, "data": audio.get("data", "")}}
        if kind == "file":
            file = part.get("file") or {}
            url = file.get("file_data") or file.get("file_id")
            if isinstance(url, str) and url:
                if "://" not in url and not url.startswith("data:"):
                    url = f"data:application/pdf;base64,{url}"
                return self._linked(at, url, "application/pdf")
        raise InvalidRequestError(
            f"messages[{at}].content", kind, "Google takes text, images, audio, files"
        )

    def _linked(self, at: int, url: str, fallback: str) -> dict[str, Any]:
        data = _messages.data_url(url)
        if data is not None:
            return {"inlineData": {"mimeType": data[0], "data": data[1]}}
        own = url.startswith(("gs://", "https://generativelanguage.googleapis.com/"))
        if not own and not self.fetches_urls and "youtu" not in url:
            raise InvalidRequestError(
                f"messages[{at}].content",
                "(a web address)",
                "AI Studio fetches none: send the data as data:image/...;base64,...",
            )
        mime = mimetypes.guess_type(url.partition("?")[0])[0] or fallback
        return {"fileData": {"fileUri": url, "mimeType": mime}}


def _signature_of(value: Mapping[str, Any]) -> str | None:
    extra = value.get("extra_content")
    google = extra.get("google") if isinstance(extra, dict) else None
    return google.get("thought_signature") if isinstance(google, dict) else None


def _signed(part: dict[str, Any], signature: str | None) -> dict[str, Any]:
    if signature is not None:
        part["thoughtSignature"] = signature
    return part


def _value(text: str) -> Any:
    """A tool's result: as JSON when it is JSON, so that the model sees its shape."""
    if text[:1] in ("{", "["):
        try:
            return msgspec.json.decode(text)
        except msgspec.DecodeError:
            return text
    return text


def _tools(
    dialect: Dialect, body: dict[str, Any], params: dict[str, Any], warnings: list[str]
) -> None:
    tools = params.pop("tools", None)
    choice = params.pop("tool_choice", None)
    if params.pop("parallel_tool_calls", None) is False and tools:
        dialect.leave_out("parallel_tool_calls", _UNKNOWN, warnings)
    if not tools:
        return
    declarations = [_declaration(dialect, f) for f in _messages.functions_of(tools)]
    body["tools"] = [{"functionDeclarations": declarations}]
    config = _tool_config(choice)
    if config is not None:
        body["toolConfig"] = {"functionCallingConfig": config}


def _declaration(dialect: Dialect, function: dict[str, Any]) -> dict[str, Any]:
    result: dict[str, Any] = {"name": function["name"]}
    if function.get("description"):
        result["description"] = function["description"]
    schema = function.get("parameters")
    if schema and schema.get("properties"):
        if dialect.options.get("schema") == "openapi":
            result["parameters"] = openapi_subset(schema)
        else:
            result["parametersJsonSchema"] = schema
    return result


def _tool_config(choice: Any) -> dict[str, Any] | None:
    if choice is None:
        return None
    modes = {"auto": "AUTO", "none": "NONE", "required": "ANY"}
    if isinstance(choice, str) and choice in modes:
        return {"mode": modes[choice]}
    function = choice.get("function") if isinstance(choice, dict) else None
    if isinstance(function, dict) and function.get("name"):
        return {"mode": "ANY", "allowedFunctionNames": [function["name"]]}
    raise InvalidRequestError(
        "tool_choice", choice, 'use "auto", "none", "required" or a function by name'
    )


def _response_format(
    dialect: Dialect, model: GeminiModel, generation: dict[str, Any], value: Any
) -> None:
    kind = value.get("type") if isinstance(value, dict) else value
    if kind == "text":
        return
    if kind not in ("json_object", "json_schema"):
        raise InvalidRequestError(
            "response_format", kind, "use text, json_object or json_schema"
        )
    generation["responseMimeType"] = "application/json"
    if kind == "json_schema":
        schema = (value.get("json_schema") or {}).get("schema") or {"type": "object"}
        if model.json_schema and dialect.options.get("schema") != "openapi":
            generation["responseJsonSchema"] = schema
        else:
            generation["responseSchema"] = openapi_subset(schema)


def _reasoning(
    dialect: Dialect,
    model: GeminiModel,
    generation: dict[str, Any],
    effort: Any,
    warnings: list[str],
) -> None:
    if not model.thinks:
        if effort != "none":
            why = f"{dialect.model} does not reason"
            dialect.leave_out("reasoning_effort", why, warnings)
        return
    if effort != "none" and effort not in BUDGETS:
        raise InvalidRequestError(
            "reasoning_effort", effort, f"use none, {', '.join(BUDGETS)}"
        )
    if effort == "none" and model.always_thinks:
        warnings.append(f"reasoning_effort raised: {dialect.model} always reasons")
        effort = model.least
    if model.levels:
        level = model.least if effort == "minimal" else _LEVELS.get(effort, effort)
        if level != effort:
            told = f"reasoning_effort {effort} sent as {level}, the nearest it takes"
            warnings.append(told)
        generation["thinkingConfig"] = {"thinkingLevel": level.upper()}
    else:
        budget = BUDGETS.get(effort, 0)
        generation["thinkingConfig"] = {"thinkingBudget": budget}


def _logprobs(generation: dict[str, Any], name: str, value: Any) -> None:
    """How many alternatives to tell; asking for some asks for the probabilities."""
    if name == "top_logprobs":
        generation["logprobs"] = value
    if value or name == "top_logprobs":
        generation["responseLogprobs"] = True


def _service_tier(
    dialect: Dialect, body: dict[str, Any], tier: Any, warnings: list[str]
) -> None:
    if tier not in _TIERS:
        dialect.leave_out("service_tier", f"Google has no tier {tier!r}", warnings)
    elif _TIERS[tier] is not None:
        body["serviceTier"] = _TIERS[tier]
