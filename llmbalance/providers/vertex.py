"""Vertex AI: Gemini and Claude at one address, under Google's access tokens.

Options: ``project`` (or GOOGLE_CLOUD_PROJECT), ``region`` (or GOOGLE_CLOUD_LOCATION,
default "global"). The key is an access token, best given as a function that returns a
fresh one; an API key ("express mode") works for Gemini without a project. Without a key
Google's application default credentials are used (``_google_auth.py``; needs the extra
``vertex``); option ``credentials`` names their file.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, ClassVar
from urllib.parse import quote

from msgspec import Struct

from .._errors import ConfigError, ProtocolError
from .._types import SSE, Call, Embedding, EmbeddingReply, Request, Usage
from ._base import REFUSED, TRANSLATED, Dialect
from ._bodies import decoder, encode, posted
from ._classify import request_id
from ._inputs import inputs_of
from .anthropic import MARKS as CLAUDE_MARKS
from .anthropic import Anthropic
from .google import Google

_CLAUDE_VERSION = "vertex-2023-10-16"


class _Place(Dialect):
    """Where a Vertex dialect is: project, region, and the address they give."""

    def __init__(self, **settings: Any) -> None:
        if settings.get("api_key") is None:
            from ._google_auth import ApplicationDefault  # google-auth takes a while

            path = (settings.get("options") or {}).get("credentials")
            settings["api_key"] = ApplicationDefault(path)
        super().__init__(**settings)

    def request_headers(self) -> list[str]:
        """The token's line, and who pays for calls of a user's own account."""
        lines: list[str] = super().request_headers()
        payer = getattr(self.api_key, "quota_project", "")
        return [*lines, f"x-goog-user-project: {payer}"] if payer else lines

    @property
    def region(self) -> str:
        """The region of the models."""
        named = self.options.get("region") or os.environ.get("GOOGLE_CLOUD_LOCATION")
        return str(named or os.environ.get("CLOUD_ML_REGION") or "global")

    @property
    def project(self) -> str:
        """The project that pays; "" when none is set."""
        named = self.options.get("project") or os.environ.get("GOOGLE_CLOUD_PROJECT")
        named = named or os.environ.get("ANTHROPIC_VERTEX_PROJECT_ID")
        return str(named or getattr(self.api_key, "project", ""))

    def place_url(self) -> str:
        """The address of the region's servers."""
        region = self.region
        if region == "global":
            return "https://aiplatform.googleapis.com"
        if region in ("us", "eu"):
            return f"https://aiplatform.{region}.rep.googleapis.com"
        return f"https://{region}-aiplatform.googleapis.com"

    def models_path(self, publisher: str, version: str) -> str:
        """The path of a publisher's models in this place."""
        base = self.path
        if not base.endswith(("/v1", "/v1beta1")):
            base = f"{base}/{version}"
        if not self.project:
            return f"{base}/publishers/{publisher}/models"
        where = f"projects/{self.project}/locations/{self.region}"
        return f"{base}/{where}/publishers/{publisher}/models"


def _bearer_or_key(key: str) -> list[str]:
    if key.startswith(("AIza", "AQ.")):
        return [f"x-goog-api-key: {key}"]
    return [f"Authorization: Bearer {key}"]


class _Statistics(Struct):
    token_count: float = 0


class _Values(Struct):
    values: list[float] = []
    statistics: _Statistics | None = None


class _Prediction(Struct):
    embeddings: _Values


class _Predictions(Struct):
    predictions: list[_Prediction] = []
    error: Any = None


_decode_predictions = decoder(_Predictions)


class Vertex(_Place, Google):
    """Gemini on Vertex AI; models named claude-... get Anthropic's dialect."""

    name = "vertex"
    key_env = ("CLOUDSDK_AUTH_ACCESS_TOKEN",)
    needs_key = False
    base_env = ("GOOGLE_VERTEX_BASE_URL",)
    supports: ClassVar[Mapping[str, str]] = {
        **Google.supports,
        "image_url": TRANSLATED,
        "health": REFUSED,
    }
    fetches_urls = True

    @classmethod
    def variant(cls, model: str, options: Mapping[str, Any]) -> type[Dialect]:
        """Claude models are spoken to in Anthropic's words."""
        return VertexClaude if "claude" in model else cls

    def base_url(self) -> str:
        """The environment's address, else the region's."""
        return super().base_url() or self.place_url()

    default_base_url = ""

    def auth(self, key: str) -> list[str]:
        """Tokens as bearer, API keys in Google's header."""
        return _bearer_or_key(key)

    def headers(self) -> list[str]:
        """The common lines; without a project only API keys can work."""
        key = self.api_key
        if not self.project and not (isinstance(key, str) and key.startswith("A")):
            raise ConfigError(
                "project", None, "set option project or GOOGLE_CLOUD_PROJECT"
            )
        return super().headers()

    def model_path(self) -> str:
        """The path of the model, up to the colon before the method."""
        models = self.models_path("google", self.options.get("api_version", "v1"))
        return f"{models}/{quote(self.model.removeprefix('models/'), safe='')}"

    def health(self) -> Request | None:
        """Vertex offers no free endpoint for publishers' models."""
        return None

    def count_tokens(self, call: Call) -> Request:
        """Vertex wants the prompt itself where AI Studio wants the whole request."""
        body = self.body(call, [])
        kept = ("contents", "systemInstruction", "tools", "generationConfig")
        counted = {name: body[name] for name in kept if name in body}
        return Request(target=f"{self.model_path()}:countTokens", body=encode(counted))

    def _predicts(self) -> bool:
        """Whether texts are embedded by predict; Gemini's newer models are asked
        like AI Studio's."""
        older = self.model.startswith(("gemini-embedding-001", "gemini-embedding-exp"))
        return older or "gemini" not in self.model

    def embed_limits(self) -> tuple[int, int]:
        """250 texts of 20,000 tokens; of Gemini's 100, or one by one."""
        if not self._predicts():
            return 100, 20_000
        return 1 if "gemini" in self.model else 250, 20_000

    def embed(self, call: Call) -> Request:
        """Write a predict, embedContent or batchEmbedContents request."""
        texts = inputs_of(self, call.input)
        size, task = {}, {}
        warnings: list[str] = []
        for param, value in call.params.items():
            if param == "dimensions" and value is not None:
                size["outputDimensionality"] = value
            elif param in ("task_type", "input_type") and value is not None:
                task["task_type"] = value
            elif value is not None and (param, value) != ("encoding_format", "float"):
                self.leave_out(param, "Vertex has no such parameter", warnings)
        body: dict[str, Any] = {"parameters": size} if size else {}
        if self._predicts():
            method = "predict"
            body["instances"] = [{**task, "content": text} for text in texts]
        else:
            if task:
                size["taskType"] = task["task_type"]
            config = {"embedContentConfig": size} if size else {}
            contents = [{"role": "user", "parts": [{"text": text}]} for text in texts]
            requests = [{"content": content, **config} for content in contents]
            method, body = "batchEmbedContents", {"requests": requests}
            if len(requests) == 1:
                method, body = "embedContent", requests[0]
        target = f"{self.model_path()}:{method}"
        return Request(target=target, body=encode(body), warnings=warnings)

    def embed_reply(
        self, status: int, headers: Mapping[str, str], body: bytes
    ) -> EmbeddingReply:
        """Read predictions, whose statistics say the tokens, or embeddings."""
        if not self._predicts():
            return super().embed_reply(status, headers, body)
        wire = _decode_predictions(body)
        if wire.error:
            raise self.error_inside(headers, body)
        if not wire.predictions:
            raise ProtocolError("the answer has no embeddings", offset=len(body))
        found = [one.embeddings for one in wire.predictions]
        tokens = sum(int(v.statistics.token_count) for v in found if v.statistics)
        return EmbeddingReply(
            data=[Embedding(v.values, at) for at, v in enumerate(found)],
            model=self.model,
            usage=Usage(prompt_tokens=tokens, total_tokens=tokens),
            provider_request_id=request_id(headers),
            raw_body=body,
        )


class VertexClaude(_Place, Anthropic):
    """Claude on Vertex AI: the model in the address, the version in the body."""

    name = "vertex"
    key_env = ("CLOUDSDK_AUTH_ACCESS_TOKEN",)
    needs_key = False
    base_env = ("ANTHROPIC_VERTEX_BASE_URL",)
    default_base_url = ""
    supports: ClassVar[Mapping[str, str]] = {
        **Anthropic.supports,
        "service_tier": REFUSED,
        "rate_limit_headers": REFUSED,
        "health": REFUSED,
    }

    def base_url(self) -> str:
        """The environment's address, else the region's."""
        return super().base_url() or self.place_url()

    def auth(self, key: str) -> list[str]:
        """An access token."""
        return [f"Authorization: Bearer {key}"]

    def headers(self) -> list[str]:
        """The common lines; the version goes into the body."""
        if not self.project:
            raise ConfigError(
                "project", None, "set option project or GOOGLE_CLOUD_PROJECT"
            )
        lines = super().headers()
        return [line for line in lines if not line.startswith("anthropic-version")]

    def _wrap(self, body: dict[str, Any], warnings: list[str]) -> dict[str, Any]:
        if body.pop("service_tier", None) is not None:
            self.leave_out("service_tier", "Vertex has no such parameter", warnings)
        return {"anthropic_version": _CLAUDE_VERSION, **body}

    def chat(self, call: Call) -> Request:
        """Write a message request for rawPredict or streamRawPredict."""
        warnings: list[str] = []
        body = self._wrap(self.body(call, warnings), warnings)
        if call.stream:
            body["stream"] = True
        method = "streamRawPredict" if call.stream else "rawPredict"
        models = self.models_path("anthropic", "v1")
        target = f"{models}/{quote(self.model, safe='@')}:{method}"
        return posted(call, target, body, warnings, SSE, CLAUDE_MARKS)

    def count_tokens(self, call: Call) -> Request:
        """Write a request that counts the prompt's tokens."""
        counted = super().count_tokens(call)
        assert counted is not None
        models = self.models_path("anthropic", "v1")
        return Request(target=f"{models}/count-tokens:rawPredict", body=counted.body)

    def health(self) -> Request | None:
        """Vertex offers no free endpoint for publishers' models."""
        return None
