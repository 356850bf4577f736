"""./dev: its help is true, and what it cannot do it says with exit code 2."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

DEV = Path(__file__).parents[1] / "dev"


def dev(*arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(DEV), *arguments], env=os.environ | env, capture_output=True, text=True
    )


def test_without_a_command_the_help_is_shown() -> None:
    shown = dev()
    assert shown.returncode == 0
    assert shown.stdout == dev("help").stdout
    assert shown.stdout.startswith("usage: ./dev COMMAND")


def test_the_help_lists_every_command_and_no_other() -> None:
    listed = set(re.findall(r"^  (\w+)", dev("help").stdout, re.M))
    script = DEV.read_text()
    (choices,) = re.findall(r"^(demo \| .*)\)$", script, re.M)
    assert listed == {*choices.split(" | "), "build", "help"}
    functions = set(re.findall(r"^do_(\w+)\(\)", script, re.M))
    assert functions == set(choices.split(" | "))


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["nonsense"], "no command 'nonsense'"),
        (["test", "--python", "3.10"], "--python '3.10'"),
        (["test", "--python"], "--python ''"),
        (["bench", "nonsense"], "no benchmark 'nonsense'"),
    ],
)
def test_what_it_does_not_know_is_named(arguments: list[str], named: str) -> None:
    refused = dev(*arguments)
    assert refused.returncode == 2
    assert named in refused.stderr
    assert refused.stdout == ""
