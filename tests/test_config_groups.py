"""[defaults.group]: what every group of a configuration file starts with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from llmbalance import ConfigFileError, Hedge, Router
from llmbalance._configfile._load import Plan, load

BACKENDS = """
[[backend]]
model = "ollama/a"
groups = ["big", "small"]
[[backend]]
model = "ollama/b"
groups = ["small"]
quality = 9
[[backend]]
model = "ollama/r"
groups = ["rescue"]
quality = 9
"""


def plan_of(folder: Path, text: str) -> Plan:
    file = folder / "llmbalance.toml"
    file.write_text(text + BACKENDS, "utf-8")
    return load(file)


def groups(plan: Plan) -> dict[str, Any]:
    return {group.name: group for group in plan.options["groups"]}


def faults(folder: Path, text: str) -> list[tuple[int, str, str]]:
    with pytest.raises(ConfigFileError) as caught:
        plan_of(folder, text)
    return [(e.line, e.field, e.message) for e in caught.value.errors]


def test_every_group_starts_with_the_defaults_whether_it_has_a_table_or_not(
    tmp_path: Path,
) -> None:
    plan = plan_of(
        tmp_path,
        """
[defaults.group]
max_attempts = 2
timeout = 20
attempts = { rate_limit = 4, auth = 1 }
hedge = { budget = 0.1, after = 2.0 }

[group.big]
timeout = 5
attempts = { auth = 3 }
hedge = { after = 1.0 }

[group.small]
hedge = false
""",
    )
    big, small, rescue = (groups(plan)[name] for name in ("big", "small", "rescue"))
    assert (big.max_attempts, big.timeout) == (2, 5)
    assert (small.max_attempts, small.timeout) == (2, 20)
    assert (rescue.max_attempts, rescue.timeout) == (2, 20)
    assert big.attempts == {"rate_limit": 4, "auth": 3}
    assert big.hedge == Hedge(budget=0.1, after=1.0)
    assert small.hedge is False
    router = Router.from_file(tmp_path / "llmbalance.toml")
    fleet = router._fleet
    terms = fleet.group_terms[fleet.group("rescue")]
    assert (terms.max_attempts, terms.timeout) == (2, 20)


def test_without_defaults_groups_without_a_table_have_no_settings(
    tmp_path: Path,
) -> None:
    assert groups(plan_of(tmp_path, "[group.big]\ntimeout = 5\n")).keys() == {"big"}


def test_the_group_that_others_fall_back_to_does_not_fall_back_to_itself(
    tmp_path: Path,
) -> None:
    plan = plan_of(
        tmp_path,
        '[defaults.group]\nfallbacks = ["rescue"]\n[group.small]\nfallbacks = []\n',
    )
    chains = {name: list(group.fallbacks) for name, group in groups(plan).items()}
    assert chains == {"big": ["rescue"], "small": [], "rescue": []}


def test_fallbacks_of_all_may_be_other_names_of_groups(tmp_path: Path) -> None:
    text = '[defaults.group]\nfallbacks = ["help"]\n[router.aliases]\nhelp = "rescue"\n'
    assert groups(plan_of(tmp_path, text))["big"].fallbacks == ("help",)


def test_quality_that_all_groups_need(tmp_path: Path) -> None:
    plan_of(
        tmp_path,
        "[defaults.group]\nmin_quality = 9\n[group.big]\nmin_quality = 0\n",
    )
    router = Router.from_file(tmp_path / "llmbalance.toml")
    rows = router.explain("small", "hello").rows()
    assert [row["backend"] for row in rows] == ["ollama/b"]


@pytest.mark.parametrize(
    ("line", "field", "why"),
    [
        ("timout = 5", "defaults.group.timout", "did you mean 'timeout'?"),
        ('timeout = "x"', "defaults.group.timeout", "Expected"),
        ("max_attempts = 0", "defaults.group.max_attempts", "> 0"),
        ('aliases = ["x"]', "defaults.group.aliases", "belongs to one group"),
        ('backends = ["ollama/a"]', "defaults.group.backends", "belongs to one group"),
        ('fallbacks = ["rescu"]', "defaults.group.fallbacks[0]", "'rescue'"),
        ('strategy = "x"', "defaults.group.strategy", "round_robin"),
    ],
)
def test_a_fault_in_the_defaults_of_groups_is_told_once_with_its_line(
    tmp_path: Path, line: str, field: str, why: str
) -> None:
    text = f"[defaults.group]\n{line}\n[group.big]\nv = 0.1\n"
    found = faults(tmp_path, text)
    assert [fault[:2] for fault in found] == [(2, field)]
    assert why in found[0][2]


def test_defaults_of_groups_that_are_no_table_are_a_fault(tmp_path: Path) -> None:
    found = faults(tmp_path, "[defaults]\ngroup = 3\n")
    assert found == [(2, "defaults.group", "must be a table, not a number")]


def test_a_running_router_follows_changed_defaults(tmp_path: Path) -> None:
    plan_of(tmp_path, "[defaults.group]\nmax_attempts = 2\n")
    file = tmp_path / "llmbalance.toml"
    router = Router.from_file(file)
    plan_of(tmp_path, "[defaults.group]\nmax_attempts = 3\n")
    router.reload(file)
    fleet = router._fleet
    assert fleet.group_terms[fleet.group("big")].max_attempts == 3
    plan_of(tmp_path, "")
    router.reload(file)
    assert fleet.group("big") not in fleet.group_terms
