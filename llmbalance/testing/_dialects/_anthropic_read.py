"""Reading Anthropic's requests: messages and the counting of their tokens."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .._exchange import Ask, Refused, Usage
from ._base import Dialect, Target, bad, decode_object, encode, integer, read_tool


class AnthropicReader(Dialect):
    """The half of the dialect that understands requests."""

    def authorise(self, headers: Mapping[str, str], target: Target) -> None:
        if self.api_key is None:
            return
        key, bearer = headers.get("x-api-key"), headers.get("authorization")
        if key is None and bearer is None:
            raise Refused("auth_missing")
        if self.api_key != key and bearer != f"Bearer {self.api_key}":
            raise Refused("auth")

    def read(self, target: Target, headers: Mapping[str, str], body: bytes) -> Ask:
        path = target.path.removeprefix("/v1")
        if target.method == "GET" and path == "/models":
            ask = Ask("models")
        elif target.method == "POST" and path == "/messages":
            ask = self.read_messages("chat", decode_object(body))
        elif target.method == "POST" and path == "/messages/count_tokens":
            ask = self.read_messages("count", decode_object(body))
        else:
            raise Refused("no_route")
        if "anthropic-version" not in headers:
            bad("anthropic-version: header is required")
        return ask

    def read_messages(self, kind: str, body: dict[str, Any]) -> Ask:
        model = body.get("model")
        if not isinstance(model, str) or not model:
            bad("model: Field required")
        ask = Ask(kind, model, body)
        if kind == "chat":
            ask.max_tokens = integer(body.get("max_tokens"), "max_tokens")
            if ask.max_tokens is None:
                bad("max_tokens: Field required")
        self.check_model(model)
        self.read_system(ask, body.get("system"))
        messages = body.get("messages")
        if not isinstance(messages, list):
            bad("messages: Field required")
        if not messages:
            bad("messages: at least one message is required")
        ask.messages = len(messages)
        for i, message in enumerate(messages):
            self.read_message(ask, message, i)
        self.read_options(ask, body)
        return ask

    def read_system(self, ask: Ask, system: Any) -> None:
        blocks = (
            [{"type": "text", "text": system}] if isinstance(system, str) else system
        )
        for i, block in enumerate(blocks or ()):
            text = self.read_block(ask, block, f"system.{i}")
            ask.prefixes += (text,)

    def read_message(self, ask: Ask, message: Any, i: int) -> None:
        where = f"messages.{i}"
        if not isinstance(message, dict):
            bad(f"{where}: Input should be a valid dictionary")
        role, content = message.get("role"), message.get("content")
        if role not in ("user", "assistant"):
            bad(f"{where}.role: Input should be 'user' or 'assistant'")
        if i == 0 and role != "user":
            bad('messages: first message must use the "user" role')
        text = ""
        if isinstance(content, str):
            if not content and role == "user":
                bad(f"{where}: user messages must have non-empty content")
            text = content
            ask.read(text)
        elif isinstance(content, list):
            for j, block in enumerate(content):
                text += self.read_block(ask, block, f"{where}.content.{j}")
        else:
            bad(f"{where}.content: Field required")
        ask.prefixes += (text,)
        if role == "user":
            ask.prompt = text

    def read_block(self, ask: Ask, block: Any, where: str) -> str:
        kind = block.get("type") if isinstance(block, dict) else None
        if block.get("cache_control") if kind else False:
            ask.cache_marked = True
        if kind == "text":
            text = block.get("text")
            if not isinstance(text, str) or not text:
                bad(f"{where}.text: text content blocks must be non-empty")
        elif kind in ("image", "document"):
            ask.images += 1
            text = ""
        elif kind == "tool_use":
            text = str(block.get("name")) + encode(block.get("input")).decode()
        elif kind == "tool_result":
            inner = block.get("content")
            text = inner if isinstance(inner, str) else ""
            for k, part in enumerate(inner if isinstance(inner, list) else ()):
                self.read_block(ask, part, f"{where}.content.{k}")
        elif kind in ("thinking", "redacted_thinking"):
            text = str(block.get("thinking", ""))
        else:
            bad(f"{where}: Input tag '{kind}' does not match any of the expected tags")
        ask.read(text)
        return text

    def read_options(self, ask: Ask, body: dict[str, Any]) -> None:
        temperature = body.get("temperature")
        if temperature is not None and not 0 <= temperature <= 1:
            bad("temperature: range: 0..1")
        ask.stop = tuple(body.get("stop_sequences") or ())
        for i, tool in enumerate(body.get("tools") or ()):
            if not isinstance(tool, dict) or not isinstance(
                tool.get("input_schema"), dict
            ):
                bad(f"tools.{i}.custom.input_schema: Field required")
            name, about = tool.get("name"), tool.get("description")
            read_tool(ask, name, about, tool["input_schema"])
            if tool.get("cache_control"):
                ask.cache_marked = True
        choice = body.get("tool_choice") or {}
        if choice.get("type") == "any":
            ask.must_call = ""
        elif choice.get("type") == "tool":
            ask.must_call = choice.get("name", "")
        form = (body.get("output_config") or {}).get("format") or {}
        ask.wants_json = form.get("type") == "json_schema"
        ask.schema = form.get("schema")
        ask.stream = body.get("stream") is True
        ask.cache_marked = ask.cache_marked or bool(body.get("cache_control"))

    def overhead(self, ask: Ask) -> int:
        """Seven tokens of frame; a set of tools brings its own instructions."""
        return 7 + (346 if ask.tools else 0)

    def at_admission(self, ask: Ask, usage: Usage, charge: str) -> int:
        """What is read from the cache does not count towards the input limit."""
        taken = super().at_admission(ask, usage, charge)
        return taken if charge == "chars4" else taken - usage.cached
