"""Google's application default credentials, against servers on loopback.

Keys are made on the spot; google-auth signs, the test checks what it signed.
"""

from __future__ import annotations

import base64
import json
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
from faults import FaultServer, Peer, reply

from llmbalance import AuthenticationError, Backend, ConfigError, Price, Router
from llmbalance.providers import dialect
from llmbalance.providers._base import KeyPending

ASK = [{"role": "user", "content": "hi"}]
ANSWER = {
    "candidates": [{"content": {"parts": [{"text": "Hi."}]}, "finishReason": "STOP"}],
    "usageMetadata": {"promptTokenCount": 2, "candidatesTokenCount": 2},
}
MAIL = "robot@mine.iam.gserviceaccount.com"


class Google:
    """Token endpoint, metadata server and Vertex AI at one address."""

    def __init__(self, server: FaultServer) -> None:
        self.server = server
        self.grants: list[dict[str, str]] = []  # what tokens were asked for with
        self.life = 3600
        self.refuse = False
        self.gate = threading.Event()  # tokens are given out when it is set
        self.gate.set()
        self.freely = 0  # so many are given out without it
        server.on("*", self.serve)

    def serve(self, peer: Peer) -> None:
        target, body = peer.request.target, peer.request.body
        if target.startswith("/v1/projects/"):
            body = json.dumps(ANSWER).encode()
            streams = "streamGenerateContent" in target
            peer.send(reply(b"data: %s\r\n\r\n" % body if streams else body))
        elif target == "/token" or "/token?" in target:
            grant = {k: v[0] for k, v in parse_qs(body.decode()).items()}
            self.grants.append(grant)
            if len(self.grants) > self.freely:
                self.gate.wait(10)
            if self.refuse:
                told = {"error": "invalid_grant", "error_description": "no such robot"}
                peer.send(reply(json.dumps(told).encode(), 400))
                return
            token = f"token-{len(self.grants)}"
            made = {"access_token": token, "expires_in": self.life}
            text = json.dumps({**made, "token_type": "Bearer"})
            peer.send(reply(text.encode(), 200, "Content-Type: application/json"))
        else:
            told = {"email": MAIL, "scopes": ["s"], "aliases": ["default"]}
            text = json.dumps(told) if "recursive" in target else "machine-project"
            kind = "application/json" if "recursive" in target else "text/plain"
            flavor = "Metadata-Flavor: Google"
            peer.send(reply(text.encode(), 200, flavor, f"Content-Type: {kind}"))

    def seen(self, header: str) -> list[str | None]:
        """A header of all requests that came to Vertex AI."""
        sent = [r for r in self.server.requests if r.target.startswith("/v1/projects/")]
        return [request.headers.get(header) for request in sent]


@pytest.fixture
def google(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Google]:
    pytest.importorskip("requests", reason="needs requests")
    # Before the environment is set: it reads some variables once and for all.
    machine = "google.auth.compute_engine._metadata"
    pytest.importorskip(machine, reason="needs google-auth")
    for name in (
        *("GOOGLE_APPLICATION_CREDENTIALS", "CLOUDSDK_AUTH_ACCESS_TOKEN"),
        *("GOOGLE_CLOUD_PROJECT", "GOOGLE_CLOUD_LOCATION", "CLOUD_ML_REGION"),
        *("GOOGLE_CLOUD_QUOTA_PROJECT", "ANTHROPIC_VERTEX_PROJECT_ID"),
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    with FaultServer() as server:
        yield Google(server)


@pytest.fixture(scope="module")
def key() -> Any:
    rsa = pytest.importorskip("cryptography.hazmat.primitives.asymmetric.rsa")
    return rsa.generate_private_key(65537, 2048)


def write_robot(google: Google, key: Any, folder: Path) -> str:
    from cryptography.hazmat.primitives import serialization as form

    text = key.private_bytes(
        form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption()
    ).decode()
    file = folder / "robot.json"
    told = {
        "type": "service_account",
        "project_id": "mine",
        "private_key_id": "k1",
        "private_key": text,
        "client_email": MAIL,
        "token_uri": f"{google.server.url}/token",
    }
    file.write_text(json.dumps(told))
    return str(file)


def backend(google: Google, model: str = "gemini-2.5-flash", **more: Any) -> Backend:
    settings: dict[str, Any] = {
        "name": "v",
        "groups": ["all"],
        "base_url": google.server.url,
        "price": Price(1, 2),
    }
    return Backend(f"vertex/{model}", **settings | more)


def unpacked(text: str) -> Any:
    return json.loads(base64.urlsafe_b64decode(text + "=="))


async def test_a_service_account_signs_for_a_token_that_many_calls_share(
    google: Google, key: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
    from cryptography.hazmat.primitives.hashes import SHA256

    path = write_robot(google, key, tmp_path)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", path)
    async with Router([backend(google)]) as router:
        whole = await router.chat("v", ASK)
        chunks = [c async for c in await router.chat("v", ASK, stream=True)]
    assert whole.text == "Hi." and chunks[-1].usage == whole.usage
    assert google.seen("authorization") == ["Bearer token-1"] * 2
    assert google.seen("x-goog-user-project") == [None, None]
    assert "/projects/mine/" in google.server.requests[-1].target
    (grant,) = google.grants
    signed, _, signature = grant["assertion"].rpartition(".")
    header, claims = map(unpacked, signed.split("."))
    assert header["alg"] == "RS256" and header["kid"] == "k1"
    assert claims["iss"] == MAIL and "cloud-platform" in claims["scope"]
    raw = base64.urlsafe_b64decode(signature + "==")
    key.public_key().verify(raw, signed.encode(), PKCS1v15(), SHA256())


def test_claude_and_blocking_calls_have_the_same_credentials(
    google: Google, key: Any, tmp_path: Path
) -> None:
    path = write_robot(google, key, tmp_path)
    claude = dialect("vertex")(
        model="claude-opus-4-6",
        base_url=google.server.url,
        options={"credentials": path},
    )
    with pytest.raises(KeyPending):
        claude.request_headers()
    end = time.monotonic() + 10
    while time.monotonic() < end and not google.grants:
        time.sleep(0.01)
    router = Router([backend(google, options={"credentials": path})])
    assert router.sync.chat("v", ASK).text == "Hi."
    assert google.seen("authorization") == ["Bearer token-2"]
    assert claude.request_headers() == ["Authorization: Bearer token-1"]


async def test_a_users_own_login_says_who_pays(
    google: Google, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from google.oauth2 import credentials

    url = f"{google.server.url}/token"
    monkeypatch.setattr(credentials, "_GOOGLE_OAUTH2_TOKEN_ENDPOINT", url)
    told = {
        "type": "authorized_user",
        "client_id": "c",
        "client_secret": "very-secret",
        "refresh_token": "r",
        "quota_project_id": "payer",
    }
    (tmp_path / "application_default_credentials.json").write_text(json.dumps(told))
    async with Router([backend(google)]) as router:
        assert (await router.chat("v", ASK)).text == "Hi."
        assert "very-secret" not in repr(router)
    assert google.seen("authorization") == ["Bearer token-1"]
    assert google.seen("x-goog-user-project") == ["payer"]
    assert google.grants[0]["refresh_token"] == "r"


async def test_on_googles_machines_the_metadata_server_gives_tokens(
    google: Google, monkeypatch: pytest.MonkeyPatch
) -> None:
    from google.auth.compute_engine import _metadata

    host = google.server.url.removeprefix("http://")
    monkeypatch.setattr(_metadata, "_GCE_METADATA_HOST", host)
    monkeypatch.setenv("GCE_METADATA_IP", host)
    monkeypatch.delenv("NO_GCE_CHECK")
    async with Router([backend(google)]) as router:
        assert (await router.chat("v", ASK)).text == "Hi."
    assert google.seen("authorization") == ["Bearer token-1"]
    targets = [request.target for request in google.server.requests]
    assert targets[0] == "/computeMetadata/v1/project/project-id"
    assert targets[-1].startswith("/v1/projects/machine-project/locations/")


def test_nobody_is_asked_for_a_project_that_is_known_or_off_googles_machines(
    google: Google, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = google.server.url.removeprefix("http://")
    monkeypatch.setenv("GCE_METADATA_HOST", host)
    with pytest.raises(ConfigError, match="project"):
        Router([backend(google)])
    monkeypatch.delenv("NO_GCE_CHECK")
    Router([backend(google, options={"project": "mine"})]).close()
    assert google.server.requests == []
    monkeypatch.setenv("GCE_METADATA_HOST", "127.0.0.1:1")  # nobody listens there
    with pytest.raises(ConfigError, match="GOOGLE_CLOUD_PROJECT"):
        Router([backend(google)])


async def test_a_token_is_replaced_before_it_ends_and_no_call_waits_for_it(
    google: Google, key: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    google.life = 200  # less than what is left for a new one
    google.gate.clear()
    google.freely = 1
    monkeypatch.setattr("llmbalance.providers._google_auth._PAUSE", 0.0)
    path = write_robot(google, key, tmp_path)
    async with Router([backend(google, options={"credentials": path})]) as router:
        await router.chat("v", ASK)
        google.life = 3600
        await router.chat("v", ASK)  # the new token is on its way: the old one serves
        google.gate.set()
        end = time.monotonic() + 10
        while time.monotonic() < end and google.seen("authorization")[-1] != (
            "Bearer token-2"
        ):
            await router.chat("v", ASK)
    seen = google.seen("authorization")
    assert seen[:2] == ["Bearer token-1"] * 2 and seen[-1] == "Bearer token-2"
    assert len(google.grants) == 2


async def test_without_a_token_the_call_goes_elsewhere_and_says_why(
    google: Google, key: Any, tmp_path: Path
) -> None:
    google.refuse = True
    path = write_robot(google, key, tmp_path)
    google.server.on("/v1/chat/completions", say)
    first = backend(google, options={"credentials": path}, order=0)
    other = Backend(
        "openai_compatible/m",
        name="o",
        groups=["all"],
        base_url=f"{google.server.url}/v1",
        price=Price(1, 2),
        order=1,
    )
    async with Router([first, other]) as router:
        reply = await router.chat("all", ASK)
        assert [(a.backend, a.error) for a in reply.attempts] == [
            ("v", "auth"),
            ("o", None),
        ]
        with pytest.raises(AuthenticationError, match="invalid_grant"):
            await router.chat("v", ASK)


def say(peer: Peer) -> None:
    choice = {"message": {"content": "Other."}, "finish_reason": "stop"}
    peer.send(reply(json.dumps({"choices": [choice]}).encode()))


async def test_a_caller_who_leaves_while_a_token_is_fetched_reserves_nothing(
    google: Google, key: Any, tmp_path: Path
) -> None:
    import asyncio

    google.gate.clear()
    path = write_robot(google, key, tmp_path)
    async with Router([backend(google, options={"credentials": path})]) as router:
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(router.chat("v", ASK), 0.1)
        google.gate.set()
        assert router._fleet.pool.backend(0)["in_flight"] == 0
        assert router.costs()["backends"]["v"]["total"] == 0
        assert (await router.chat("v", ASK)).text == "Hi."


@pytest.mark.parametrize("text", ["no JSON", "[]", '{"project_id": "p"}'])
def test_a_file_that_is_no_credentials_is_refused_at_once(
    google: Google, tmp_path: Path, text: str
) -> None:
    file = tmp_path / "wrong.json"
    file.write_text(text)
    with pytest.raises(ConfigError, match=r"wrong\.json"):
        Router([backend(google, options={"credentials": str(file)})])


def test_other_kinds_of_files_are_named_in_googles_own_variable(
    google: Google, tmp_path: Path
) -> None:
    file = tmp_path / "federation.json"
    file.write_text('{"type": "external_account"}')
    with pytest.raises(ConfigError, match="set GOOGLE_APPLICATION_CREDENTIALS"):
        Router([backend(google, options={"credentials": str(file)})])


def test_without_google_auth_the_error_names_the_extra(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("CLOUDSDK_AUTH_ACCESS_TOKEN", raising=False)
    monkeypatch.setitem(sys.modules, "google.auth", None)
    with pytest.raises(ConfigError, match=r"llmbalance\[vertex\]"):
        dialect("vertex")(model="gemini-2.5-flash", options={"project": "mine"})
