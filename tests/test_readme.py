"""What the README shows runs as it stands, against mock providers."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

README = (Path(__file__).parents[1] / "README.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.S)


def test_the_first_example_is_short_and_runs(llm_provider, monkeypatch, capsys):
    code = BLOCKS[0]
    assert len(code.splitlines()) <= 15
    for vendor, model in (("openai", "gpt-4o"), ("anthropic", "claude-sonnet-4-5")):
        provider = llm_provider(vendor, model=model)
        monkeypatch.setenv(f"{vendor.upper()}_API_KEY", "test-key")
        monkeypatch.setenv(f"{vendor.upper()}_BASE_URL", provider.base_url)
    exec(compile(code, "README.md", "exec"), {})
    assert "success_rate" in capsys.readouterr().out


def test_every_command_of_the_first_screen_exists():
    dev = (Path(__file__).parents[1] / "dev").read_text()
    for command in re.findall(r"^\./dev (\w+)", README, re.M):
        assert f"\n  {command} " in dev


@pytest.mark.parametrize("code", BLOCKS)
def test_every_example_is_python(code):
    compile(code, "README.md", "exec")
