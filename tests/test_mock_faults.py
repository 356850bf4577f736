"""The mock's clock and its faults, over real sockets."""

from __future__ import annotations

import http.client
import json
import threading
import time

import pytest
from test_mock_server import CHAT, HEADERS, Client, chat, wait_until

from llmbalance.testing import MockProvider, Script


@pytest.fixture
def provider():
    with MockProvider("openai", model="m") as running:
        yield running


# --- time --------------------------------------------------------------------


def test_whole_answers_take_the_time_of_their_tokens():
    with (
        MockProvider(ttft=0.05, per_token=0.002, output_tokens=26) as provider,
        Client(provider) as client,
    ):
        start = time.monotonic()
        client.chat().read()
        took = time.monotonic() - start
    assert 0.1 <= took < 5


def test_streams_give_the_first_token_first():
    with (
        MockProvider(ttft=0.05, per_token=0.005, output_tokens=21) as provider,
        Client(provider) as client,
    ):
        start = time.monotonic()
        reply = client.chat(stream=True)
        assert b'"role":"assistant"' in reply.readline()
        first = time.monotonic() - start
        reply.read()
        took = time.monotonic() - start
    assert first >= 0.05
    assert took - first >= 0.05  # most of the other twenty come later
    assert took >= 0.15


def test_slow_multiplies_the_latency():
    with MockProvider(ttft=0.02) as provider, Client(provider) as client:
        provider.slow(factor=5)
        start = time.monotonic()
        client.chat().read()
        assert time.monotonic() - start >= 0.1


def test_a_client_that_leaves_is_counted_and_frees_its_slot():
    with MockProvider("vllm", ttft=30, max_concurrency=1) as provider:
        first, second = Client(provider), Client(provider)
        body = json.dumps(CHAT)
        first.conn.request("POST", "/v1/chat/completions", body, HEADERS)
        wait_until(lambda: provider.in_flight == 1)
        second.conn.request("POST", "/v1/chat/completions", body, HEADERS)
        wait_until(lambda: len(provider.requests) == 2)
        second.conn.close()
        wait_until(lambda: provider.cancelled == 1)
        first.conn.close()
        wait_until(lambda: provider.cancelled == 2 and provider.in_flight == 0)


def test_busy_slots_make_a_queue_at_a_local_server_and_a_429_elsewhere():
    with MockProvider("vllm", ttft=0.05, max_concurrency=1) as provider:
        threads = [threading.Thread(target=chat, args=(provider,)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert (provider.served, provider.peak) == (4, 1)
    with (
        MockProvider("openai", ttft=5, max_concurrency=1) as provider,
        Client(provider) as one,
        Client(provider) as two,
    ):
        one.conn.request("POST", "/v1/chat/completions", json.dumps(CHAT), HEADERS)
        wait_until(lambda: provider.in_flight == 1)
        assert two.chat().status == 429


def test_a_full_queue_is_a_503():
    with MockProvider("ollama", ttft=5, max_concurrency=1, max_queue=1) as provider:
        held = [Client(provider) for _ in range(2)]
        for i, client in enumerate(held):
            path = "/v1/chat/completions"
            client.conn.request("POST", path, json.dumps(CHAT), HEADERS)
            wait_until(lambda i=i: len(provider.requests) == i + 1)
        with Client(provider) as third:
            reply = third.chat()
            assert reply.status == 503
            assert b"maximum pending requests exceeded" in reply.read()
        for client in held:
            client.conn.close()


# --- faults ------------------------------------------------------------------


def test_an_outage_begins_and_ends_by_the_clock():
    script = Script().outage(0.0, 0.6, status=503)
    with MockProvider(script=script) as provider, Client(provider) as client:
        assert client.chat().status == 503
        wait_until(lambda: provider.clock() > 0.6)
        client.conn.close()
        assert client.chat().status == 200
    assert (provider.errors, provider.served) == (1, 1)


def test_an_outage_at_once_lasts_until_recovery(provider):
    with Client(provider) as client:
        provider.outage(status=500)
        assert client.chat().status == 500
        client.conn.close()
        provider.recover()
        assert client.chat().status == 200


def test_an_outage_without_status_drops_connections(provider):
    provider.outage(status=None)
    with Client(provider) as client, pytest.raises(ConnectionError):
        client.chat()
    assert provider.errors == 1


def test_a_hang_never_answers(provider):
    provider.hang(n=1)
    with Client(provider) as client:
        client.conn.timeout = 0.1
        with pytest.raises(TimeoutError):
            client.chat()
    wait_until(lambda: provider.cancelled == 1)
    with Client(provider) as client:
        assert client.chat().status == 200


def test_the_next_n_fail_with_the_given_body_and_wait(provider):
    provider.fail_next(2, status=529, body={"oh": "no"}, retry_after=7)
    with Client(provider) as client:
        for _ in range(2):
            reply = client.chat()
            assert reply.status == 529
            assert reply.headers["retry-after"] == "7"
            assert json.loads(reply.read()) == {"oh": "no"}
        assert client.chat().status == 200


@pytest.mark.parametrize("how", ["close", "reset", "end"])
def test_a_cut_stream_ends_after_its_tokens(provider, how):
    provider.cut_stream(after_tokens=5, how=how, n=1)
    with Client(provider) as client:
        try:
            got, ended = client.chat(stream=True).read(), "end"
        except http.client.IncompleteRead as broken:
            got, ended = broken.partial, "close"
        except ConnectionError:
            got, ended = b"", "reset"
    assert ended == how
    if how != "reset":  # a reset may overtake what was sent
        assert got.count(b'"content":') - 1 == 5
    assert b'finish_reason":"stop' not in got
    assert b"[DONE]" not in got
    assert (provider.errors, provider.served, provider.tokens_out) == (1, 0, 5)
    with Client(provider) as client:
        assert b"[DONE]" in client.chat(stream=True).read()


def test_a_cut_beyond_the_end_is_none(provider):
    provider.cut_stream(after_tokens=33)
    with Client(provider) as client:
        assert b"[DONE]" in client.chat(stream=True).read()
    assert provider.served == 1


def test_a_cut_at_the_last_token_takes_the_finish_away(provider):
    provider.cut_stream(after_tokens=32, how="end")
    with Client(provider) as client:
        got = client.chat(stream=True).read()
    assert got.count(b'"content":') - 1 == 32
    assert b"[DONE]" not in got


def test_garbage_is_no_answer(provider):
    provider.garbage(kind="truncated", n=1)
    with Client(provider) as client:
        reply = client.chat()
        assert reply.status == 200
        with pytest.raises(json.JSONDecodeError):
            json.loads(reply.read())
        provider.garbage(kind="html", n=1)
        assert client.chat().read().startswith(b"<!DOCTYPE html>")
        provider.garbage(kind="empty", n=1)
        assert client.chat().read() == b""
        provider.garbage(kind="truncated", n=1)
        assert b"[DONE]" not in client.chat(stream=True).read()
        provider.garbage(kind="noise", n=1)
        with pytest.raises(http.client.HTTPException):
            client.chat()
    assert (provider.errors, provider.served) == (5, 0)


def test_random_errors_come_at_their_rate_and_are_seeded():
    runs = []
    for _ in range(2):
        with MockProvider(error_rate=0.3, seed=5) as provider:
            with Client(provider) as client:
                replies = []
                for _ in range(200):
                    reply = client.chat()
                    replies.append(reply.status)
                    reply.read()
            runs.append(replies)
    assert runs[0] == runs[1]
    assert 40 <= runs[0].count(500) <= 80


def test_a_throttle_changes_the_limit_for_its_time():
    script = Script().throttle(0, 0.8, rpm=1)
    with MockProvider(script=script) as provider, Client(provider) as client:
        first, second = client.chat(), None
        first.read()
        second = client.chat()
        second.read()
        assert (first.status, second.status) == (200, 429)
        assert second.headers["x-ratelimit-limit-requests"] == "1"
        wait_until(lambda: provider.clock() > 0.8)
        assert client.chat().status == 200
