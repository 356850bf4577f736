"""Where and as whom Bedrock's dialects speak: region, address, credentials."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from .._errors import ConfigError


class Aws:
    """Where and as whom a Bedrock dialect speaks."""

    options: Mapping[str, Any]
    api_key: Any

    @property
    def region(self) -> str:
        """The region; ConfigError when none is set."""
        named = self.options.get("region") or os.environ.get("AWS_REGION")
        named = named or os.environ.get("AWS_DEFAULT_REGION")
        if not named:
            raise ConfigError("region", None, "set options region or AWS_REGION")
        return str(named)

    def region_url(self) -> str:
        """The address of the region's runtime."""
        return f"https://bedrock-runtime.{self.region}.amazonaws.com"

    def sigv4(self) -> tuple[str, str] | None:
        """Credentials to sign with, when there is no API key."""
        if self.api_key:
            return None
        found = self._credentials()
        if not found[0] or not found[1]:
            raise ConfigError(
                "api_key",
                None,
                "set AWS_BEARER_TOKEN_BEDROCK, or AWS_ACCESS_KEY_ID and "
                "AWS_SECRET_ACCESS_KEY",
            )
        credentials = ":".join(part for part in found if part)
        return f"aws:amz:{self.region}:bedrock", credentials

    def secrets(self) -> tuple[str, ...]:
        """What no message may repeat: AWS quotes signed headers in its errors."""
        known = self.api_key if isinstance(self.api_key, str) else ""
        _, *hidden = self._credentials()
        return tuple(part for part in (known, *hidden) if part)

    def _credentials(self) -> list[str]:
        """Access key, secret key and session token; "" for what is not set."""
        return [
            str(self.options.get(option) or os.environ.get(variable) or "")
            for option, variable in (
                ("access_key", "AWS_ACCESS_KEY_ID"),
                ("secret_key", "AWS_SECRET_ACCESS_KEY"),
                ("session_token", "AWS_SESSION_TOKEN"),
            )
        ]
