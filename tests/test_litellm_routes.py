"""Fallbacks and aliases of LiteLLM configurations, and what real files load to."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from llmbalance import Backend, ConfigFileError, Router
from llmbalance._configfile._load import Plan
from llmbalance._litellm._names import STRATEGIES
from llmbalance._litellm._plan import load_litellm
from llmbalance._litellm._routes import Routes
from llmbalance._litellm._sheet import Sheet


def plan_of(*groups: str, **router: Any) -> Plan:
    rows = [
        {"model_name": group, "litellm_params": {"model": f"ollama/{i}"}}
        for i, group in enumerate(groups)
    ]
    return load_litellm({"model_list": rows, "router_settings": router})


def fallbacks(plan: Plan) -> dict[str, list[str]]:
    found: dict[str, list[str]] = plan.options["fallbacks"]
    return found


def faults(plan: Plan) -> dict[str, str]:
    return {n.field: n.message for n in plan.notes if n.kind == "fault"}


def test_fallbacks_are_taken_in_their_order() -> None:
    plan = plan_of("a", "b", "c", fallbacks=[{"a": ["c", "b"]}, {"b": ["c"]}])
    assert fallbacks(plan) == {"a": ["c", "b"], "b": ["c"]}
    assert faults(plan) == {}


def test_cycles_are_legal_and_each_group_is_visited_once() -> None:
    router = Router.from_litellm(
        {
            "model_list": [
                {"model_name": name, "litellm_params": {"model": f"ollama/{name}"}}
                for name in "abc"
            ],
            "router_settings": {
                "fallbacks": [{"a": ["b", "a"]}, {"b": ["a", "c"]}, {"c": ["a"]}]
            },
        }
    )
    chain = [row["backend"] for row in router.explain("a", "hello").rows()]
    assert chain == ["a", "b", "c"]


def test_default_fallbacks_serve_groups_without_their_own() -> None:
    plan = plan_of("a", "b", "z", fallbacks=[{"a": ["b"]}], default_fallbacks=["z"])
    assert fallbacks(plan) == {"a": ["b"], "b": ["z"]}
    star = plan_of("a", "b", "z", fallbacks=[{"a": ["b"]}, {"*": ["z"]}])
    assert fallbacks(star) == {"a": ["b"], "b": ["z"]}


def test_a_fallback_may_name_a_single_deployment() -> None:
    rows = [
        {"model_name": "a", "litellm_params": {"model": "ollama/x"}},
        {
            "model_name": "b",
            "litellm_params": {"model": "ollama/y"},
            "model_info": {"id": "dep-7"},
        },
    ]
    plan = load_litellm(
        {"model_list": rows, "router_settings": {"fallbacks": [{"a": ["dep-7"]}]}}
    )
    assert fallbacks(plan) == {"a": ["dep-7"]}


@pytest.mark.parametrize(
    ("value", "field", "why"),
    [
        ([{"a": ["bb"]}], "fallbacks[0].a", "did you mean 'b'?"),
        ([{"x": ["a"]}], "fallbacks[0].x", "no group 'x'"),
        (["a", "b"], "fallbacks[0]", "not for whom"),
        ({"a": ["b"]}, "fallbacks", "write a list"),
        ([{"a": [{"model": "bb"}]}], "fallbacks[0].a", "did you mean 'b'?"),
        ([{"a": [{"temperature": 1}]}], "fallbacks[0].a", "no group"),
    ],
)
def test_fallbacks_that_lead_nowhere_are_left_out_and_told(
    value: Any, field: str, why: str
) -> None:
    plan = plan_of("a", "b", fallbacks=value)
    assert fallbacks(plan) == {}
    assert why in faults(plan)[f"router_settings.{field}"]


def test_a_fallback_with_settings_of_its_own_is_one_without_them() -> None:
    alone = plan_of("a", "b", fallbacks=[{"a": [{"model": "b"}]}])
    assert fallbacks(alone) == {"a": ["b"]}
    assert faults(alone) == {}
    entry = {"model": "b", "temperature": 1, "max_tokens": 5}
    plan = plan_of("a", "b", fallbacks=[{"a": [entry]}])
    assert fallbacks(plan) == {"a": ["b"]}
    told = faults(plan)["router_settings.fallbacks[0].a"]
    assert "'b': its temperature, max_tokens: left out" in told


def test_fallbacks_for_one_kind_of_failure_are_those_of_the_groups() -> None:
    plan = plan_of(
        "a",
        "x/b",
        "c",
        context_window_fallbacks=[{"a": ["c"]}, {"*": ["x/b"]}],
        content_policy_fallbacks=[{"b": ["c"]}],
        model_group_alias={"nick": "a"},
    )
    assert fallbacks(plan) == {}
    groups = {group.name: group for group in plan.options["groups"]}
    long = {name: group.context_fallbacks for name, group in groups.items()}
    assert long == {"a": ["c"], "nick": ["c"], "x/b": (), "c": ["x/b"]}
    assert groups["x/b"].content_filter_fallbacks == ["c"]
    assert faults(plan) == {}


def test_a_fallback_for_a_name_holds_for_it_with_a_provider_before_it() -> None:
    plan = plan_of("openai/m", "c", fallbacks=[{"m": ["c"]}])
    assert fallbacks(plan) == {"openai/m": ["c"]}
    assert faults(plan) == {}


@pytest.mark.parametrize("alias", ["a", {"model": "a", "hidden": True}])
def test_an_alias_is_its_group_with_its_fallbacks(alias: Any) -> None:
    plan = plan_of(
        "a", "b", model_group_alias={"nick": alias}, fallbacks=[{"a": ["b"]}]
    )
    assert plan.backends[0].groups == ("a", "nick")
    assert plan.backends[1].groups == ("b",)
    assert fallbacks(plan) == {"a": ["b"], "nick": ["b"]}


def test_an_alias_of_several_groups_has_all_their_members() -> None:
    plan = plan_of("a", "b", "c", model_group_alias={"fast": ["a", "c", "no"]})
    assert [b.groups for b in plan.backends] == [("a", "fast"), ("b",), ("c", "fast")]
    assert "no group 'no'" in faults(plan)["router_settings.model_group_alias.fast"]


def test_a_fallback_may_name_an_alias() -> None:
    plan = plan_of("a", "b", model_group_alias={"x": "b"}, fallbacks=[{"a": ["x"]}])
    assert fallbacks(plan) == {"a": ["x"]}


def test_a_model_with_the_name_of_another_group_is_told() -> None:
    rows = [
        {"model_name": "ollama/y", "litellm_params": {"model": "ollama/x"}},
        {"model_name": "b", "litellm_params": {"model": "ollama/y"}},
    ]
    plan = load_litellm({"model_list": rows})
    assert any("may come here, too" in message for message in faults(plan).values())


def test_routes_stand_on_names_alone() -> None:
    routes = Routes(Sheet({"model_list": []}), {"a", "b"})
    routes.read_aliases(None)
    backends = [Backend("ollama/x", name="a")]
    assert routes.join(backends) == backends
    assert routes.chains(backends, (None, ()), (None, ())) == {}


# -- recorded configurations -----------------------------------------------------

# Deployments that LiteLLM loads and this router does not, and why.
NOT_SERVED = {
    "sagemaker/": "no such provider",
    "text-completion-openai/": "no such provider",
    "dall-e-3": "no such provider",
}


@pytest.fixture(scope="module")
def configs(recorded: Path) -> Path:
    pytest.importorskip("yaml")
    return recorded / "litellm-configs"


def expected(configs: Path) -> dict[str, dict[str, Any]]:
    found = json.loads((configs / "EXPECTED_LOAD.json").read_text("utf-8"))
    return {name: load for name, load in found.items() if name[0] != "_"}


def set_variables(monkeypatch: pytest.MonkeyPatch, names: list[str]) -> None:
    for name in names:
        place = name.endswith(("_URL", "_BASE"))
        monkeypatch.setenv(name, "http://127.0.0.1:9/v1" if place else "dummy")


def excused(dropped: str) -> bool:
    return any(reason in dropped for reason in set(NOT_SERVED.values()))


def test_recorded_configurations_load_to_the_same_groups(
    configs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = 0
    for name, load in expected(configs).items():
        if not load["loads"] or not load["deployments"]:
            continue
        others = ("MISTRAL_API_KEY", "AWS_REGION", "AWS_BEARER_TOKEN_BEDROCK")
        set_variables(monkeypatch, [*load["env_vars"], *others])
        plan = load_litellm(configs / name)
        groups: dict[str, int] = {}
        for backend in plan.backends:
            groups[backend.groups[0]] = groups.get(backend.groups[0], 0) + 1
        missing = {g: n for g, n in load["groups"].items() if groups.get(g) != n}
        dropped = {
            note.field: note.message
            for note in plan.notes
            if note.message.startswith("dropped")
        }
        assert set(groups) <= set(load["groups"])
        assert sum(missing.values()) == len(dropped)
        assert all(excused(why) for why in dropped.values()), dropped
        assert len(plan.backends) + len(dropped) == load["deployments"]
        assert plan.build(Router).backends == [b.name for b in plan.backends]
        seen += 1
    assert seen >= 4


def test_recorded_settings_take_effect(
    configs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, load in expected(configs).items():
        if not load["loads"] or not load["deployments"]:
            continue
        set_variables(monkeypatch, load["env_vars"])
        plan, effect = load_litellm(configs / name), load["effective"]
        options = plan.options
        assert options["strategy"] == STRATEGIES[effect["routing_strategy"]]
        asked = {k: v for entry in effect["fallbacks"] or () for k, v in entry.items()}
        assert options["fallbacks"] == asked
        if effect["timeout"] != 6000:  # LiteLLM's default
            assert options["timeouts"].first_byte == effect["timeout"]
            tries = max(2, 1 + effect["num_retries"])
            assert options["timeout"] == effect["timeout"] * tries
        breaker = options["breaker"]
        if effect["allowed_fails"] != 3 or effect["cooldown_time"] != 5:
            assert breaker.in_a_row == effect["allowed_fails"] + 1
            assert breaker.cooldown == effect["cooldown_time"]
        aliases = effect["model_group_alias"]
        known = {group for backend in plan.backends for group in backend.groups}
        assert set(aliases) <= known


def test_recorded_configurations_that_litellm_refuses_load_with_notes(
    configs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = 0
    for name, load in expected(configs).items():
        if load["loads"]:
            continue
        text = (configs / name).read_text("utf-8")
        references = [part.split("}")[0] for part in text.split("${")[1:]]
        set_variables(monkeypatch, references)
        plan = load_litellm(configs / name)
        assert len(plan.backends) == load["rows_in_model_list"]
        fields = {note.field for note in plan.notes if note.kind == "fault"}
        assert "router_settings.routing_strategy" in fields
        assert "router_settings.fallbacks[0]" in fields
        with pytest.raises(ConfigFileError):
            load_litellm(configs / name, strict=True)
        seen += 1
    assert seen


def test_every_note_about_a_recorded_configuration_points_at_its_line(
    configs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, load in expected(configs).items():
        set_variables(monkeypatch, load["env_vars"])
        try:
            notes = list(load_litellm(configs / name).notes)
        except ConfigFileError as error:  # its includes are not there
            notes = error.errors
        lines = (configs / name).read_text("utf-8").splitlines()
        assert notes
        for note in notes:
            key = note.field.rpartition(" (")[0] or note.field
            last = key.rpartition(".")[2].partition("[")[0]
            row = lines[note.line - 1]
            assert last in row or row.lstrip().startswith("-"), (note, row)
