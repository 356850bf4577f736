"""What every provider offers, as the dialects themselves say it.

python -m llmbalance.providers._features          prints the table in Markdown
"""

from __future__ import annotations

from collections.abc import Mapping

from . import PROVIDERS, dialect

# Feature -> what it is called in the table.
FEATURES: Mapping[str, str] = {
    "stream": "streaming",
    "tools": "tools",
    "tool_choice": "tool choice",
    "parallel_tool_calls": "`parallel_tool_calls`",
    "image_url": "images by URL",
    "image_data": "images as data",
    "input_audio": "audio",
    "file": "files",
    "json_object": "JSON mode",
    "json_schema": "JSON schema",
    "n": "`n` > 1",
    "stop": "`stop`",
    "seed": "`seed`",
    "logprobs": "`logprobs`",
    "reasoning_effort": "reasoning effort",
    "cache_control": "cache marks",
    "service_tier": "service tier",
    "rate_limit_headers": "limits in headers",
    "embeddings": "embeddings",
    "embed_tokens": "embeddings of tokens",
    "health": "free health probe",
    "count_tokens": "token counting",
    "responses": "Responses API",
}
_SIGNS = {"native": "✓", "translated": "→", "refused": ""}


def feature_table() -> str:
    """Features by provider in Markdown: ✓ native, → translated, empty: not offered."""
    classes = [dialect(name) for name in PROVIDERS]
    lines = [
        "| | " + " | ".join(PROVIDERS) + " |",
        "|---" * (len(PROVIDERS) + 1) + "|",
    ]
    for feature, title in FEATURES.items():
        signs = (_SIGNS[cls.supports.get(feature, "refused")] for cls in classes)
        lines.append(f"| {title} | " + " | ".join(signs) + " |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(feature_table(), end="")
