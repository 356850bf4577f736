"""What today's official clients know, counted against what the dialects do.

A new release of a client that knows a new field or word fails here by name: then it is
to be spoken, or put on the list of what passes in ``extra_body`` alone.
"""

from __future__ import annotations

import importlib
import json
import typing
from typing import Any

import pytest

from llmbalance._errors import ServerError
from llmbalance._fleet._parameters import PARAMETERS
from llmbalance._types import Call
from llmbalance.providers import (
    Dialect,
    _models,
    _openai_stream,
    anthropic,
    dialect,
    google,
    hosts,
)
from llmbalance.providers import _anthropic_wire as claude
from llmbalance.providers import _google_wire as gemini
from llmbalance.providers import _openai_wire as openai_wire
from llmbalance.providers import _responses_request as responses

ASK = [{"role": "user", "content": "hi"}]


def vendor(name: str) -> Any:
    """A module of an official client."""
    package = name.partition(".")[0]
    reason = "needs the vendors' clients (extra judges)"
    pytest.importorskip(
        package if package != "google" else "google.genai", reason=reason
    )
    return importlib.import_module(name)


def words(alias: Any) -> set[str]:
    """The words of a Literal, however wrapped."""
    found = {w for w in typing.get_args(alias) if isinstance(w, str)}
    for inner in typing.get_args(alias):
        if not isinstance(inner, str):
            found |= words(inner)
    return found


def names(struct: type[Any]) -> set[str]:
    from msgspec.structs import fields

    return {field.encode_name for field in fields(struct)}


def hints(cls: type[Any]) -> set[str]:
    """The fields of a TypedDict or a pydantic model."""
    fields = getattr(cls, "model_fields", None)
    return set(fields) if fields is not None else set(cls.__annotations__)


def make(name: str, model: str = "m", **options: Any) -> Dialect:
    return dialect(name)(
        model=model,
        base_url="http://h",
        api_key="k",
        options={"project": "p"} | options,
    )


# -- OpenAI -------------------------------------------------------------------------


def test_openais_parameters_are_a_calls_parameters() -> None:
    module = vendor("openai.types.chat.completion_create_params")
    known = hints(module.CompletionCreateParamsBase)
    envelope = {"messages", "model", "stream"}
    elsewhere = {"functions", "function_call", "moderation"}  # old, and by extra_body
    assert known - PARAMETERS - envelope == elsewhere


def test_openais_amounts_of_reasoning_have_a_place_on_the_ladder() -> None:
    module = vendor("openai.types.shared.reasoning_effort")
    assert words(module.ReasoningEffort) == {"none", *_models.EFFORTS}


def test_openais_models_are_told_apart_by_their_names() -> None:
    module = vendor("openai.types.shared.all_models")
    reasons = {m for m in words(module.AllModels) if _models.openai_model(m).reasoning}
    for name in words(module.AllModels):
        new = name.startswith(("gpt-5", "gpt-6", "o1", "o3", "o4", "gpt-daybreak"))
        old = name.startswith(("gpt-3", "gpt-4", "chatgpt", "gpt-audio", "computer"))
        if new and not name.startswith("gpt-5-chat"):
            assert name in reasons, name
        elif old:
            assert name not in reasons, name


def test_openais_counts_are_read() -> None:
    module = vendor("openai.types.completion_usage")
    wire = openai_wire.WireUsage
    assert hints(module.CompletionUsage) <= names(wire)
    parts = hints(module.PromptTokensDetails) - names(openai_wire.PromptParts)
    assert parts == {"text_tokens"}  # what is left of the whole
    parts = hints(module.CompletionTokensDetails) - names(openai_wire.CompletionParts)
    predicted = {"accepted_prediction_tokens", "rejected_prediction_tokens"}
    assert parts == {"text_tokens", *predicted}  # billed like other output


def test_the_parameters_of_the_responses_api_are_written() -> None:
    """What of them a call can say; the rest passes in extra_body."""
    module = vendor("openai.types.responses.response_create_params")
    known = hints(module.ResponseCreateParamsBase)
    assert known >= responses._FLAT
    target = make("openai", "gpt-5.6", api="responses")
    sample: dict[str, Any] = {
        "max_tokens": 50,
        "verbosity": "low",
        "reasoning_effort": "low",
        "response_format": {"type": "json_object"},
        "tools": [{"type": "function", "function": {"name": "f"}}],
        "tool_choice": "auto",
        "store": True,
    }
    body = json.loads(target.chat(Call(messages=ASK, params=sample)).body)
    assert body.keys() <= known
    states = {"background", "conversation", "previous_response_id", "prompt"}
    later = {"access_programs", "context_management", "image", "moderation"}
    rest = {"max_tool_calls", "truncation", "stream_options", "include", "instructions"}
    assert known - body.keys() - responses._FLAT == states | later | rest


def test_a_failed_response_is_the_servers_fault_only_where_it_is() -> None:
    module = vendor("openai.types.responses.response_error")
    target = make("openai", api="responses")
    for code in words(module.ResponseError.model_fields["code"].annotation):
        body = {"error": {"code": code, "message": "m"}}
        kind = target.failure(200, {}, body).kind
        assert (kind == "server") is (code == "server_error"), (code, kind)


# -- Anthropic ----------------------------------------------------------------------


def test_anthropics_parameters_are_written_or_pass() -> None:
    from llmbalance.providers import _anthropic_request as request

    module = vendor("anthropic.types.message_create_params")
    known = hints(module.MessageCreateParamsBase)
    translated = {
        *("max_tokens", "messages", "model", "metadata", "output_config"),
        *("service_tier", "stop_sequences", "system", "tool_choice", "tools"),
    }
    by_extra_body = {"diagnostics", "user_profile_id", "workspace_id"}
    assert known - translated - request._NATIVE == by_extra_body


def test_anthropics_reasons_and_counts_are_known() -> None:
    stop = vendor("anthropic.types.stop_reason")
    assert words(stop.StopReason) <= anthropic.FINISH_REASONS.keys()
    usage = vendor("anthropic.types.usage")
    assert hints(usage.Usage) <= names(claude.WireUsage)
    effort = vendor("anthropic.types.output_config_param")
    told = typing.get_type_hints(effort.OutputConfigParam)["effort"]
    assert words(told) == set(_models.EFFORTS) - {"minimal"}


def test_anthropics_models_take_what_their_names_say() -> None:
    module = vendor("anthropic.types.model")
    for name in words(module.Model):
        model = _models.claude_model(name)
        assert model.thinks, name
        newer = name.startswith(("claude-fable", "claude-mythos"))
        newer |= name.startswith(("claude-opus-5", "claude-sonnet-5", "claude-haiku-5"))
        if newer:
            assert model.adaptive and not model.samples and model.schema, name


# -- Google -------------------------------------------------------------------------


def test_googles_reasons_to_stop_are_known_or_a_failure() -> None:
    types = vendor("google.genai.types")
    failures = {
        *("LANGUAGE", "OTHER", "MALFORMED_FUNCTION_CALL", "IMAGE_OTHER", "NO_IMAGE"),
        *("UNEXPECTED_TOOL_CALL", "TOO_MANY_TOOL_CALLS", "MALFORMED_RESPONSE"),
        "MISSING_THOUGHT_SIGNATURE",
    }
    target = make("google")
    for reason in types.FinishReason:
        said = str(reason.value)
        if said == "FINISH_REASON_UNSPECIFIED":
            continue
        assert (said in google.FINISH_REASONS) != (said in failures), said
        if said in failures:
            one = {"content": {"parts": []}, "finishReason": said}
            with pytest.raises(ServerError):
                target.chat_reply(200, {}, json.dumps({"candidates": [one]}).encode())


def test_googles_settings_are_written_or_pass() -> None:
    types = vendor("google.genai.types")
    from llmbalance.providers import _google_request as request

    known = {_camel(name) for name in hints(types.GenerateContentConfig)}
    written = {
        *request._GENERATION.values(),
        *request._NATIVE,
        *("systemInstruction", "stopSequences", "tools", "toolConfig", "serviceTier"),
        *("responseMimeType", "responseSchema", "responseJsonSchema"),
        *("thinkingConfig", "responseLogprobs", "logprobs"),
    }
    client = {"httpOptions", "shouldReturnHttpResponse", "automaticFunctionCalling"}
    by_extra_body = {
        *("routingConfig", "modelSelectionConfig", "responseModalities", "store"),
        *("mediaResolution", "speechConfig", "audioTimestamp", "imageConfig"),
        *("enableEnhancedCivicAnswers", "modelArmorConfig", "continuationToken"),
        *("audioTranscriptionConfig", "automaticContinuation"),
        "generationOutputConfig",
    }
    assert known - written - client == by_extra_body


def test_googles_counts_are_read() -> None:
    types = vendor("google.genai.types")
    told = {_camel(n) for n in hints(types.GenerateContentResponseUsageMetadata)}
    by_kind = {"cacheTokensDetails", "toolUsePromptTokensDetails"}
    assert told - names(gemini.WireUsage) == by_kind
    token = {_camel(n) for n in hints(types.LogprobsResultCandidate)}
    assert token - names(gemini.WireToken) == {"tokenId"}


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(part.capitalize() for part in rest)


# -- Groq and Mistral ---------------------------------------------------------------


def written(name: str, model: str = "m") -> set[str]:
    """What stands in a body when a call gives everything that every host may know."""
    embeds = {"dimensions", "encoding_format", "input_type"}
    sample: dict[str, Any] = dict.fromkeys(PARAMETERS - embeds, 1)
    del sample["n"], sample["extra_body"]
    tools = [{"type": "function", "function": {"name": "f"}}]
    sample |= {
        "reasoning_effort": "low",
        "service_tier": "default",
        "response_format": {"type": "json_object"},
        "tools": tools,
        "stream_options": {},
    }
    call = Call(messages=ASK, params=sample, stream=True)
    return set(json.loads(make(name, model).chat(call).body))


def test_openai_knows_every_parameter_that_it_gets() -> None:
    module = vendor("openai.types.chat.completion_create_params")
    known = hints(module.CompletionCreateParamsBase)
    for model in ("gpt-4o", "gpt-5.2", "o3"):
        assert written("openai", model) - known == {"stream"}


def test_groq_knows_every_parameter_that_it_gets() -> None:
    module = vendor("groq.types.chat.completion_create_params")
    known = hints(module.CompletionCreateParams)
    usage = {"stream_options"}  # not in the client, answered all the same
    assert written("groq", "openai/gpt-oss-120b") - known == usage
    told = vendor("groq.types.completion_usage")
    times = {"completion_time", "prompt_time", "queue_time", "total_time"}
    assert hints(told.CompletionUsage) - names(openai_wire.WireUsage) == times
    parts = hints(told.PromptTokensDetails)
    assert parts <= names(openai_wire.PromptParts)
    tiers = typing.get_type_hints(module.CompletionCreateParams)["service_tier"]
    assert words(tiers) >= {*hosts._GROQ_TIERS.values(), "auto", "flex"}


def test_mistral_knows_every_parameter_that_it_gets() -> None:
    module = vendor("mistralai.client.models.chatcompletionrequest")
    known = hints(module.ChatCompletionRequest)
    assert written("mistral") - known == set()
    usage = vendor("mistralai.client.models.usageinfo")
    heard = {"prompt_audio_seconds"}  # audio is counted in tokens, too
    assert hints(usage.UsageInfo) - names(openai_wire.WireUsage) <= heard
    tier = vendor("mistralai.client.models.requestedservicetier")
    assert words(tier.RequestedServiceTier) == {"auto", "standard_only"}
    choice = vendor("mistralai.client.models.chatcompletionchoice")
    reasons = words(choice.ChatCompletionChoiceFinishReason)
    alike = {"stop", "length", "tool_calls"}
    mapped = {*_openai_stream.FINISH_REASONS, *_openai_stream.FAILED}
    assert reasons - alike <= mapped
