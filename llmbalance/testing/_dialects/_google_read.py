"""Reading Gemini's requests: content, token counts, embeddings, models."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from .._exchange import Ask, Refused
from ._base import Dialect, Target, bad, decode_object, encode, integer, read_tool

_METHOD = re.compile(r"(?:/v1(?:beta1?|alpha)?)?/(?:.+/)?models/([^/:]+):(\w+)$")
_ONE = re.compile(r"(?:/v1(?:beta1?|alpha)?)?/(?:.+/)?models/([^/:]+)$")
_LIST = re.compile(r"(?:/v1(?:beta1?|alpha)?)?/models$")


class GoogleReader(Dialect):
    """The half of the dialect that understands requests."""

    def authorise(self, headers: Mapping[str, str], target: Target) -> None:
        if self.api_key is None:
            return
        given = headers.get("x-goog-api-key") or "".join(target.query.get("key", ()))
        given = given or headers.get("authorization", "").removeprefix("Bearer ")
        if not given:
            raise Refused("auth_missing")
        if given != self.api_key:
            raise Refused("auth")

    def read(self, target: Target, headers: Mapping[str, str], body: bytes) -> Ask:
        if target.method == "GET" and _LIST.match(target.path):
            return Ask("models")
        if target.method == "GET" and (one := _ONE.match(target.path)):
            self.check_model(one[1])
            return Ask("models", one[1])
        found = _METHOD.match(target.path)
        if target.method != "POST" or not found:
            raise Refused("no_route")
        model, method = found.groups()
        self.check_model(model)
        if method in ("generateContent", "streamGenerateContent"):
            ask = self.read_chat("chat", model, decode_object(body))
            ask.stream = method == "streamGenerateContent"
            ask.include_usage = target.query.get("alt") == ["sse"]
            return ask
        if method == "countTokens":
            given = decode_object(body)
            inner = given.get("generateContentRequest") or given
            return self.read_chat("count", model, inner)
        if method in ("embedContent", "batchEmbedContents"):
            return self.read_embed(model, method, decode_object(body))
        raise Refused("no_route")

    def read_chat(self, kind: str, model: str, body: dict[str, Any]) -> Ask:
        ask = Ask(kind, model, body)
        system = _either(body, "systemInstruction", "system_instruction")
        if system is not None:
            ask.prefixes += (self.read_parts(ask, system, "system_instruction"),)
        contents = body.get("contents")
        if not isinstance(contents, list) or not contents:
            bad("* GenerateContentRequest.contents: contents is not specified\n")
        ask.messages = len(contents)
        for i, content in enumerate(contents):
            role = content.get("role", "user") if isinstance(content, dict) else None
            if role not in ("user", "model", "function"):
                bad("Please use a valid role: user, model.")
            text = self.read_parts(ask, content, f"contents[{i}]")
            ask.prefixes += (text,)
            if role == "user":
                ask.prompt = text
        for tool in body.get("tools") or ():
            names = _either(tool, "functionDeclarations", "function_declarations")
            for function in names or ():
                schema = function.get("parametersJsonSchema")
                schema = function.get("parameters") if schema is None else schema
                read_tool(
                    ask, function.get("name"), function.get("description"), schema
                )
        self.read_options(ask, body)
        return ask

    def read_parts(self, ask: Ask, content: Any, where: str) -> str:
        parts = content.get("parts") if isinstance(content, dict) else None
        if isinstance(parts, dict):
            parts = [parts]
        if not isinstance(parts, list) or not parts:
            bad(f"* GenerateContentRequest.{where}.parts: must not be empty.\n")
        texts = ""
        for part in parts:
            if isinstance(part.get("text"), str):
                text = part["text"]
            elif part.keys() & {"functionCall", "functionResponse"}:
                text = encode(part).decode()
            elif part.keys() & {"inlineData", "inline_data", "fileData", "file_data"}:
                ask.images += 1
                text = ""
            else:
                bad(f"{where}.parts: required oneof field 'data' must be initialized")
            ask.read(text)
            texts += text
        return texts

    def read_options(self, ask: Ask, body: dict[str, Any]) -> None:
        config = _either(body, "generationConfig", "generation_config") or {}
        name = "maxOutputTokens"
        ask.max_tokens = integer(_either(config, name, "max_output_tokens"), name)
        ask.n = integer(config.get("candidateCount"), "candidateCount") or 1
        if ask.n > 8:
            bad("candidateCount must be in the range [1, 8]")
        temperature = config.get("temperature")
        if temperature is not None and not 0 <= temperature <= 2:
            bad(f"temperature must be in the range [0.0, 2.0], got {temperature}")
        ask.stop = tuple(_either(config, "stopSequences", "stop_sequences") or ())
        mime = _either(config, "responseMimeType", "response_mime_type")
        ask.wants_json = mime == "application/json"
        ask.schema = config.get("responseJsonSchema") or config.get("responseSchema")
        choice = (body.get("toolConfig") or {}).get("functionCallingConfig") or {}
        if choice.get("mode") == "ANY":
            ask.must_call = (choice.get("allowedFunctionNames") or [""])[0]

    def read_embed(self, model: str, method: str, body: dict[str, Any]) -> Ask:
        ask = Ask("embed", model, body)
        rows = body.get("requests") if method.startswith("batch") else [body]
        if not isinstance(rows, list) or not rows:
            bad("* BatchEmbedContentsRequest.requests: requests is not specified\n")
        for row in rows:
            ask.inputs += (self.read_parts(ask, row.get("content"), "content"),)
        return ask

    def overhead(self, ask: Ask) -> int:
        return 0 if ask.kind == "embed" else ask.messages


def _either(value: Any, camel: str, snake: str) -> Any:
    if not isinstance(value, dict):
        bad(f"{camel}: expected an object around it")
    found = value.get(camel)
    return value.get(snake) if found is None else found
