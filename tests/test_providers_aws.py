"""Bedrock through the router: every request signed as AWS computes it.

The server at the other end checks signatures by the published recipe; where botocore
is installed, AWS's own client must come to the same signature.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
from exchanges import frame
from faults import FaultServer, Peer, Request, reply

from llmbalance import AuthenticationError, Backend, ConfigError, Price, Router

KEY, SECRET = "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
MODEL = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
ASK = [{"role": "user", "content": "What is the capital of France?"}]
ANSWER = {
    "output": {"message": {"role": "assistant", "content": [{"text": "Paris."}]}},
    "stopReason": "end_turn",
    "usage": {"inputTokens": 13, "outputTokens": 3, "totalTokens": 16},
}
FRAMES = [
    ("messageStart", {"role": "assistant"}),
    ("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": "Paris."}}),
    ("contentBlockStop", {"contentBlockIndex": 0}),
    ("messageStop", {"stopReason": "end_turn"}),
    ("metadata", {"usage": ANSWER["usage"]}),
]


def signature(request: Request, secret: str) -> str:
    """Signature Version 4 of what arrived, with the headers it says it covers."""
    _, _, rest = request.headers["authorization"].partition(" ")
    parts = dict(part.strip().split("=", 1) for part in rest.split(","))
    _, date, region, service, last = parts["Credential"].split("/")
    path, _, query = request.target.partition("?")
    canonical = [
        request.method,
        quote(path, safe="/-_.~"),
        "&".join(sorted(query.split("&"))),
        *(
            f"{name}:{request.headers[name].strip()}"
            for name in parts["SignedHeaders"].split(";")
        ),
        "",
        parts["SignedHeaders"],
        hashlib.sha256(request.body).hexdigest(),
    ]
    text = [
        "AWS4-HMAC-SHA256",
        request.headers["x-amz-date"],
        f"{date}/{region}/{service}/{last}",
        hashlib.sha256("\n".join(canonical).encode()).hexdigest(),
    ]
    key = ("AWS4" + secret).encode()
    for step in (date, region, service, last):
        key = hmac.digest(key, step.encode(), "sha256")
    return hmac.digest(key, "\n".join(text).encode(), "sha256").hex()


def gate(peer: Peer) -> None:
    """Let in who signed with SECRET; say 403 as Bedrock does to everybody else."""
    said = peer.request.headers.get("authorization", "").rpartition("Signature=")[2]
    if said != signature(peer.request, SECRET):
        problem = {"message": "The security token included in the request is invalid."}
        kind = "x-amzn-ErrorType: UnrecognizedClientException"
        peer.send(reply(json.dumps(problem).encode(), 403, kind))
    elif peer.request.target.endswith("converse-stream"):
        body = b"".join(frame(name, json.dumps(v).encode()) for name, v in FRAMES)
        kind = "Content-Type: application/vnd.amazon.eventstream"
        peer.send(reply(body, 200, kind))
    else:
        peer.send(reply(json.dumps(ANSWER).encode(), 200, "x-amzn-RequestId: r-1"))


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultServer]:
    for name in (
        *("AWS_BEARER_TOKEN_BEDROCK", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"),
        *("AWS_SESSION_TOKEN", "AWS_REGION", "AWS_DEFAULT_REGION"),
    ):
        monkeypatch.delenv(name, raising=False)
    with FaultServer() as server:
        server.on("*", gate)
        yield server


def bedrock(server: FaultServer, **options: Any) -> Router:
    settings = {"region": "eu-west-1", "access_key": KEY, "secret_key": SECRET}
    backend = Backend(
        f"bedrock/{MODEL}",
        name="b",
        base_url=server.url,
        options=settings | options,
        price=Price(3, 15),
    )
    return Router([backend])


async def test_calls_and_streams_are_signed_and_let_in(aws: FaultServer) -> None:
    async with bedrock(aws) as router:
        whole = await router.chat("b", ASK, max_tokens=20)
        chunks = [c async for c in await router.chat("b", ASK, stream=True)]
    assert whole.text == "".join(chunk.text for chunk in chunks) == "Paris."
    assert whole.usage == chunks[-1].usage
    assert whole.cost_nano_usd == 13 * 3000 + 3 * 15000
    assert [r.target.rpartition("/")[2] for r in aws.requests] == [
        "converse",
        "converse-stream",
    ]
    for request in aws.requests:
        scope = f"Credential={KEY}/{request.headers['x-amz-date'][:8]}"
        assert f"{scope}/eu-west-1/bedrock/aws4_request" in request.raw.decode()
        assert SECRET not in request.raw.decode()


def test_blocking_calls_are_signed_too(aws: FaultServer) -> None:
    assert bedrock(aws).sync.chat("b", ASK).text == "Paris."


async def test_credentials_come_from_the_environment_with_their_session(
    aws: FaultServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_SESSION_TOKEN", "session/+==")
    monkeypatch.setenv("AWS_REGION", "us-west-2")
    async with Router(
        [Backend(f"bedrock/{MODEL}", name="b", base_url=aws.url, price=Price(1, 1))]
    ) as router:
        assert (await router.chat("b", ASK)).text == "Paris."
    headers = aws.requests[0].headers
    assert headers["x-amz-security-token"] == "session/+=="
    assert "x-amz-security-token" in headers["authorization"]
    assert "/us-west-2/bedrock/" in headers["authorization"]


async def test_a_wrong_secret_is_an_authentication_error(aws: FaultServer) -> None:
    async with bedrock(aws, secret_key="another-secret") as router:
        with pytest.raises(AuthenticationError) as caught:
            await router.chat("b", ASK)
    assert "another-secret" not in f"{caught.value} {router!r}"


async def test_an_api_key_is_sent_as_bearer_and_not_signed(aws: FaultServer) -> None:
    aws.on("*", lambda peer: peer.send(reply(json.dumps(ANSWER).encode())))
    backend = Backend(
        f"bedrock/{MODEL}",
        name="b",
        api_key="bedrock-api-key",
        base_url=aws.url,
        price=Price(1, 1),
    )
    async with Router([backend]) as router:
        await router.chat("b", ASK)
    headers = aws.requests[0].headers
    assert headers["authorization"] == "Bearer bedrock-api-key"
    assert "x-amz-date" not in headers


def test_without_credentials_or_region_no_router_is_made(aws: FaultServer) -> None:
    keys = {"access_key": KEY, "secret_key": SECRET}
    for options, said in (
        (keys, "AWS_REGION"),
        ({"region": "eu-west-1"}, "AWS_ACCESS_KEY_ID"),
    ):
        backend = Backend(
            f"bedrock/{MODEL}", base_url=aws.url, price=Price(1, 1), options=options
        )
        with pytest.raises(ConfigError, match=said):
            Router([backend])


async def test_botocore_computes_the_same_signature(aws: FaultServer) -> None:
    auth = pytest.importorskip("botocore.auth", reason="needs pip install botocore")
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials

    async with bedrock(aws, session_token="session/+==") as router:
        await router.chat("b", ASK)
    sent = aws.requests[0]
    said = dict(
        part.strip().split("=", 1)
        for part in sent.headers["authorization"].partition(" ")[2].split(",")
    )
    names = said["SignedHeaders"].split(";")
    theirs = AWSRequest(
        method=sent.method,
        url=f"{aws.url}{sent.target}",
        data=sent.body,
        headers={name: sent.headers[name] for name in names},
    )
    signer = auth.SigV4Auth(
        Credentials(KEY, SECRET, "session/+=="), "bedrock", "eu-west-1"
    )
    theirs.context["timestamp"] = sent.headers["x-amz-date"]
    canonical = signer.canonical_request(theirs)
    text = signer.string_to_sign(theirs, canonical)
    assert signer.signature(text, theirs) == said["Signature"]
