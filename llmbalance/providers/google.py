"""Google's generateContent, as AI Studio serves it (Vertex AI: ``vertex.py``).

    OpenAI                               Gemini
    system / developer messages     ->   systemInstruction
    assistant                       ->   role "model"
    tool message                    ->   functionResponse part, matched by name
    tool_calls                      ->   functionCall parts, args as an object
    response_format                 ->   responseMimeType, responseJsonSchema
    reasoning_effort                ->   thinkingLevel (3.x) or thinkingBudget (2.5)

Function calls carry a thought signature which the next turn must bring back; it
travels as ``tool_call.extra_content["google"]["thought_signature"]``, the name Google's
own OpenAI endpoint uses. Requests are in ``_google_request.py``.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, ClassVar
from urllib.parse import quote

from .._errors import ProtocolError
from .._types import (
    SSE,
    Call,
    ChatChunk,
    ChatReply,
    Choice,
    ChunkChoice,
    Delta,
    Embedding,
    EmbeddingReply,
    Function,
    FunctionDelta,
    Message,
    Request,
    ToolCall,
    ToolCallDelta,
)
from ._base import NATIVE, REFUSED, TRANSLATED, Dialect, StreamReader
from ._bodies import encode, json_text, posted
from ._classify import request_id
from ._google_request import write_body
from ._google_wire import (
    WireBlob,
    WireCandidate,
    WirePart,
    WireReply,
    WireUsage,
    decode_embeddings,
    decode_reply,
)
from ._inputs import inputs_of
from ._reasons import ended, is_something

MARKS = (b'"text"', b'"functionCall"', b'"inlineData"', b'"finishReason"', b'"error"')

FINISH_REASONS: Mapping[str, str] = {
    "STOP": "stop",
    "MAX_TOKENS": "length",
    "SAFETY": "content_filter",
    "RECITATION": "content_filter",
    "BLOCKLIST": "content_filter",
    "PROHIBITED_CONTENT": "content_filter",
    "SPII": "content_filter",
    "IMAGE_SAFETY": "content_filter",
    "IMAGE_PROHIBITED_CONTENT": "content_filter",
    "IMAGE_RECITATION": "content_filter",
    "MODEL_ARMOR": "content_filter",
    "ESCALATION": "content_filter",
    "PUP_LIMITED_DISABLED": "content_filter",
    "CONTINUATION": "length",  # the request's own limit; raw has the token to go on
    # With enum-encoding=int; the numbers above 4 differ between Google's two APIs, and
    # none of them means that an answer is whole.
    "1": "stop",
    "2": "length",
    "3": "content_filter",
    "4": "content_filter",
}
FAILURES = frozenset(
    (
        *("LANGUAGE", "OTHER", "MALFORMED_FUNCTION_CALL", "IMAGE_OTHER", "NO_IMAGE"),
        *("UNEXPECTED_TOOL_CALL", "TOO_MANY_TOOL_CALLS", "MALFORMED_RESPONSE"),
        "MISSING_THOUGHT_SIGNATURE",
    )
)


class Google(Dialect):
    """generativelanguage.googleapis.com with an API key.

    Options: ``api_version`` (v1beta), ``safety_settings`` (Google's own list),
    ``schema`` = "openapi" for servers that know no JSON Schema.
    """

    name = "google"
    key_env: ClassVar[tuple[str, ...]] = ("GOOGLE_API_KEY", "GEMINI_API_KEY")
    base_env: ClassVar[tuple[str, ...]] = ("GOOGLE_GEMINI_BASE_URL",)
    default_base_url = "https://generativelanguage.googleapis.com"
    supports: ClassVar[Mapping[str, str]] = {
        "stream": NATIVE,
        "tools": TRANSLATED,
        "tool_choice": TRANSLATED,
        "parallel_tool_calls": REFUSED,
        "image_url": REFUSED,
        "image_data": TRANSLATED,
        "input_audio": TRANSLATED,
        "file": TRANSLATED,
        "json_object": TRANSLATED,
        "json_schema": TRANSLATED,
        "n": TRANSLATED,
        "stop": TRANSLATED,
        "seed": TRANSLATED,
        "logprobs": TRANSLATED,
        "reasoning_effort": TRANSLATED,
        "cache_control": REFUSED,
        "service_tier": TRANSLATED,
        "rate_limit_headers": REFUSED,
        "embeddings": TRANSLATED,
        "health": NATIVE,
        "count_tokens": NATIVE,
    }
    fetches_urls = False  # Vertex fetches http URLs of images; AI Studio does not

    def auth(self, key: str) -> list[str]:
        """The header; as ``?key=`` it would leak into logs."""
        return [f"x-goog-api-key: {key}"]

    def model_path(self) -> str:
        """The path of the model, up to the colon before the method."""
        version = self.options.get("api_version", "v1beta")
        base = self.path
        if not base.endswith(("/v1", "/v1beta", "/v1alpha", f"/{version}")):
            base = f"{base}/{version}"
        name = self.model.removeprefix("models/")
        if name.startswith("tunedModels/"):
            return f"{base}/{quote(name)}"
        return f"{base}/models/{quote(name, safe='')}"

    def body(self, call: Call, warnings: list[str]) -> dict[str, Any]:
        """What is asked of the model, as Google writes it."""
        return write_body(self, call, warnings, fetches_urls=self.fetches_urls)

    def chat(self, call: Call) -> Request:
        """Write a generateContent request; streams use a method of their own."""
        warnings: list[str] = []
        body = self.body(call, warnings)
        method = "streamGenerateContent?alt=sse" if call.stream else "generateContent"
        target = f"{self.model_path()}:{method}"
        return posted(call, target, body, warnings, SSE, MARKS)

    def count_tokens(self, call: Call) -> Request:
        """Write a request that counts the prompt's tokens, free of charge."""
        body = self.body(call, [])
        whole = {"model": f"models/{self.model.removeprefix('models/')}", **body}
        return Request(
            target=f"{self.model_path()}:countTokens",
            body=encode({"generateContentRequest": whole}),
        )

    def embed_limits(self) -> tuple[int, int]:
        """A batch has at most 100 texts."""
        return 100, 300_000

    def embed(self, call: Call) -> Request:
        """Write a batchEmbedContents request of at most 100 texts."""
        texts = inputs_of(self, call.input)
        name = f"models/{self.model.removeprefix('models/')}"
        warnings: list[str] = []
        common: dict[str, Any] = {"model": name}
        for param, value in call.params.items():
            if param == "dimensions" and value is not None:
                common["outputDimensionality"] = value
            elif param in ("task_type", "input_type") and value is not None:
                common["taskType"] = value
            elif value is not None and (param, value) != ("encoding_format", "float"):
                self.leave_out(param, "Google has no such parameter", warnings)
        requests = [{**common, "content": {"parts": [{"text": t}]}} for t in texts]
        return Request(
            target=f"{self.model_path()}:batchEmbedContents",
            body=encode({"requests": requests}),
            warnings=warnings,
        )

    def health(self) -> Request | None:
        """The model's own description: free, and it proves key and model."""
        return Request(method="GET", target=self.model_path())

    def chat_reply(
        self, status: int, headers: Mapping[str, str], body: bytes
    ) -> ChatReply:
        """Read a complete answer; a blocked prompt is a content_filter finish."""
        wire = decode_reply(body)
        if wire.error:
            raise self.error_inside(headers, body)
        warnings: list[str] = []
        choices = [self._choice(one, headers, warnings) for one in wire.candidates]
        if not choices:
            choices = [_blocked(wire)]
        usage = wire.usage_metadata
        return ChatReply(
            choices=choices,
            id=wire.response_id,
            created=int(time.time()),
            model=wire.model_version or self.model,
            usage=usage.usage() if usage is not None else None,
            service_tier=billed_tier(usage, headers),
            provider_request_id=request_id(headers),
            warnings=warnings,
            raw_body=body,
        )

    def _choice(
        self, candidate: WireCandidate, headers: Mapping[str, str], warnings: list[str]
    ) -> Choice:
        text: list[str] = []
        thoughts: list[str] = []
        calls: list[ToolCall] = []
        message = Message()
        for part in candidate.content.parts if candidate.content is not None else ():
            signature = _signature(part.thought_signature)
            if part.function_call is not None:
                call, number = part.function_call, len(calls)
                function = Function(call.name, json_text(call.args) or "{}")
                identity = call.id or f"call_{number}_{call.name}"
                calls.append(ToolCall(identity, function, extra_content=signature))
                continue
            if part.text is not None:
                (thoughts if part.thought else text).append(part.text)
            elif part.inline_data is not None:
                image = _image(part.inline_data, signature)
                message.images = [*(message.images or ()), image]
                continue
            if signature is not None:
                message.extra_content = signature
        message.content = "".join(text) if text or not calls else None
        message.tool_calls = calls or None
        message.reasoning_content = "".join(thoughts) or None
        reason = self.finish(
            candidate,
            warnings,
            came=is_something(message),
            called=bool(calls),
            headers=headers,
        )
        if reason is None:
            raise ProtocolError("the answer has no finish reason")
        if reason == "content_filter":
            message.refusal = candidate.finish_message or str(candidate.finish_reason)
        found = candidate.logprobs_result
        logprobs = found.logprobs() if found is not None else None
        return Choice(message, candidate.index, reason, logprobs)

    def finish(
        self,
        candidate: WireCandidate,
        warnings: list[str],
        *,
        came: bool,
        called: bool,
        headers: Mapping[str, str] | None = None,
    ) -> str | None:
        """OpenAI's finish reason; raises where Google's tells of a failure.

        None: there is none yet; ``came``, ``called``: as for ``ended``.
        """
        said = candidate.finish_reason
        if said is None or said in ("FINISH_REASON_UNSPECIFIED", 0):
            return None
        word = str(said)
        reason = ended(
            self,
            word,
            FINISH_REASONS,
            (word,) if word.isdigit() else FAILURES,
            warnings,
            came=came,
            called=called,
            detail=candidate.finish_message,
            headers=headers,
        )
        return "tool_calls" if reason == "stop" and called else reason

    def embed_reply(
        self, status: int, headers: Mapping[str, str], body: bytes
    ) -> EmbeddingReply:
        """Read embeddings; not all of Google's models report usage for them."""
        wire = decode_embeddings(body)
        if wire.error:
            raise self.error_inside(headers, body)
        vectors = wire.embeddings or ([wire.embedding] if wire.embedding else [])
        if not vectors:
            raise ProtocolError("the answer has no embeddings", offset=len(body))
        data = [Embedding(v.values, at) for at, v in enumerate(vectors)]
        return EmbeddingReply(
            data=data,
            model=self.model,
            usage=wire.usage_metadata.usage() if wire.usage_metadata else None,
            provider_request_id=request_id(headers),
            raw_body=body,
        )

    def stream(self) -> StreamReader:
        """A reader of Google's chunks."""
        return GoogleStream(self)


def _blocked(wire: WireReply) -> Choice:
    feedback = wire.prompt_feedback
    if feedback is None or feedback.block_reason is None:
        raise ProtocolError("the answer has no candidates")
    refusal = feedback.block_reason_message or str(feedback.block_reason)
    return Choice(Message("", refusal=refusal), 0, "content_filter")


def billed_tier(usage: WireUsage | None, headers: Mapping[str, str]) -> str | None:
    """The service tier that was used, from the answer or its headers."""
    said = usage.tier() if usage is not None else None
    return said or headers.get("x-gemini-service-tier")


def _signature(signature: str | None) -> dict[str, Any] | None:
    return {"google": {"thought_signature": signature}} if signature else None


def _image(blob: WireBlob, signature: dict[str, Any] | None) -> dict[str, Any]:
    url = f"data:{blob.mime};base64,{blob.data}"
    image: dict[str, Any] = {"type": "image_url", "image_url": {"url": url}}
    if signature is not None:
        image["extra_content"] = signature
    return image


class GoogleStream(StreamReader):
    """Reads Google's chunks: whole parts, running usage, no end mark."""

    dialect: Google

    def __init__(self, dialect: Google) -> None:
        super().__init__(dialect)
        self._calls: dict[int, int] = {}  # choice -> tool calls so far

    def feed(self, event: str, data: bytes) -> list[ChatChunk]:
        """Read one chunk."""
        wire = decode_reply(data)
        if wire.error:
            raise self.dialect.error_inside({}, data)
        if not self.id:
            self.id = wire.response_id
            self.model = wire.model_version or self.dialect.model
            self.created = int(time.time())
        if wire.usage_metadata is not None:
            self.usage = wire.usage_metadata.usage()
            self.service_tier = billed_tier(wire.usage_metadata, {})
        choices: list[ChunkChoice] = []
        for candidate in wire.candidates:
            choices += self._choice(candidate)
        feedback = wire.prompt_feedback
        if feedback is not None and feedback.block_reason is not None:
            blocked = _blocked(wire)
            self.reasons[0] = "content_filter"
            choices.append(ChunkChoice(Delta(refusal=blocked.message.refusal)))
        return self.chunk(choices) if choices else []

    def _choice(self, candidate: WireCandidate) -> list[ChunkChoice]:
        index = candidate.index
        deltas = []
        for part in candidate.content.parts if candidate.content is not None else ():
            delta = self._delta(index, part)
            if delta is not None:
                deltas.append(ChunkChoice(delta, index))
        found = candidate.logprobs_result
        if found is not None:
            if not deltas:
                deltas.append(ChunkChoice(Delta(), index))
            deltas[0].logprobs = found.logprobs()
        reason = self.dialect.finish(
            candidate,
            self.warnings,
            came=self._started or bool(deltas),
            called=index in self._calls,
        )
        if reason is not None:
            self.reasons[index] = reason
            if reason == "content_filter":
                refusal = candidate.finish_message or str(candidate.finish_reason)
                deltas.append(ChunkChoice(Delta(refusal=refusal), index))
        return deltas

    def _delta(self, index: int, part: WirePart) -> Delta | None:
        signature = _signature(part.thought_signature)
        if part.function_call is not None:
            call, number = part.function_call, self._calls.get(index, 0)
            self._calls[index] = number + 1
            function = FunctionDelta(call.name, json_text(call.args) or "{}")
            identity = call.id or f"call_{number}_{call.name}"
            piece = ToolCallDelta(number, identity, function, "function", signature)
            return Delta(tool_calls=[piece])
        if part.text:
            if part.thought:
                return Delta(reasoning_content=part.text, extra_content=signature)
            return Delta(part.text, extra_content=signature)
        if part.inline_data is not None:
            return Delta(images=[_image(part.inline_data, signature)])
        return Delta(extra_content=signature) if signature is not None else None
