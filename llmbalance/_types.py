"""The values that travel between caller, router, dialects and transport.

        messages, params                 Request                       bytes
  caller ----------------> Call --dialect--------> engine ---- wire ---->
  caller <- ChatReply / ChatChunk <--dialect-- status, headers, body / events <-

What the caller sees has the shape of OpenAI's chat completions, whoever answered,
with attribute access; fields that only llmbalance fills in stand at the end of each
reply. All are msgspec structs: cheap to make, encodable as JSON.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec
from msgspec import Struct, field

StreamMode = Literal[0, 1, 2, 3]
UNARY: StreamMode = 0
SSE: StreamMode = 1
NDJSON: StreamMode = 2
AWS_FRAMES: StreamMode = 3


def _assistant() -> str:
    return "assistant"


def _function() -> str:
    return "function"


class PromptTokensDetails(Struct, frozen=True, gc=False):
    """Parts of ``Usage.prompt_tokens``, under OpenAI's names."""

    cached_tokens: int = 0
    cache_write_tokens: int = 0
    audio_tokens: int = 0
    image_tokens: int = 0


class CompletionTokensDetails(Struct, frozen=True, gc=False):
    """Parts of ``Usage.completion_tokens``, under OpenAI's names."""

    reasoning_tokens: int = 0
    audio_tokens: int = 0
    image_tokens: int = 0


class Usage(Struct, frozen=True, gc=False, omit_defaults=True):
    """The tokens of one call, as the provider billed them.

    Totals include their parts whatever the provider's own habit: ``prompt_tokens``
    contains cached, written, audio and image tokens, ``completion_tokens`` contains
    reasoning, audio and image tokens, ``cache_write_tokens`` contains the one-hour
    writes. All >= 0.
    """

    prompt_tokens: int = 0
    completion_tokens: int = 0
    total_tokens: int = 0
    cached_tokens: int = 0  # read from the provider's prompt cache
    cache_write_tokens: int = 0  # written to it, all life times
    cache_write_1h_tokens: int = 0  # of these, with a life of one hour
    reasoning_tokens: int = 0
    audio_input_tokens: int = 0
    audio_output_tokens: int = 0
    image_input_tokens: int = 0
    image_output_tokens: int = 0
    web_search_requests: int = 0  # billed by the call, not by the token
    cost_usd: float | None = None  # said by the provider (OpenRouter), else None
    region: str | None = None  # where it ran, said by who bills that (Anthropic)

    @property
    def prompt_tokens_details(self) -> PromptTokensDetails:
        """The prompt's parts, as OpenAI nests them."""
        return PromptTokensDetails(
            self.cached_tokens,
            self.cache_write_tokens,
            self.audio_input_tokens,
            self.image_input_tokens,
        )

    @property
    def completion_tokens_details(self) -> CompletionTokensDetails:
        """The completion's parts, as OpenAI nests them."""
        return CompletionTokensDetails(
            self.reasoning_tokens, self.audio_output_tokens, self.image_output_tokens
        )

    def disjoint(self) -> dict[str, int]:
        """Return the tokens by kind of price; no token is in two kinds.

        Kinds: input, cache_read, cache_write, cache_write_1h, audio_in, image_in,
        output, reasoning, audio_out, image_out. The kinds of the prompt sum to
        ``prompt_tokens``, those of the completion to ``completion_tokens``, unless the
        provider reports more parts than total: then the plain kind is 0.
        """
        write = max(0, self.cache_write_tokens - self.cache_write_1h_tokens)
        inside = (
            self.cached_tokens
            + write
            + self.cache_write_1h_tokens
            + self.audio_input_tokens
            + self.image_input_tokens
        )
        out = self.reasoning_tokens + self.audio_output_tokens
        out += self.image_output_tokens
        return {
            "input": max(0, self.prompt_tokens - inside),
            "cache_read": self.cached_tokens,
            "cache_write": write,
            "cache_write_1h": self.cache_write_1h_tokens,
            "audio_in": self.audio_input_tokens,
            "image_in": self.image_input_tokens,
            "output": max(0, self.completion_tokens - out),
            "reasoning": self.reasoning_tokens,
            "audio_out": self.audio_output_tokens,
            "image_out": self.image_output_tokens,
        }


class Function(Struct, gc=False):
    """The function a model wants called: ``arguments`` is JSON text.

    In a ToolCall of type "custom" it is the free text that OpenAI's custom tools take.
    """

    name: str
    arguments: str = ""


class ToolCall(Struct, omit_defaults=True):
    """One function call asked for by the model."""

    id: str
    function: Function
    type: str = field(default_factory=_function)
    # What the provider needs back with the call, e.g. Google's thought signature:
    # {"google": {"thought_signature": "..."}}.
    extra_content: dict[str, Any] | None = None


class Message(Struct, omit_defaults=True):
    """An assistant's message; may be put into ``messages`` of the next call as is.

    ``reasoning_content`` is the readable part of the reasoning; ``thinking_blocks``
    (Anthropic), ``reasoning_details`` (OpenRouter) and ``extra_content`` (Google) are
    what the provider signed and wants back unchanged in the next turn.
    """

    content: str | None = None
    role: str = field(default_factory=_assistant)
    tool_calls: list[ToolCall] | None = None
    refusal: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None  # some hosts' name for it; moved when read
    thinking_blocks: list[dict[str, Any]] | None = None
    reasoning_details: list[dict[str, Any]] | None = None
    extra_content: dict[str, Any] | None = None
    annotations: list[dict[str, Any]] | None = None
    audio: dict[str, Any] | None = None
    images: list[dict[str, Any]] | None = None  # {"image_url": {"url": "data:..."}}
    parsed: Any = None  # the validated object when a type was asked for


class Choice(Struct):
    """One of the answers.

    ``finish_reason``: stop, length, tool_calls or content_filter, whoever answers.
    """

    message: Message
    index: int = 0
    finish_reason: str | None = None
    logprobs: dict[str, Any] | None = None


class _Routed(Struct, kw_only=True):
    """What the router adds to every reply."""

    backend: str = ""
    cost: float | None = None  # USD; None = price unknown
    cost_nano_usd: int | None = None  # the same, exact
    attempts: list[Any] = []
    decision: Any = None
    warnings: list[str] = []
    experiments: dict[str, str] = {}  # experiment -> the arm this call was dealt
    provider_request_id: str | None = None
    seconds: float | None = None  # from submit to the last byte
    ttft: float | None = None  # seconds to the first token
    raw_body: bytes = b""

    @property
    def raw(self) -> Any:
        """The provider's own answer, decoded now from the bytes that were kept."""
        return msgspec.json.decode(self.raw_body) if self.raw_body else None

    def __repr__(self) -> str:
        shown = (
            f"{name}={value!r}"
            for name in self.__struct_fields__
            if name not in ("raw_body", "decision", "attempts")
            and (value := getattr(self, name)) not in (None, "", [], {})
        )
        return f"{type(self).__name__}({', '.join(shown)})"


class ChatReply(_Routed, kw_only=True):
    """A chat completion, whoever gave it."""

    choices: list[Choice]
    id: str = ""
    object: str = "chat.completion"
    created: int = 0  # epoch seconds
    model: str = ""  # as the provider names the one that answered
    usage: Usage | None = None
    service_tier: str | None = None  # the tier that was billed
    system_fingerprint: str | None = None

    @property
    def text(self) -> str:
        """The text of the first choice; "" when it has none."""
        return (self.choices[0].message.content or "") if self.choices else ""

    @property
    def tool_calls(self) -> list[ToolCall]:
        """The function calls of the first choice; [] when it has none."""
        return (self.choices[0].message.tool_calls or []) if self.choices else []


class FunctionDelta(Struct, gc=False, omit_defaults=True):
    """A fragment of a function call; ``arguments`` fragments are to be joined."""

    name: str | None = None
    arguments: str | None = None


class ToolCallDelta(Struct, omit_defaults=True):
    """A fragment of the tool call number ``index``."""

    index: int | None = None
    id: str | None = None
    function: FunctionDelta | None = None
    type: str | None = None
    extra_content: dict[str, Any] | None = None


class Delta(Struct, omit_defaults=True):
    """What one chunk adds to the message."""

    content: str | None = None
    role: str | None = None
    tool_calls: list[ToolCallDelta] | None = None
    refusal: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None  # some hosts' name for it; moved when read
    thinking_blocks: list[dict[str, Any]] | None = None
    reasoning_details: list[dict[str, Any]] | None = None
    extra_content: dict[str, Any] | None = None
    audio: dict[str, Any] | None = None
    images: list[dict[str, Any]] | None = None


class ChunkChoice(Struct):
    """The part of one choice in a chunk."""

    delta: Delta
    index: int = 0
    finish_reason: str | None = None
    logprobs: dict[str, Any] | None = None


class ChatChunk(Struct, kw_only=True):
    """A piece of a streamed chat completion.

    Every chunk but the last carries content. The last one carries the finish reason
    of every choice, the usage and what the router knows: cost, backend, attempts.
    """

    choices: list[ChunkChoice]
    id: str = ""
    object: str = "chat.completion.chunk"
    created: int = 0
    model: str = ""
    usage: Usage | None = None
    service_tier: str | None = None
    system_fingerprint: str | None = None
    backend: str = ""
    cost: float | None = None
    cost_nano_usd: int | None = None
    attempts: list[Any] = []
    decision: Any = None
    warnings: list[str] = []
    experiments: dict[str, str] = {}
    parsed: Any = None  # in the last chunk, the object when a type was asked for

    @property
    def text(self) -> str:
        """The text this chunk adds to the first choice; "" when it adds none."""
        for choice in self.choices:
            if choice.index == 0:
                return choice.delta.content or ""
        return ""


class Embedding(Struct):
    """The vector of input number ``index``; base64 text when that was asked for."""

    embedding: list[float] | str
    index: int = 0
    object: str = "embedding"


class EmbeddingReply(_Routed, kw_only=True):
    """Embeddings in the order of the inputs, whoever gave them."""

    data: list[Embedding]
    object: str = "list"
    model: str = ""
    usage: Usage | None = None

    @property
    def vectors(self) -> list[list[float] | str]:
        """The vectors alone, in the order of the inputs."""
        return [item.embedding for item in self.data]


class Call(Struct, kw_only=True):
    """One call as the caller means it, before any dialect.

    ``params`` holds OpenAI's parameter names without messages, model and stream;
    a value of None means "not given".
    """

    kind: Literal["chat", "embed"] = "chat"
    model: str = ""
    messages: Sequence[Mapping[str, Any] | Message] = ()
    params: Mapping[str, Any] = {}
    stream: bool = False
    input: str | Sequence[Any] = ()


class Request(Struct, kw_only=True):
    """One HTTP request as a value: what the engine sends.

    ``target`` is path and query; ``headers`` are lines added to the connection's own;
    ``stream`` says how to cut the answer into events (0 whole, 1 server-sent events,
    2 JSON lines, 3 AWS frames); an event that contains one of ``marks`` carries
    content; ``warnings`` say what the translation had to leave out; ``region`` is where
    it asks to be served, if that has a price and the answer may not tell it.
    """

    method: str = "POST"
    target: str
    headers: list[str] = []
    body: bytes = b""
    stream: StreamMode = UNARY
    marks: tuple[bytes, ...] = ()
    warnings: list[str] = []
    region: str | None = None


LimitKind = Literal["requests", "tokens", "input_tokens", "output_tokens"]


class LimitReading(Struct, frozen=True, gc=False):
    """What a provider's headers say of one rate limit; None = not said.

    ``reset_seconds`` is the time from now until the limit is wholly free again,
    ``window_seconds`` the period the limit is counted over.
    """

    kind: LimitKind
    limit: float | None = None
    remaining: float | None = None
    reset_seconds: float | None = None
    window_seconds: float | None = None


class Failure(Struct, kw_only=True):
    """An error answer, understood.

    ``kind`` is a row of the table in ``llmbalance/providers/_failures.py``;
    ``retry_after`` in seconds, None when nothing was said.
    """

    kind: str
    message: str
    status: int = 0
    code: str | None = None
    request_id: str | None = None
    retry_after: float | None = None
    limits: list[LimitReading] = []
