"""The tree of errors: what each one is, carries, and never gives away."""

from __future__ import annotations

import inspect
import pickle

import pytest

from llmbalance import _errors
from llmbalance._errors import (
    BudgetExceededError,
    ConfigError,
    ConnectError,
    ContextLengthError,
    InvalidRequestError,
    LLMBalanceError,
    NoBackendError,
    ProtocolError,
    ProviderError,
    RateLimitError,
    RequestTimeoutError,
    StreamInterruptedError,
    TransportError,
)

PUBLIC = [
    cls
    for name, cls in vars(_errors).items()
    if inspect.isclass(cls)
    and issubclass(cls, LLMBalanceError)
    and not name.startswith("_")
]


def example(cls: type[LLMBalanceError]) -> LLMBalanceError:
    if issubclass(cls, ConfigError | InvalidRequestError):
        return cls("rpm", -1, "give a number > 0", backend="a")
    return cls("it went wrong", backend="a", attempts=["x"], retry_after=2.5)


@pytest.mark.parametrize("cls", PUBLIC)
def test_every_error_stands_in_the_drawn_tree(cls: type[LLMBalanceError]) -> None:
    assert cls.__name__ in (_errors.__doc__ or "")


@pytest.mark.parametrize("cls", PUBLIC)
def test_every_error_survives_a_process_boundary(cls: type[LLMBalanceError]) -> None:
    error = example(cls)
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is cls
    assert str(copy) == str(error)
    assert copy.__dict__ == error.__dict__


@pytest.mark.parametrize("cls", PUBLIC)
def test_every_error_says_where_and_what_was_tried(cls: type[LLMBalanceError]) -> None:
    error = example(cls)
    assert error.backend == "a"
    assert error.message == str(error) != ""
    assert cls.__doc__


def test_bad_settings_and_bad_calls_are_value_errors_that_name_the_remedy() -> None:
    for cls in (ConfigError, InvalidRequestError):
        error = cls("rpm", -1, "give a number > 0")
        assert isinstance(error, ValueError)
        assert (error.field, error.value) == ("rpm", -1)
        assert str(error) == "rpm = -1: give a number > 0"


SECRET = [
    *("api_key", "apiKey", "X-Api-Key", "token", "auth_token", "accessToken"),
    *("session_token", "access_tokens", "aws_secret_access_key", "client_secret"),
    *("Authorization", "bearer", "password", "passwd", "credentials", "proxy"),
    *("options", "google_application_credentials", "vertex_credentials"),
]
COUNTED = [
    *("max_tokens", "max_completion_tokens", "tokens_per_minute", "budget_tokens"),
    *("input_cost_per_token", "tokenizer", "maxTokens", "keywords", "stream_options"),
]


@pytest.mark.parametrize("field", SECRET)
def test_a_value_that_may_be_secret_is_never_shown(field: str) -> None:
    error = ConfigError(field, "sk-very-secret", "give a string")
    assert "very-secret" not in repr(error) + str(error) + repr(error.__dict__)


@pytest.mark.parametrize("field", COUNTED)
def test_what_is_counted_in_tokens_is_no_secret(field: str) -> None:
    error = ConfigError(field, -17, "give a whole number")
    assert error.value == -17
    assert f"{field} = -17" in str(error)


def test_a_value_that_cannot_be_printed_is_told_by_its_kind() -> None:
    assert "rpm = (int)" in str(ConfigError("rpm", 10**5000, "give less"))


def test_long_values_are_shortened() -> None:
    error = InvalidRequestError("messages", "x" * 5000, "give a list")
    assert len(str(error)) < 200


def test_a_timeout_is_also_pythons_and_a_transport_fault() -> None:
    error = RequestTimeoutError(phase="idle")
    assert isinstance(error, TimeoutError)
    assert isinstance(error, TransportError)
    assert error.phase == "idle"
    assert "idle" in str(error)
    assert not issubclass(ConnectError, TimeoutError)


def test_provider_errors_know_the_row_of_the_table_they_come_from() -> None:
    assert ProviderError("x").kind == "server"
    assert ContextLengthError("x").kind == "context_length"
    assert RateLimitError("x", kind="tier_capacity").kind == "tier_capacity"


def test_errors_that_carry_more_carry_it() -> None:
    assert ProtocolError("x", offset=7, status=200).offset == 7
    assert NoBackendError(reasons={"a": "limit"}).reasons == {"a": "limit"}
    assert BudgetExceededError(lifts_at=5.0).lifts_at == 5.0
    broken = StreamInterruptedError(text="so far", cost=0.5, backend="b")
    assert (broken.text, broken.cost, broken.backend) == ("so far", 0.5, "b")


@pytest.mark.parametrize(
    "value",
    [
        {"Authorization": "Bearer sk-very-secret"},
        {"x-api-key": "sk-very-secret"},
        [{"model": "b", "api_key": "sk-very-secret"}],
        ({"a": [{"litellm_params": {"client_secret": "sk-very-secret"}}]},),
    ],
)
def test_a_table_with_a_secret_in_it_is_not_shown(value: object) -> None:
    error = InvalidRequestError("extra_headers", value, "give another one")
    assert "very-secret" not in repr(error) + str(error) + repr(error.__dict__)
    assert "extra_headers = (hidden)" in str(error)


@pytest.mark.parametrize(
    "value",
    [{"max_tokens": 3}, [{"model": "b"}], ["a", 3, None], {1: {2: [b"x"]}}, "k"],
)
def test_a_table_without_secrets_is_shown(value: object) -> None:
    error = InvalidRequestError("field", value, "give another one")
    assert repr(value) in str(error)
    assert error.value is value


def test_a_table_that_is_deeper_than_anybody_looks_is_not_shown() -> None:
    deep: list[object] = []
    deep.append(deep)
    assert "(hidden)" in str(InvalidRequestError("field", deep, "give another one"))
