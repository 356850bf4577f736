"""The values that travel: OpenAI's shape, cheap to make, honest about tokens."""

from __future__ import annotations

import json

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from llmbalance._types import (
    ChatChunk,
    ChatReply,
    Choice,
    ChunkChoice,
    Delta,
    Embedding,
    EmbeddingReply,
    Function,
    Message,
    ToolCall,
    Usage,
)

count = st.integers(0, 10**9)
PROMPT = (
    "input",
    "cache_read",
    "cache_write",
    "cache_write_1h",
    "audio_in",
    "image_in",
)
COMPLETION = ("output", "reasoning", "audio_out", "image_out")


def test_a_message_encodes_as_openai_writes_it() -> None:
    call = ToolCall("c1", Function("f", '{"a":1}'))
    encoded = json.loads(msgspec.json.encode(Message(None, tool_calls=[call])))
    assert encoded == {
        "role": "assistant",
        "tool_calls": [
            {
                "id": "c1",
                "type": "function",
                "function": {"name": "f", "arguments": '{"a":1}'},
            }
        ],
    }


def test_a_reply_gives_its_text_and_native_body() -> None:
    reply = ChatReply(choices=[Choice(Message("hi"))], raw_body=b'{"native":1}')
    assert reply.text == "hi"
    assert reply.raw == {"native": 1}
    assert reply.tool_calls == []
    assert ChatReply(choices=[]).text == ""
    assert ChatReply(choices=[]).raw is None


def test_replies_do_not_share_their_lists() -> None:
    first, second = ChatReply(choices=[]), ChatReply(choices=[])
    first.attempts.append("x")
    first.warnings.append("y")
    assert second.attempts == [] == second.warnings


def test_the_repr_leaves_the_native_body_out() -> None:
    reply = ChatReply(choices=[], raw_body=b"x" * 1000, backend="a")
    assert repr(reply) == (
        "ChatReply(backend='a', object='chat.completion', created=0)"
    )


def test_a_chunks_text_is_that_of_the_first_choice() -> None:
    other = ChunkChoice(Delta("no"), index=1)
    assert ChatChunk(choices=[other, ChunkChoice(Delta("yes"))]).text == "yes"
    assert ChatChunk(choices=[other]).text == ""
    assert ChatChunk(choices=[ChunkChoice(Delta())]).text == ""


def test_embeddings_give_their_vectors() -> None:
    reply = EmbeddingReply(data=[Embedding([0.5]), Embedding([1.0], 1)])
    assert reply.vectors == [[0.5], [1.0]]


@given(*(count,) * 6)
def test_kinds_of_tokens_add_up_to_the_totals(
    plain: int, read: int, write: int, hour: int, audio: int, image: int
) -> None:
    usage = Usage(
        prompt_tokens=plain + read + write + hour + audio + image,
        completion_tokens=plain + read + audio + image,
        cached_tokens=read,
        cache_write_tokens=write + hour,
        cache_write_1h_tokens=hour,
        audio_input_tokens=audio,
        image_input_tokens=image,
        reasoning_tokens=read,
        audio_output_tokens=audio,
        image_output_tokens=image,
    )
    kinds = usage.disjoint()
    assert sum(kinds[kind] for kind in PROMPT) == usage.prompt_tokens
    assert sum(kinds[kind] for kind in COMPLETION) == usage.completion_tokens
    assert kinds["input"] == plain == kinds["output"]


@given(*(count,) * 4)
def test_no_kind_is_negative_whatever_a_provider_reports(
    prompt: int, read: int, write: int, hour: int
) -> None:
    usage = Usage(prompt, read, 0, read, write, hour, reasoning_tokens=write)
    assert min(usage.disjoint().values()) >= 0


def test_details_are_nested_as_openai_nests_them() -> None:
    usage = Usage(10, 5, 15, 4, 2, reasoning_tokens=3, audio_input_tokens=1)
    assert usage.prompt_tokens_details.cached_tokens == 4
    assert usage.prompt_tokens_details.cache_write_tokens == 2
    assert usage.prompt_tokens_details.audio_tokens == 1
    assert usage.completion_tokens_details.reasoning_tokens == 3
