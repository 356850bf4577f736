"""A configuration file makes the router it describes, or says all that is wrong."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest

from llmbalance import (
    Backend,
    Breaker,
    Budget,
    ConfigError,
    ConfigFileError,
    Limit,
    Limits,
    Price,
    Router,
    Timeouts,
)
from llmbalance._configfile._load import Plan, load, merge

EXAMPLE = Path(__file__).parents[1] / "examples" / "llmbalance.toml"

GOOD = """\
[router]
strategy = "p2c"
v = 0.5
timeout = 30
timeouts = { connect = 2 }
breaker = { cooldown = 7 }
wait = false
unknown_price = { input = 1, output = "2.50" }
sessions = 0
seed = 7

[defaults]
limits = { rpm = 100, tpm = 1000 }
tags = ["eu"]
timeouts.idle = 9

[provider.google]
limits.rpm = "env:GOOGLE_RPM"
api_key = "env:KEY_OF_GOOGLE"

[[backend]]
model = "openai/gpt-4o"
groups = ["a"]
api_key = "env:KEY_OF_OPENAI"
limits = { tpm = 77, more = [{ what = "requests", amount = 5, per = "10s" }] }
weight = 2

[[backend]]
model = "google/gemini-2.5-pro"
tags = []
price = { input = 1, output = 2, above = { 200000 = { input = 3 } } }

[[backend]]
name = "own"
model = "openai_compatible/x"
base_url = "env:OWN_URL"
groups = ["b"]
price.tiers = { batch = 0.5, flex = { input = 1 } }
price.deals = [{ factor = 0.5, daily = ["16:30", "00:30"] }]
options = { headers = { x-team = "env:TEAM" } }

[group.a]
backends = ["google/gemini-2.5-pro"]
fallbacks = ["b"]
aliases = ["alpha", "best"]
strategy = "latency"

[group.b]
v = 0.1

[budget.daily]
usd = 5
[budget.a]
usd = 9
per = "month"
group = "a"
alert_at = [0.5]
"""


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "GOOGLE_RPM": "55",
        "KEY_OF_GOOGLE": "g-secret",
        "KEY_OF_OPENAI": "o-secret",
        "OWN_URL": "http://127.0.0.1:9/v1",
        "TEAM": "search",
    }.items():
        monkeypatch.setenv(name, value)


def plan_of(tmp_path: Path, text: str) -> Plan:
    path = tmp_path / "llmbalance.toml"
    path.write_text(text, "utf-8")
    return load(path)


def faults(tmp_path: Path, text: str) -> list[tuple[int, str, str]]:
    with pytest.raises(ConfigFileError) as caught:
        plan_of(tmp_path, text)
    return [(e.line, e.field, e.message) for e in caught.value.errors]


def rule(router: Router, group: str) -> str:
    """The strategy that decides in a group."""
    fleet = router._fleet
    lease = fleet.pool.pick(fleet.group(group), "hello")
    return str(lease.decision["strategy"])


@pytest.mark.usefixtures("environment")
def test_backends_inherit_from_their_provider_and_the_defaults(tmp_path: Path) -> None:
    openai, google, own = plan_of(tmp_path, GOOD).backends
    assert openai == Backend(
        "openai/gpt-4o",
        groups=("a",),
        api_key="env:KEY_OF_OPENAI",
        limits=Limits(rpm=100, tpm=77, more=(Limit("requests", 5, "10s"),)),
        weight=2.0,
        tags=("eu",),
        timeouts=Timeouts(idle=9.0),
    )
    assert google == Backend(
        "google/gemini-2.5-pro",
        groups=("a",),
        api_key="env:KEY_OF_GOOGLE",
        limits=Limits(rpm=55, tpm=1000),
        price=Price(1.0, 2.0, above={200_000: Price(3.0)}),
        timeouts=Timeouts(idle=9.0),
    )
    assert own.base_url == "http://127.0.0.1:9/v1"
    assert own.price is not None
    assert own.price.tiers == {"batch": 0.5, "flex": Price(1.0)}
    assert own.price.deals[0].daily == ("16:30", "00:30")
    assert own.options == {"headers": {"x-team": "search"}}


@pytest.mark.usefixtures("environment")
def test_options_budgets_and_groups_are_read(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, GOOD)
    options = dict(plan.options)
    del options["prices"]
    groups = {group.name: group for group in options.pop("groups")}
    plain = inspect.signature(Router).parameters
    changed = {k: v for k, v in options.items() if v != plain[k].default}
    assert changed == {
        "strategy": "p2c",
        "v": 0.5,
        "timeout": 30.0,
        "timeouts": Timeouts(connect=2.0),
        "breaker": Breaker(cooldown=7.0),
        "wait": False,
        "unknown_price": Price(1.0, "2.50"),
        "sessions": 0,
        "seed": 7,
        **{key: [] for key in ("tasks", "experiments", "mirrors")},
        "aliases": {"alpha": "a", "best": "a"},
        "budgets": [
            Budget(usd=5.0),
            Budget(usd=9.0, per="month", group="a", alert_at=(0.5,)),
        ],
    }
    assert (groups["a"].strategy, groups["a"].v) == ("latency", None)
    assert groups["a"].fallbacks == ("b",)
    assert (groups["b"].strategy, groups["b"].v) == (None, 0.1)


@pytest.mark.usefixtures("environment")
def test_no_secret_is_shown_by_what_was_read(tmp_path: Path) -> None:
    shown = repr(plan_of(tmp_path, GOOD))
    assert "g-secret" not in shown
    assert "o-secret" not in shown


@pytest.mark.usefixtures("environment")
def test_the_router_is_built_and_each_group_decides_by_its_own_rule(
    tmp_path: Path,
) -> None:
    path = tmp_path / "llmbalance.toml"
    path.write_text(GOOD, "utf-8")
    router = Router.from_file(path)
    assert router.backends == ["openai/gpt-4o", "google/gemini-2.5-pro", "own"]
    assert rule(router, "alpha") == "latency"
    assert rule(router, "b") == "p2c"


def test_the_example_of_the_project_is_good(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "x")
    monkeypatch.setenv("ANTHROPIC_API_KEY", "x")
    router = Router.from_file(EXAMPLE)
    assert router.backends[-1] == "own"
    chain = [row["backend"] for row in router.explain("best", "hi").rows()]
    assert chain == [
        "openai/gpt-4o",
        "anthropic/claude-sonnet-4-5",
        "openai/gpt-4o-mini",
        "own",
    ]
    assert rule(router, "economy") == "least_busy"
    assert router.classify("```\nx = 1\n```") == "code"
    assert router.classify("What is the capital of France?") == "chat"
    assert set(router.experiments()) == {"cheaper"}
    assert set(router.mirrors()) == {"own"}


def test_a_dict_of_the_same_shape_is_taken() -> None:
    router = Router.from_file(
        {"backend": [{"model": "ollama/llama3.1", "groups": ["a"]}]}
    )
    assert router.backends == ["ollama/llama3.1"]


def test_yaml_of_the_same_shape_is_taken(tmp_path: Path) -> None:
    pytest.importorskip("yaml")
    path = tmp_path / "llmbalance.yaml"
    path.write_text("backend:\n  - model: ollama/llama3.1\n    groups: [a]\n", "utf-8")
    assert Router.from_file(path).backends == ["ollama/llama3.1"]
    path.write_text("backend:\n  - model: ollama/x\n    model: ollama/y\n", "utf-8")
    with pytest.raises(ConfigFileError, match=r"yaml:3: backend\[0\].model: is given"):
        Router.from_file(path)


BAD = """\
[router]
strategy = "weigted"
timeout = -3
[defaults]
api_key = "env:NO_SUCH_KEY"
limits = { rmp = 3, tpm = 100 }
timeouts.connect = "a"
[provider.google]
api_key = "k"
model = "x"
[[backend]]
model = "openai/gpt-4o"
groups = ["a"]
weight = -1
order = 300
dialect = "x"
[[backend]]
model = "google/gemini-2.5-pro"
groups = "a"
price = { input = 1, above = { 200000 = { input = "x", outptu = 3 } } }
[[backend]]
model = "google/gemini-2.5-pro"
limits.more = [{ what = "requets", amount = 1, foo = 3 }]
[group.a]
fallbacks = ["b"]
strategy = "lat"
backends = ["nobody"]
[group.c]
[[budget]]
usd = -1
backend = "openai/gpt4"
on_alert = "x"
[[budget]]
usd = 1
timezone = "Mars"
[taks]
"""


def test_all_faults_are_reported_at_once_each_with_its_line(tmp_path: Path) -> None:
    found = {(line, field) for line, field, _ in faults(tmp_path, BAD)}
    assert found == {
        (2, "router.strategy"),
        (3, "router.timeout"),
        (5, "defaults.api_key"),
        (6, "defaults.limits.rmp"),
        (7, "defaults.timeouts.connect"),
        (10, "provider.google.model"),
        (14, "backend[0].weight"),
        (15, "backend[0].order"),
        (16, "backend[0].dialect"),
        (19, "backend[1].groups"),
        (20, "backend[1].price.above.200000.input"),
        (20, "backend[1].price.above.200000.outptu"),
        (22, "backend[2].model"),
        (23, "backend[2].limits.more[0].what"),
        (23, "backend[2].limits.more[0].foo"),
        (25, "group.a.fallbacks[0]"),
        (26, "group.a.strategy"),
        (27, "group.a.backends[0]"),
        (28, "group.c"),
        (30, "budget[0].usd"),
        (31, "budget[0].backend"),
        (32, "budget[0].on_alert"),
        (35, "budget[1].timezone"),
        (36, "taks"),
    }


@pytest.mark.parametrize(
    ("line", "hint"),
    [
        (2, "did you mean 'weighted'?"),
        (5, "NO_SUCH_KEY is not set"),
        (6, "did you mean 'rpm'?"),
        (20, "did you mean 'output'?"),
        (23, "did you mean 'requests'?"),
        (26, "did you mean 'latency'?"),
        (31, "did you mean 'openai/gpt-4o'?"),
    ],
)
def test_faults_say_what_was_probably_meant(
    tmp_path: Path, line: int, hint: str
) -> None:
    messages = [m for at, _, m in faults(tmp_path, BAD) if at == line]
    assert any(hint in message for message in messages), messages


def test_a_fault_in_the_defaults_is_told_once_not_for_every_backend(
    tmp_path: Path,
) -> None:
    text = '[defaults]\nweight = "x"\n' + '[[backend]]\nmodel = "ollama/a"\n' * 1
    text += '[[backend]]\nmodel = "ollama/b"\n'
    assert [f[:2] for f in faults(tmp_path, text)] == [(2, "defaults.weight")]


OLLAMA = '[[backend]]\nmodel = "ollama/a"\n'


@pytest.mark.parametrize(
    ("text", "line", "field", "message"),
    [
        ("", 0, "backend", "at least one"),
        ("backend = 3", 1, "backend", "at least one"),
        ("backend = [3]", 1, "backend[0]", "must be a table, not a number"),
        ('[[backend]]\ngroups = ["a"]', 1, "backend[0]", "'model' is missing"),
        ('[[backend]]\nmodel = "gpt-4o"', 2, "backend[0].model", "provider/model"),
        ('[[backend]]\nmodel = "opnai/x"', 2, "backend[0].model", "'openai'"),
        (OLLAMA + 'base_url = "x"', 3, "backend[0].base_url", "address"),
        (OLLAMA + 'base_url = "env:NO_URL"', 3, "backend[0].base_url", "NO_URL"),
        (OLLAMA + "weight = true", 3, "backend[0].weight", "got bool"),
        (OLLAMA + 'can = ["fly"]', 3, "backend[0].can", "tools"),
        (OLLAMA + 'limits = "x"', 3, "backend[0].limits", "got str"),
        (OLLAMA + 'price.tiers.x = "a"', 3, "backend[0].price", "plain digits"),
        (OLLAMA + "[router]\nsessions = 3", 4, "router.sessions", "power of two"),
        (OLLAMA + '[router]\nprices = "no.json"', 4, "router.prices", "no.json"),
        (OLLAMA + "group = 3", 3, "backend[0].group", "did you mean 'groups'?"),
        ("group = 3\n" + OLLAMA, 1, "group", "[group.NAME]"),
        ("provider = 3\n" + OLLAMA, 1, "provider", "[provider.NAME]"),
        ("budget = 3\n" + OLLAMA, 1, "budget", "[[budget]]"),
        ("budget = [3]\n" + OLLAMA, 1, "budget[0]", "must be a table"),
        (OLLAMA + "[[budget]]\nper = 1", 3, "budget[0]", "'usd' is missing"),
        (
            OLLAMA + '[[budget]]\nusd = 1\ntag = "a"\ngroup = "ollama/a"',
            5,
            "budget[0].tag",
            "group is given already",
        ),
        (OLLAMA + '[defaults]\nname = "a"', 4, "defaults.name", "one backend"),
        (OLLAMA + "[group.x]", 3, "group.x", "has no backends"),
    ],
)
def test_every_kind_of_mistake_is_named_with_its_place(
    tmp_path: Path, text: str, line: int, field: str, message: str
) -> None:
    found = faults(tmp_path, text)
    assert [(at, name) for at, name, _ in found] == [(line, field)]
    assert message in found[0][2]


def test_a_missing_key_is_told_with_the_variable_to_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GROQ_API_KEY", raising=False)
    found = faults(tmp_path, '[[backend]]\nmodel = "groq/llama-3.3-70b-versatile"')
    assert "GROQ_API_KEY" in found[0][2]


def test_a_key_in_the_file_is_not_shown_when_something_is_wrong_with_it(
    tmp_path: Path,
) -> None:
    text = '[[backend]]\nmodel = "openai/x"\napi_key = ["sk-12345"]'
    found = faults(tmp_path, text)
    assert found[0][1] == "backend[0].api_key"
    assert "sk-12345" not in str(found)


def test_what_only_shows_when_the_parts_meet_is_an_error_of_the_file(
    tmp_path: Path,
) -> None:
    text = '[router]\nunknown_price = "refuse"\n[[backend]]\n'
    text += 'model = "openai_compatible/x"\nbase_url = "http://127.0.0.1:9"\n'
    with pytest.raises(ConfigFileError, match="price = None: unknown for"):
        plan_of(tmp_path, text).build(Router)


def test_a_file_error_is_a_config_error_and_survives_pickling(tmp_path: Path) -> None:
    import pickle

    with pytest.raises(ConfigError) as caught:
        plan_of(tmp_path, "x = 1")
    copy = pickle.loads(pickle.dumps(caught.value))
    assert str(copy) == str(caught.value)
    assert copy.errors == caught.value.errors  # type: ignore[attr-defined]


def test_price_tables_and_the_ledger_are_looked_for_beside_the_file(
    tmp_path: Path,
) -> None:
    (tmp_path / "prices.json").write_text(
        '[{"provider": "vllm", "source": "own", "as_of": "2026-01-01", "models":'
        ' [{"model": "qwen", "price": {"input": 1, "output": 2}}]}]'
    )
    text = '[router]\nprices = "prices.json"\nledger = "calls.db"\n'
    plan = plan_of(tmp_path, text + '[[backend]]\nmodel = "vllm/qwen"\n')
    assert plan.options["ledger"] == tmp_path / "calls.db"
    info = plan.options["prices"].lookup("vllm", "qwen")
    assert info is not None
    assert info.price == Price(1, 2)


@pytest.mark.parametrize(
    ("below", "above", "merged"),
    [
        ({"a": 1}, {"b": 2}, {"a": 1, "b": 2}),
        ({"a": {"x": 1, "y": 2}}, {"a": {"y": 3}}, {"a": {"x": 1, "y": 3}}),
        ({"a": {"x": 1}}, {"a": 3}, {"a": 3}),
        ({"a": [1]}, {"a": [2]}, {"a": [2]}),
    ],
)
def test_tables_are_merged_key_by_key_and_lists_are_replaced(
    below: dict[str, Any], above: dict[str, Any], merged: dict[str, Any]
) -> None:
    before = repr(below)
    assert merge(below, above) == merged
    assert repr(below) == before


def test_arms_of_experiments_are_checked_line_by_line(tmp_path: Path) -> None:
    file = tmp_path / "fleet.toml"
    file.write_text("""\
[provider.opnai]
api_key = "k"

[[backend]]
model = "ollama/x"
groups = ["all"]

[experiment.e]
models = ["all"]
[experiment.e.arms]
control = {}
wrong = { model = "al", max_cots = 1, strategy = "csot", fallbacks = ["all", "y"] }
""")
    with pytest.raises(ConfigFileError) as caught:
        load(file)
    found = [(fault.line, fault.field) for fault in caught.value.errors]
    arm = "experiment.e.arms.wrong"
    assert found == [
        (1, "provider.opnai"),
        (12, f"{arm}.model"),
        (12, f"{arm}.max_cots"),
        (12, f"{arm}.strategy"),
        (12, f"{arm}.fallbacks[1]"),
    ]
    assert "did you mean 'max_cost'" in str(caught.value)
