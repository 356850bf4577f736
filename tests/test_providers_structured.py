"""Types as answers, and the table of what every provider offers."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, TypedDict

import msgspec
import pytest

from llmbalance._errors import InvalidRequestError, ServerError
from llmbalance._steps import strip_fences, trim
from llmbalance._types import Call
from llmbalance.providers import PROVIDERS, dialect
from llmbalance.providers._features import FEATURES, feature_table
from llmbalance.providers._structured import is_type, parse, response_format


class Street(msgspec.Struct):
    name: str
    houses: int = 3


class City(msgspec.Struct):
    name: str
    streets: list[Street]
    mayor: str | None = None


@dataclass
class Point:
    x: int
    y: int


class Pair(TypedDict):
    left: str
    right: str


class Tree(msgspec.Struct):
    value: int
    children: list[Tree]


class Free(msgspec.Struct):
    words: dict[str, int]


class Likeness:
    """Looks like a pydantic model."""

    @staticmethod
    def model_json_schema() -> dict[str, Any]:
        return {"type": "object", "properties": {"a": {"type": "integer"}}}

    @staticmethod
    def model_validate_json(text: str) -> Any:
        return json.loads(text)["a"]


def test_a_type_becomes_a_strict_schema() -> None:
    asked = response_format(City)["json_schema"]
    assert asked["name"] == "City"
    assert asked["strict"] is True
    schema = asked["schema"]
    assert schema["type"] == "object"
    assert schema["required"] == ["name", "streets", "mayor"]
    assert schema["additionalProperties"] is False
    street = schema["$defs"]["Street"]
    assert street["required"] == ["name", "houses"]
    assert "default" not in json.dumps(street)


def test_dataclasses_typed_dicts_and_pydantic_models_are_types_too() -> None:
    for wanted in (Point, Pair, Likeness):
        assert is_type(wanted)
        schema = response_format(wanted)["json_schema"]["schema"]
        assert schema["required"] == list(schema["properties"])
    for other in ({"type": "json_object"}, int, None, "json_object"):
        assert not is_type(other)
    with pytest.raises(InvalidRequestError, match="dataclass"):
        response_format(int)


def test_a_type_that_contains_itself_keeps_its_definition() -> None:
    schema = response_format(Tree)["json_schema"]["schema"]
    assert schema["type"] == "object"
    assert "Tree" in schema["$defs"]


def test_free_maps_cannot_be_strict() -> None:
    assert response_format(Free)["json_schema"]["strict"] is False


def test_answers_become_objects() -> None:
    assert parse(Point, '{"x":1,"y":2}') == Point(1, 2)
    assert parse(Street, '```json\n{"name":"a"}\n```') == Street("a")
    assert parse(Likeness, '{"a":5}') == 5


@pytest.mark.parametrize("text", ["", "no", '{"x":1}', '{"x":"one","y":2}', "[1]"])
def test_an_answer_that_is_no_such_object_is_malformed(text: str) -> None:
    with pytest.raises(ServerError) as caught:
        parse(Point, text)
    assert caught.value.kind == "malformed"


@pytest.mark.parametrize("name", PROVIDERS)
def test_every_provider_takes_a_types_schema(name: str) -> None:
    target = dialect(name)(
        model="m", base_url="http://h", api_key="k", options={"region": "r"}
    )
    params = {"response_format": response_format(City)}
    call = Call(messages=[{"role": "user", "content": "?"}], params=params)
    request = target.chat(call)
    assert "houses" in request.body.decode()
    translated = target.supports["json_schema"] != "native"
    assert translated or not request.warnings


def test_a_server_without_schemas_gets_an_instruction_by_an_option() -> None:
    target = dialect("openai_compatible")(
        model="m", base_url="http://h", options={"json_schema": False}
    )
    params = {"response_format": response_format(City)}
    call = Call(messages=[{"role": "user", "content": "?"}], params=params)
    request = target.chat(call)
    body = json.loads(request.body)
    assert body["response_format"] == {"type": "json_object"}
    assert "houses" in body["messages"][0]["content"]
    assert "instruction" in request.warnings[0]


def test_fences_and_white_space_come_off() -> None:
    assert strip_fences('```json\n{"a":1}\n```') == '{"a":1}'
    assert strip_fences('  ```\n{"a":1}```  ') == '{"a":1}'
    for kept in ("say ```x``` now", "```\na\n``` and more", "plain", ""):
        assert strip_fences(kept) == kept
    assert trim("  a\n") == "a"


def test_the_table_knows_every_feature_of_every_provider() -> None:
    table = feature_table()
    for name in PROVIDERS:
        offered = dialect(name).supports
        assert offered.keys() <= FEATURES.keys(), name
        assert FEATURES.keys() - offered.keys() <= {
            "count_tokens",
            "responses",
            "embed_tokens",
        }, name
        assert set(offered.values()) <= {"native", "translated", "refused"}
    lines = table.splitlines()
    assert len(lines) == len(FEATURES) + 2
    assert len({line.count("|") for line in lines}) == 1


@pytest.mark.parametrize("name", PROVIDERS)
def test_the_table_says_what_the_dialects_do(name: str) -> None:
    """What is called refused is refused or left out; what is offered arrives."""
    target = dialect(name)(
        model="m", base_url="http://h", api_key="k", options={"region": "r"}
    )
    asked = {"n": 2, "seed": 5, "logprobs": True}
    for feature, value in asked.items():
        call = Call(
            messages=[{"role": "user", "content": "?"}], params={feature: value}
        )
        try:
            arrived = not target.chat(call).warnings
        except InvalidRequestError:
            arrived = False
        assert arrived == (target.supports[feature] != "refused"), feature


PARTS: dict[str, dict[str, Any]] = {
    "image_url": {"type": "image_url", "image_url": {"url": "https://h/a.png"}},
    "image_data": {
        "type": "image_url",
        "image_url": {"url": "data:image/png;base64,AAAA"},
    },
    "input_audio": {
        "type": "input_audio",
        "input_audio": {"data": "AAAA", "format": "wav"},
    },
    "file": {
        "type": "file",
        "file": {
            "filename": "a.pdf",
            "file_data": "data:application/pdf;base64,AAAA",
        },
    },
}


@pytest.mark.parametrize("feature", PARTS)
@pytest.mark.parametrize("name", PROVIDERS)
def test_the_table_says_what_a_message_may_hold(name: str, feature: str) -> None:
    """Refused before it is sent: then another backend of the group is asked."""
    target = dialect(name)(
        model="m",
        base_url="http://h",
        api_key="k",
        options={"region": "r", "project": "p"},
    )
    content = [{"type": "text", "text": "see"}, PARTS[feature]]
    call = Call(messages=[{"role": "user", "content": content}])
    if target.supports[feature] == "refused":
        with pytest.raises(InvalidRequestError, match=r"messages\[0\].content"):
            target.chat(call)
    else:
        assert b"AAAA" in target.chat(call).body or feature == "image_url"


@pytest.mark.parametrize("name", PROVIDERS)
def test_the_table_says_who_embeds(name: str) -> None:
    target = dialect(name)(
        model="m",
        base_url="http://h",
        api_key="k",
        options={"region": "r", "project": "p"},
    )
    call = Call(kind="embed", input=["a"])
    if target.supports["embeddings"] == "refused":
        with pytest.raises(InvalidRequestError, match="embeddings"):
            target.embed(call)
    else:
        assert target.embed(call).body
