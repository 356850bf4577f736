"""OpenAI's Responses API: requests, whole answers, and its numbered stream events.

    created, in_progress, (output_item.added ... delta* ... output_item.done)*,
    completed | incomplete

Every event carries its type twice (as name and as field) and a sequence number; there
is no [DONE], and usage stands in the last event alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .._exchange import Ask, Call, Reply
from .._words import pieces
from ._base import Event, Turn, bad, encode, integer, read_tool

_TEXTS = ("input_text", "output_text", "refusal", "summary_text")


def read_responses(ask: Ask, body: dict[str, Any]) -> Ask:
    """Fill an ask from the body of POST /responses."""
    ask.form = "responses"
    if isinstance(body.get("instructions"), str):
        ask.read(body["instructions"])
        ask.prefixes += (body["instructions"],)
    given = body.get("input")
    items = [{"role": "user", "content": given}] if isinstance(given, str) else given
    if not isinstance(items, list) or not items:
        bad("Missing required parameter: 'input'.", "input")
    ask.messages = len(items)
    for i, item in enumerate(items):
        _read_item(ask, item, f"input[{i}]")
    for tool in body.get("tools") or ():
        if tool.get("type") == "function":
            name, about = tool.get("name"), tool.get("description")
            read_tool(ask, name, about, tool.get("parameters"))
    ask.max_tokens = integer(body.get("max_output_tokens"), "max_output_tokens")
    choice = body.get("tool_choice")
    if choice == "required":
        ask.must_call = ""
    elif isinstance(choice, dict):
        ask.must_call = choice.get("name", "")
    form = (body.get("text") or {}).get("format") or {}
    ask.wants_json = form.get("type") in ("json_object", "json_schema")
    ask.schema = form.get("schema")
    ask.stream = body.get("stream") is True
    return ask


def _read_item(ask: Ask, item: Any, where: str) -> None:
    if not isinstance(item, dict):
        bad(f"Invalid type for '{where}': expected an object.", where)
    kind, text = item.get("type", "message"), ""
    if kind == "message":
        content = item.get("content")
        parts = content if isinstance(content, list) else [content]
        for part in parts:
            if isinstance(part, str):
                text += part
            elif isinstance(part, dict) and part.get("type") in _TEXTS:
                text += part.get("text") or part.get("refusal") or ""
            elif isinstance(part, dict) and str(part.get("type")).startswith("input_"):
                ask.images += 1
            else:
                bad(f"Invalid value for '{where}.content'.", f"{where}.content")
    elif kind == "function_call":
        text = f"{item.get('name')}{item.get('arguments')}"
    elif kind == "function_call_output":
        output = item.get("output")
        text = output if isinstance(output, str) else encode(output).decode()
    elif kind != "reasoning":
        bad(f"Invalid value: '{kind}' in '{where}.type'.", f"{where}.type")
    ask.read(text)
    ask.prefixes += (text,)
    if item.get("role") == "user":
        ask.prompt = text


def items(turn: Turn) -> list[dict[str, Any]]:
    """The finished output items of an answer."""
    reply, output = turn.reply, []
    if reply.reasoning:
        summary = [{"type": "summary_text", "text": reply.reasoning}]
        output.append({"id": f"rs_{turn.key}", "type": "reasoning", "summary": summary})
    if reply.text or not reply.calls:
        output.append(_message(turn, _status(reply), [_text(reply.text)]))
    for i, call in enumerate(reply.calls):
        output.append(_call(turn, i, call, "completed", call.arguments))
    return output


def _text(text: str) -> dict[str, Any]:
    return {"type": "output_text", "annotations": [], "logprobs": [], "text": text}


def _message(turn: Turn, status: str, content: list[Any]) -> dict[str, Any]:
    head = {"id": f"msg_{turn.key}", "type": "message", "status": status}
    return head | {"content": content, "role": "assistant"}


def _call(turn: Turn, i: int, call: Call, status: str, text: str) -> dict[str, Any]:
    return {
        "id": f"fc_{turn.key}{i:02d}",
        "type": "function_call",
        "status": status,
        "arguments": text,
        "call_id": f"call_{turn.key}{i:02d}",
        "name": call.name,
    }


def _status(reply: Reply) -> str:
    return "incomplete" if reply.finish in ("length", "content_filter") else "completed"


def response(turn: Turn, *, done: bool = True) -> dict[str, Any]:
    """The response object, as it stands at the beginning or at the end."""
    body, reply, used = turn.ask.body, turn.reply, turn.usage
    why = {"length": "max_output_tokens", "content_filter": "content_filter"}
    reason = why.get(reply.finish) if done else None
    usage = {
        "input_tokens": used.input,
        "input_tokens_details": {"cached_tokens": used.cached, "cache_write_tokens": 0},
        "output_tokens": used.output,
        "output_tokens_details": {"reasoning_tokens": used.reasoning},
        "total_tokens": used.input + used.output,
    }
    return {
        "id": f"resp_{turn.key}",
        "object": "response",
        "created_at": turn.created,
        "status": _status(reply) if done else "in_progress",
        "background": False,
        "error": None,
        "incomplete_details": {"reason": reason} if reason else None,
        "instructions": body.get("instructions"),
        "max_output_tokens": body.get("max_output_tokens"),
        "max_tool_calls": None,
        "model": turn.ask.model,
        "output": items(turn) if done else [],
        "parallel_tool_calls": body.get("parallel_tool_calls", True),
        "previous_response_id": body.get("previous_response_id"),
        "prompt_cache_key": body.get("prompt_cache_key"),
        "reasoning": {"effort": None, "summary": None},
        "safety_identifier": body.get("safety_identifier"),
        "service_tier": "default" if done else "auto",
        "store": body.get("store", True),
        "temperature": body.get("temperature", 1.0),
        "text": body.get("text") or {"format": {"type": "text"}, "verbosity": "medium"},
        "tool_choice": body.get("tool_choice", "auto"),
        "tools": body.get("tools") or [],
        "top_logprobs": 0,
        "top_p": body.get("top_p", 1.0),
        "truncation": "disabled",
        "usage": usage if done else None,
        "user": body.get("user"),
        "metadata": body.get("metadata") or {},
    }


def events(turn: Turn) -> Iterator[Event]:
    """The stream of an answer."""
    number = 0

    def event(kind: str, **fields: Any) -> bytes:
        nonlocal number
        data = {"type": f"response.{kind}"} | fields | {"sequence_number": number}
        number += 1
        return b"event: response.%b\ndata: %b\n\n" % (kind.encode(), encode(data))

    at = 0
    yield at, event("created", response=response(turn, done=False))
    yield at, event("in_progress", response=response(turn, done=False))
    for index, item in enumerate(items(turn)):
        place = {"output_index": index}
        empty = {k: _emptied(k, v) for k, v in item.items()}
        yield at, event("output_item.added", item=empty, **place)
        place["item_id"] = item["id"]
        for tokens, kind, fields in _inner(item):
            at += tokens
            yield at, event(kind, **fields, **place)
        del place["item_id"]
        yield at, event("output_item.done", item=item, **place)
    end = "completed" if _status(turn.reply) == "completed" else "incomplete"
    yield at, event(end, response=response(turn))


def _emptied(key: str, value: Any) -> Any:
    """A field of an item that has only just begun."""
    blank = {"content": [], "summary": [], "arguments": "", "status": "in_progress"}
    return blank.get(key, value)


def _inner(item: dict[str, Any]) -> Iterator[tuple[int, str, dict[str, Any]]]:
    """(tokens, event, fields) between the beginning and the end of an item."""
    kind = item["type"]
    if kind == "function_call":
        base = "function_call_arguments"
        for piece in pieces(item["arguments"]):
            yield 1, f"{base}.delta", {"delta": piece}
        yield 0, f"{base}.done", {"arguments": item["arguments"], "name": item["name"]}
        return
    if kind == "reasoning":
        part, base, at = item["summary"][0], "reasoning_summary", "summary_index"
        extra: dict[str, Any] = {}
        text_event = f"{base}_text"
    else:
        part, base, at = item["content"][0], "content", "content_index"
        extra = {"logprobs": []}
        text_event = "output_text"
    yield 0, f"{base}_part.added", {at: 0, "part": part | {"text": ""}}
    for piece in pieces(part["text"]):
        yield 1, f"{text_event}.delta", {at: 0, "delta": piece} | extra
    yield 0, f"{text_event}.done", {at: 0, "text": part["text"]} | extra
    yield 0, f"{base}_part.done", {at: 0, "part": part}


def stream_error(turn: Turn) -> bytes:
    """An error event under status 200; nothing follows it."""
    data = {
        "type": "error",
        "code": "server_error",
        "message": "The server had an error processing your request. Sorry about that!",
        "param": None,
        "sequence_number": turn.sent,
    }
    return b"event: error\ndata: " + encode(data) + b"\n\n"
