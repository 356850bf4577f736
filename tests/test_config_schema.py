"""The JSON schema for editors accepts what the loader accepts; ``check`` tells all."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import msgspec
import pytest

from llmbalance import Backend, Breaker, Limits, Price, Timeouts, config_schema
from llmbalance._cli.check import run as run_check
from llmbalance._configfile._check import check_config
from llmbalance._core import STRATEGIES

EXAMPLE = Path(__file__).parents[1] / "examples" / "llmbalance.toml"


def errors_of(value: Any, schema: dict[str, Any], root: dict[str, Any]) -> list[str]:
    """What is wrong with a value: the few keywords of JSON schema that are used."""
    if "$ref" in schema:
        return errors_of(value, root["$defs"][schema["$ref"].split("/")[-1]], root)
    for key in ("anyOf", "oneOf"):
        if key in schema:
            tries = [errors_of(value, one, root) for one in schema[key]]
            return [] if [] in tries else tries[0]
    if "enum" in schema:
        return [] if value in schema["enum"] else [f"{value!r} is none of the words"]
    kinds = {
        "object": dict,
        "array": list,
        "string": str,
        "integer": int,
        "number": (int, float),
        "boolean": bool,
        "null": type(None),
    }
    kind = schema.get("type")
    if kind is not None and not isinstance(value, kinds[kind]):
        return [f"{value!r} is no {kind}"]
    if kind == "array":
        items = schema.get("items", {})
        return [e for v in value for e in errors_of(v, items, root)]
    if kind != "object":
        return []
    found = [
        f"{name} is missing" for name in schema.get("required", ()) if name not in value
    ]
    for name, inner in value.items():
        known = schema.get("properties", {}).get(
            name, schema.get("additionalProperties")
        )
        if known is False:
            found.append(f"{name} is unknown")
        elif isinstance(known, dict):
            found += errors_of(inner, known, root)
    return found


def test_the_example_fits_the_schema() -> None:
    schema = config_schema()
    data = tomllib.loads(EXAMPLE.read_text("utf-8"))
    assert errors_of(data, schema, schema) == []


@pytest.mark.parametrize(
    ("data", "error"),
    [
        ({}, "backend is missing"),
        ({"backend": [{}]}, "model is missing"),
        ({"backend": [{"model": 3}]}, "3 is no string"),
        ({"backend": [{"model": "a/b", "wieght": 3}]}, "wieght is unknown"),
        ({"backend": [{"model": "a/b", "limits": {"rmp": 1}}]}, "rmp is unknown"),
        ({"backend": [{"model": "a/b", "can": ["fly"]}]}, "'fly' is none"),
        ({"backend": [], "router": {"strategy": "x"}}, "'x' is none"),
        ({"backend": [], "defaults": {"name": "x"}}, "name is unknown"),
        ({"backend": [], "defaults": {"group": {"aliases": []}}}, "aliases is unknown"),
        ({"backend": [], "budget": {"a": {}}}, "missing"),
    ],
)
def test_the_schema_refuses_what_the_loader_refuses(
    data: dict[str, Any], error: str
) -> None:
    schema = config_schema()
    found = errors_of(data, schema, schema)
    assert any(error in one for one in found) or (found and error == "missing"), found


def test_the_schema_has_every_field_of_the_classes() -> None:
    schema = config_schema()
    fields = set(schema["properties"]["backend"]["items"]["properties"])
    assert fields == set(Backend.__struct_fields__) - {"dialect"}
    for cls in (Limits, Timeouts, Breaker, Price):
        properties = schema["$defs"][cls.__name__]["properties"]
        assert set(properties) == set(cls.__struct_fields__)
    router = schema["properties"]["router"]["properties"]
    assert router["strategy"] == {"enum": list(STRATEGIES)}


def test_the_schema_follows_the_standard_where_a_validator_is_there() -> None:
    jsonschema = pytest.importorskip("jsonschema")
    schema = config_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    data = tomllib.loads(EXAMPLE.read_text("utf-8"))
    jsonschema.validate(data, schema)


# -- llmbalance check ------------------------------------------------------------


def test_a_good_file_shows_its_fleet_with_prices(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.toml"
    path.write_text(
        '[router]\nledger = "calls.db"\n[[backend]]\nname = "big"\n'
        'model = "openai/gpt-4o"\napi_key = "k"\nprice = { input = 2.5, output = 10 }\n'
        "limits.rpm = 9\n"
    )
    assert run_check([str(path)]) == 0
    out = capsys.readouterr().out
    assert "openai/gpt-4o" in out
    assert "9 requests/minute" in out
    assert "$2.5" in out
    assert "is good" in out
    assert [p.name for p in tmp_path.iterdir()] == ["a.toml"]


def test_a_wrong_file_shows_all_errors_with_lines_and_exits_with_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.toml"
    path.write_text('[[backend]]\nmodel = "ollama/x"\nwieght = 1\nordr = 2\n')
    assert run_check([str(path)]) == 1
    out = capsys.readouterr().out
    assert f"{path}:3: backend[0].wieght: unknown key; did you mean 'weight'?" in out
    assert f"{path}:4:" in out
    assert out.rstrip().endswith("2 errors")


def test_a_missing_file_is_told_and_the_others_are_looked_at(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.toml"
    path.write_text('[[backend]]\nmodel = "ollama/x"\n')
    assert run_check([str(tmp_path / "no.toml"), str(path)]) == 1
    captured = capsys.readouterr()
    assert "cannot be read" in captured.err
    assert "is good" in captured.out


def test_the_schema_can_be_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_check(["--schema"]) == 0
    # Tuples come back as lists: compare what JSON can say.
    assert json.loads(capsys.readouterr().out) == msgspec.json.decode(
        msgspec.json.encode(config_schema())
    )


def test_the_page_of_all_keys_is_up_to_date(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_check(["--reference"]) == 0
    page = EXAMPLE.parents[1] / "docs" / "configuration-keys.md"
    made = capsys.readouterr().out
    remedy = "llmbalance check --reference > docs/configuration-keys.md"
    assert made == page.read_text("utf-8"), remedy


def test_the_page_of_all_keys_has_every_table_of_the_schema() -> None:
    page = (EXAMPLE.parents[1] / "docs" / "configuration-keys.md").read_text("utf-8")
    schema = config_schema()
    for table in schema["properties"]:
        assert f"`[{table}" in page or f"`[[{table}" in page, table
    for shape, table in schema["$defs"].items():
        section = page.partition(f"### {shape}\n")[2].partition("\n#")[0]
        missing = [k for k in table["properties"] if f"| `{k}` |" not in section]
        assert missing == [], shape


def test_no_file_at_all_is_a_mistake_of_usage() -> None:
    with pytest.raises(SystemExit) as caught:
        run_check([])
    assert caught.value.code == 2


def test_a_litellm_configuration_is_known_by_its_sections() -> None:
    rows = [{"model_name": "a", "litellm_params": {"model": "ollama/x"}}]
    report = check_config({"model_list": rows, "router_settings": {"plugins": []}})
    assert report.ok
    assert report.fleet is not None
    assert list(report.fleet) == ["a"]
    assert [note.field for note in report.notes] == ["router_settings.plugins"]
    strict = check_config(
        {"model_list": rows, "router_settings": {"plugins": []}}, strict=True
    )
    assert not strict.ok


def test_parts_that_do_not_fit_together_are_an_error_too() -> None:
    backend = {"model": "openai_compatible/x", "base_url": "http://127.0.0.1:9"}
    report = check_config({"backend": [backend], "router": {"unknown_price": "refuse"}})
    assert [error.field for error in report.errors] == ["price"]


def test_the_check_shows_every_limit_of_a_backend():
    limits = {"rpm": 60, "concurrency": 4}
    report = check_config({"backend": [{"model": "ollama/x", "limits": limits}]})
    assert report.fleet is not None
    assert report.fleet["ollama/x"]["limits"] == "60 requests/minute, 4 at once"
