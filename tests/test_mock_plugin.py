"""The pytest plugin gives running providers, and costs nothing before it is used."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
USER_TESTS = """
import threading
import urllib.request

from llmbalance.testing import MockProvider

seen = []


def models(provider):
    request = urllib.request.Request(provider.base_url + "/models")
    request.add_header("Authorization", "Bearer k")
    with urllib.request.urlopen(request, timeout=5) as reply:
        return reply.read()


def test_a_provider_runs_with_the_options_it_was_given(llm_provider):
    one = llm_provider("openai", name="one", model="m1", api_key="k")
    two = llm_provider(name="one", model="m2", api_key="k")
    assert b"m1" in models(one) and b"m2" in models(two)
    seen.extend([one, two])


def test_it_is_stopped_afterwards(llm_fleet):
    assert not any(p.running for p in seen)
    assert threading.active_count() == 1
    a, b = MockProvider(name="a"), MockProvider("google", name="b")
    fleet = llm_fleet(a, b)
    assert fleet["a"] is a and b.running
"""
LIGHT = """
import sys
import llmbalance.testing._plugin
import llmbalance.testing
heavy = {m for m in sys.modules if m.startswith("llmbalance.testing.")}
assert heavy == {"llmbalance.testing._plugin"}, heavy
assert "llmbalance._core" not in sys.modules
assert "asyncio" not in sys.modules or "asyncio" in before
assert sorted(llmbalance.testing.__all__) == dir(llmbalance.testing)
for name in llmbalance.testing.__all__:
    assert getattr(llmbalance.testing, name).__name__ == name
assert "llmbalance._core" not in sys.modules
try:
    llmbalance.testing.nothing
except AttributeError as exc:
    assert "no attribute 'nothing'" in str(exc)
else:
    raise AssertionError("an unknown name was found")
"""


def run(*command: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    alone = {"PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    return subprocess.run(
        [sys.executable, "-B", *command],
        cwd=cwd,
        env=os.environ | alone,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_fixtures_start_providers_and_stop_them(tmp_path):
    (tmp_path / "test_user.py").write_text(USER_TESTS)
    plugin = ("-p", "llmbalance.testing._plugin", "-p", "no:cacheprovider")
    done = run("-m", "pytest", "-q", *plugin, str(tmp_path), cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 passed" in done.stdout


def test_importing_the_plugin_imports_no_server(tmp_path):
    first = "import sys, pytest\nbefore = set(sys.modules)\n"
    done = run("-c", first + LIGHT, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
