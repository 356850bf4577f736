"""Claude by Bedrock's InvokeModel: Anthropic's own request in Bedrock's frames."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import ClassVar
from urllib.parse import quote

import msgspec

from .._types import AWS_FRAMES, Call, ChatChunk, Request
from ._aws import Aws
from ._base import REFUSED, StreamReader
from ._bedrock_wire import decode_chunk
from ._bodies import encode, posted, unreadable
from .anthropic import Anthropic, AnthropicStream

MARKS = (b'"bytes"',)
_VERSION = "bedrock-2023-05-31"


class BedrockClaude(Aws, Anthropic):
    """Claude by InvokeModel: Anthropic's own request, Bedrock's frames."""

    name = "bedrock"
    key_env = ("AWS_BEARER_TOKEN_BEDROCK",)
    base_env = ("ANTHROPIC_BEDROCK_BASE_URL", "AWS_ENDPOINT_URL_BEDROCK_RUNTIME")
    default_base_url = ""
    needs_key = False
    supports: ClassVar[Mapping[str, str]] = {
        **Anthropic.supports,
        "image_url": REFUSED,
        "service_tier": REFUSED,
        "rate_limit_headers": REFUSED,
        "health": REFUSED,
    }

    def base_url(self) -> str:
        """The environment's address, else the region's."""
        return super().base_url() or self.region_url()

    def auth(self, key: str) -> list[str]:
        """A Bedrock API key."""
        return [f"Authorization: Bearer {key}"]

    def headers(self) -> list[str]:
        """The common lines; version and betas go into the body."""
        lines = super().headers()
        return [line for line in lines if not line.startswith("anthropic-")]

    def chat(self, call: Call) -> Request:
        """Write an invoke request; model and stream stand in the address."""
        warnings: list[str] = []
        body = {"anthropic_version": _VERSION, **self.body(call, warnings)}
        if body.pop("service_tier", None) is not None:
            self.leave_out("service_tier", "Bedrock has no such parameter", warnings)
        betas = self.options.get("betas")
        if betas:
            names = betas.split(",") if isinstance(betas, str) else list(betas)
            body["anthropic_beta"] = names
        method = "invoke-with-response-stream" if call.stream else "invoke"
        target = f"{self.path}/model/{quote(self.model, safe='')}/{method}"
        return posted(call, target, body, warnings, AWS_FRAMES, MARKS)

    def count_tokens(self, call: Call) -> Request:
        """Write a request that counts the prompt's tokens, free of charge."""
        body = encode({"anthropic_version": _VERSION, **self.body(call, [])})
        inner = {"body": base64.b64encode(body).decode()}
        return Request(
            target=f"{self.path}/model/{quote(self.model, safe='')}/count-tokens",
            body=encode({"input": {"invokeModel": inner}}),
        )

    def health(self) -> Request | None:
        """Bedrock's runtime offers no free endpoint."""
        return None

    def stream(self) -> StreamReader:
        """A reader of Anthropic's events in Bedrock's frames."""
        return BedrockClaudeStream(self)


class BedrockClaudeStream(AnthropicStream):
    """Takes Anthropic's events out of ``{"bytes": base64}``."""

    def feed(self, event: str, data: bytes) -> list[ChatChunk]:
        """Read one frame."""
        if event.startswith(("exception:", "error:")):
            headers = {"x-amzn-errortype": event.partition(":")[2]}
            raise self.dialect.error_inside(headers, data)
        try:
            inner = base64.b64decode(decode_chunk(data).bytes)
        except (msgspec.DecodeError, ValueError) as error:
            raise unreadable(data, error) from None
        return super().feed("", inner) if inner else []
