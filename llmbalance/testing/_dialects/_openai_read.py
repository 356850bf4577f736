"""Reading OpenAI's requests: chat completions, embeddings, models."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from .._exchange import Ask, Refused
from ._base import Dialect, Target, bad, decode_object, integer, read_tool
from ._responses import read_responses


class OpenAIReader(Dialect):
    """The half of the dialect that understands requests."""

    prefix: ClassVar[str] = "/v1"

    def authorise(self, headers: Mapping[str, str], target: Target) -> None:
        if self.api_key is None:
            return
        given = headers.get("authorization", "")
        if not given:
            raise Refused("auth_missing")
        if given != f"Bearer {self.api_key}":
            raise Refused("auth")

    def read(self, target: Target, headers: Mapping[str, str], body: bytes) -> Ask:
        path = target.path.removeprefix(self.prefix)
        if target.method == "GET" and path == "/models":
            return Ask("models")
        if target.method == "GET" and path.startswith("/models/"):
            self.check_model(path[8:])
            return Ask("models", path[8:])
        if target.method == "POST" and path == "/chat/completions":
            return self.read_chat(decode_object(body))
        if target.method == "POST" and path == "/responses":
            given = decode_object(body)
            return read_responses(Ask("chat", self.read_model(given), given), given)
        if target.method == "POST" and path == "/embeddings":
            return self.read_embed(decode_object(body))
        raise Refused("no_route", f"{target.method} {target.path}")

    def read_model(self, body: dict[str, Any]) -> str:
        model = body.get("model")
        if not isinstance(model, str) or not model:
            bad("you must provide a model parameter")
        self.check_model(model)
        return model

    def read_chat(self, body: dict[str, Any]) -> Ask:
        ask = Ask("chat", self.read_model(body), body)
        messages = body.get("messages")
        if not isinstance(messages, list):
            bad("Missing required parameter: 'messages'.", "messages")
        if not messages:
            bad("Invalid 'messages': empty array. Expected length 1.", "messages")
        ask.messages = len(messages)
        for i, message in enumerate(messages):
            self.read_message(ask, message, i)
        for tool in body.get("tools") or ():
            function = tool.get("function") if isinstance(tool, dict) else None
            if not isinstance(function, dict):
                bad("Missing required parameter: 'tools[0].function'.", "tools")
            name, about = function.get("name"), function.get("description")
            read_tool(ask, name, about, function.get("parameters"))
        self.read_options(ask, body)
        return ask

    def read_message(self, ask: Ask, message: Any, i: int) -> None:
        where = f"messages[{i}]"
        if not isinstance(message, dict) or not isinstance(message.get("role"), str):
            bad(f"Missing required parameter: '{where}.role'.", f"{where}.role")
        content, text = message.get("content"), ""
        if isinstance(content, str):
            text = content
            ask.read(text)
        elif isinstance(content, list):
            for part in content:
                kind = part.get("type") if isinstance(part, dict) else None
                if kind in ("text", "refusal") and isinstance(part.get(kind), str):
                    text += part[kind]
                    ask.read(part[kind])
                elif kind in ("image_url", "input_audio", "file"):
                    ask.images += 1
                else:
                    param = f"{where}.content"
                    bad(f"Invalid value: '{kind}' in '{param}'.", param)
        elif content is not None or message["role"] not in ("assistant", "function"):
            param = f"{where}.content"
            bad(
                f"Invalid value for 'content' in '{where}': a string or an array.",
                param,
            )
        for call in message.get("tool_calls") or ():
            function = call.get("function") or {}
            ask.read(str(function.get("name")) + str(function.get("arguments")))
        ask.prefixes += (text,)
        if message["role"] == "user":
            ask.prompt = text

    def read_options(self, ask: Ask, body: dict[str, Any]) -> None:
        limit = body.get("max_completion_tokens")
        if limit is None:
            ask.max_tokens = integer(body.get("max_tokens"), "max_tokens")
        else:
            ask.max_tokens = integer(limit, "max_completion_tokens")
        ask.n = integer(body.get("n"), "n") or 1
        if ask.n > 128:
            bad("Invalid 'n': expected a value <= 128.", "n")
        temperature = body.get("temperature")
        if temperature is not None and not 0 <= temperature <= 2:
            bad("Invalid 'temperature': expected a value in 0..2.", "temperature")
        stop = body.get("stop")
        ask.stop = (stop,) if isinstance(stop, str) else tuple(stop or ())
        choice = body.get("tool_choice")
        if choice == "required":
            ask.must_call = ""
        elif isinstance(choice, dict):
            ask.must_call = (choice.get("function") or {}).get("name", "")
        form = body.get("response_format") or {}
        ask.wants_json = form.get("type") in ("json_object", "json_schema")
        ask.schema = (form.get("json_schema") or {}).get("schema")
        ask.stream = body.get("stream") is True
        options = body.get("stream_options") or {}
        ask.include_usage = options.get("include_usage") is True

    def read_embed(self, body: dict[str, Any]) -> Ask:
        ask = Ask("embed", self.read_model(body), body)
        given = body.get("input")
        texts = [given] if isinstance(given, str) else given
        if not isinstance(texts, list) or not texts:
            bad("Invalid 'input': give a string or an array.", "input")
        if all(isinstance(t, int) for t in texts):
            texts = [texts]
        size = integer(body.get("dimensions"), "dimensions")
        if size is not None and not 0 < size <= 4096:
            bad("Invalid 'dimensions': expected a value in 1..4096.", "dimensions")
        for text in texts:
            if isinstance(text, list):  # token ids: one token, four bytes
                text = "".join(f"{t % 10000:04d}" for t in text)
            if not isinstance(text, str) or not text:
                bad("Invalid 'input': empty or not a text.", "input")
            ask.read(text)
            ask.inputs += (text,)
        return ask

    def overhead(self, ask: Ask) -> int:
        return 0 if ask.kind == "embed" else 4 * ask.messages + 3
