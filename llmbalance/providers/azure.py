"""Azure OpenAI: the same chat completions at three kinds of address.

    https://RES.openai.azure.com/openai/v1/chat/completions          v1, model in body
    https://RES.openai.azure.com/openai/deployments/DEPLOYMENT/...   api_version given
    https://RES.services.ai.azure.com/models/chat/completions        AI services

The model of the backend is the deployment's name; option ``base_model`` says which
OpenAI model is behind it where the name does not, so that its rules are known.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlencode

from .._types import LimitReading, Request
from ._limits import azure_limits
from .openai import OpenAI, adapt_to_model

_SERVICES_VERSION = "2024-05-01-preview"


class Azure(OpenAI):
    """A deployment; option ``api_version`` (or OPENAI_API_VERSION) means classic."""

    name = "azure"
    key_env = ("AZURE_OPENAI_API_KEY", "AZURE_OPENAI_AD_TOKEN")
    base_env = ("AZURE_OPENAI_ENDPOINT",)
    default_base_url = ""

    def _set_base(self, url: str) -> None:
        super()._set_base(url)
        version = self.options.get("api_version") or os.environ.get(
            "OPENAI_API_VERSION"
        )
        if self.path.endswith("/models"):
            version = version or _SERVICES_VERSION
        elif self.path.endswith("/openai/v1") or version in (None, "v1"):
            self.path = self.path.removesuffix("/openai/v1") + "/openai/v1"
            version = None
        elif "/deployments/" not in self.path:
            root = self.path.removesuffix("/openai")
            self.path = f"{root}/openai/deployments/{quote(self.model, safe='')}"
        if version and "api-version=" not in self.query:
            query = urlencode({"api-version": version})
            self.query = f"{self.query}&{query}" if self.query else query

    def auth(self, key: str) -> list[str]:
        """``api-key``; Entra tokens (from a function, or by their look) as bearer."""
        if callable(self.api_key) or key.startswith("eyJ"):
            return [f"Authorization: Bearer {key}"]
        return [f"api-key: {key}"]

    def adapt(self, body: dict[str, Any], warnings: list[str]) -> None:
        """Older deployments know ``max_tokens`` only."""
        super(OpenAI, self).adapt(body, warnings)
        name = str(self.options.get("base_model") or self.model)
        adapt_to_model(self, body, warnings, name=name, tokens="max_tokens")

    def health(self) -> Request | None:
        """The list of models of the resource."""
        path, query = self.path, f"?{self.query}" if self.query else ""
        if "/deployments/" in path:
            path = path.partition("/deployments/")[0]
        elif path.endswith("/models"):
            return Request(method="GET", target=f"{path[:-7]}/models/info{query}")
        return Request(method="GET", target=f"{path}/models{query}")

    def limits(self, headers: Mapping[str, str], now_wall: float) -> list[LimitReading]:
        """OpenAI's names, Azure's units."""
        return azure_limits(headers)
