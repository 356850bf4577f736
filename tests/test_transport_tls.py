"""TLS with good and bad certificates, unix sockets, IPv6, signatures.

Certificates are made on the spot with the openssl command.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from faults import FaultServer, chunk, head, reply

from llmbalance._core import Origin, Response, engine_stats
from llmbalance._transport import Transport

LIMITS = (3.0, 3.0, 3.0, 3.0, 5.0)

with_openssl = pytest.mark.skipif(
    shutil.which("openssl") is None, reason="the openssl command makes certificates"
)


def openssl(folder: Path, *arguments: str) -> None:
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)


def certificate(folder: Path, name: str, host: str, ca: str, *dates: str) -> None:
    """name.pem and name.key for *host*, signed by *ca*."""
    openssl(
        folder,
        *("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"),
        *("-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}"),
    )
    (folder / f"{name}.ext").write_text(f"subjectAltName=DNS:{host}\n")
    openssl(
        folder,
        *("x509", "-req", "-in", f"{name}.csr", "-CA", f"{ca}.pem"),
        *("-CAkey", f"{ca}.key", "-CAcreateserial", "-out", f"{name}.pem"),
        *("-extfile", f"{name}.ext", *(dates or ("-days", "30"))),
    )


@pytest.fixture(scope="module")
def certs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("certs")
    for ca in ("ca", "other"):
        openssl(
            folder,
            *("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
            *("-nodes", "-keyout", f"{ca}.key", "-out", f"{ca}.pem", "-days", "30"),
            *("-subj", f"/CN={ca}", "-addext", "basicConstraints=critical,CA:TRUE"),
        )
    certificate(folder, "good", "localhost", "ca")
    certificate(folder, "expired", "localhost", "ca", "-days", "-1")
    certificate(folder, "elsewhere", "elsewhere.example", "ca")
    certificate(folder, "client", "client", "ca")
    return folder


def listen(certs: Path, name: str, *, client: bool = False) -> FaultServer:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certs / f"{name}.pem", certs / f"{name}.key")
    if client:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(certs / "ca.pem")
    server = FaultServer(context=context)
    server.on("/", lambda peer: peer.send(reply(b"secret " + peer.request.body)))
    return server


@pytest.fixture
def transport() -> Iterator[Transport]:
    transport = Transport()
    yield transport
    transport.close()


def call(transport: Transport, origin: Origin) -> Response:
    return transport.send_blocking(origin, "POST", "/", None, b"body", LIMITS)


@with_openssl
def test_a_good_certificate_is_trusted(certs: Path, transport: Transport) -> None:
    with listen(certs, "good") as server:
        origin = Origin(server.url, ca=str(certs / "ca.pem"))
        first, second = call(transport, origin), call(transport, origin)
        assert (first.error, first.body) == (None, b"secret body"), first.detail
        assert second.reused and server.connections == 1
        named = Origin(server.url, verify=str(certs / "ca.pem"))
        assert call(transport, named).error is None


@with_openssl
def test_a_directory_of_certificates_is_trusted(
    certs: Path, transport: Transport, tmp_path: Path
) -> None:
    shutil.copy(certs / "ca.pem", tmp_path)
    with pytest.raises(ValueError, match="rehash"):
        Origin("https://localhost", ca=str(tmp_path))
    openssl(tmp_path, "rehash", ".")
    with listen(certs, "good") as server:
        assert call(transport, Origin(server.url, ca=str(tmp_path))).error is None


@with_openssl
@pytest.mark.parametrize("name", ["expired", "elsewhere", "good"])
def test_a_bad_certificate_is_refused_before_a_byte_is_sent(
    certs: Path, transport: Transport, name: str
) -> None:
    ca = "other" if name == "good" else "ca"
    with listen(certs, name) as server:
        origin = Origin(server.url, ca=str(certs / f"{ca}.pem"))
        r = call(transport, origin)
        assert (r.error, r.status, r.sent) == ("tls", 0, False)
        assert r.detail
        assert server.requests == []
        assert call(transport, Origin(server.url, verify=False)).error is None


@with_openssl
def test_the_systems_certificates_do_not_trust_ours(
    certs: Path, transport: Transport
) -> None:
    with listen(certs, "good") as server:
        assert call(transport, Origin(server.url)).error == "tls"


@with_openssl
def test_a_client_certificate_is_shown(certs: Path, transport: Transport) -> None:
    with listen(certs, "good", client=True) as server:
        ca = str(certs / "ca.pem")
        cert, key = str(certs / "client.pem"), str(certs / "client.key")
        with_it = Origin(server.url, ca=ca, cert=cert, key=key)
        assert call(transport, with_it).error is None
        # TLS 1.3 tells the refusal only after the handshake.
        assert call(transport, Origin(server.url, ca=ca)).error in ("tls", "reset")


@with_openssl
def test_a_server_without_tls_and_one_that_hangs_in_the_handshake(
    certs: Path, transport: Transport
) -> None:
    ca = str(certs / "ca.pem")
    with FaultServer() as plain:
        origin = Origin(plain.url.replace("http:", "https:"), ca=ca)
        limits = (1.0, 0.0, 0.0, 0.0, 0.0)
        r = transport.send_blocking(origin, "GET", "/", None, None, limits)
        assert r.error in ("tls", "connect_timeout") and not r.sent
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        origin = Origin(f"https://localhost:{silent.getsockname()[1]}", ca=ca)
        limits = (0.2, 0.0, 0.0, 0.0, 0.0)
        r = transport.send_blocking(origin, "GET", "/", None, None, limits)
        assert r.error == "connect_timeout" and not r.sent


@with_openssl
def test_a_proxy_behind_tls_is_verified_too(certs: Path, transport: Transport) -> None:
    with listen(certs, "good") as server:
        server.on("*", lambda peer: peer.send(reply(b"by proxy")))
        ca = str(certs / "ca.pem")
        origin = Origin("http://example.invalid", proxy=server.url, ca=ca)
        r = call(transport, origin)
        assert (r.error, r.body) == (None, b"by proxy"), r.detail
        r = call(transport, Origin("http://example.invalid", proxy=server.url))
        assert r.error in ("tls", "proxy") and not r.sent
        assert len(server.requests) == 1


@with_openssl
async def test_streams_and_cuts_over_tls(certs: Path, transport: Transport) -> None:
    with listen(certs, "good") as server:
        origin = Origin(server.url, ca=str(certs / "ca.pem"))
        whole = head(chunked=True) + chunk(b"data: a\n\n") * 100
        server.on("/sse", lambda peer: peer.send(whole + b"0\r\n\r\n"))

        def cut(peer: object) -> str:
            peer.send(whole)  # type: ignore[attr-defined]
            return "close"

        server.on("/cut", cut)
        for target, error in (("/sse", None), ("/cut", "truncated")):
            stream = await transport.stream(origin, "GET", target, None, None, LIMITS)
            assert len([e async for batch in stream for e in batch]) == 100
            assert stream.end is not None
            assert stream.end.error in (error, error and "reset")


@with_openssl
def test_a_new_connection_does_not_parse_the_systems_bundle(
    certs: Path, transport: Transport
) -> None:
    """The bundle costs 20 ms of CPU; with the directory it is about one."""
    with listen(certs, "good") as server:
        failed = Origin(server.url)
        call(transport, failed)
        spent = []
        for _ in range(10):
            r = call(transport, failed)
            assert r.error == "tls"
            spent.append(r.total)
        assert sorted(spent)[5] < 0.015


def test_a_unix_socket(tmp_path: Path, transport: Transport) -> None:
    path = str(tmp_path / "s")
    with FaultServer(path=path) as server:
        server.on("/", lambda peer: peer.send(reply(b"unix")))
        origin = Origin("http://localhost", unix_socket=path)
        assert [call(transport, origin).body for _ in range(3)] == [b"unix"] * 3
        assert server.connections == 1
    assert call(transport, origin).error == "connect"


def test_ipv6(transport: Transport) -> None:
    try:
        listener = socket.create_server(("::1", 0), family=socket.AF_INET6)
    except OSError:
        pytest.skip("this machine has no IPv6 loopback")

    def serve() -> None:
        peer, _ = listener.accept()
        with peer:
            peer.recv(65536)
            peer.sendall(reply(b"six"))

    thread = threading.Thread(target=serve)
    thread.start()
    origin = Origin(f"http://[::1]:{listener.getsockname()[1]}")
    assert repr(origin).startswith("<Origin http://[::1]:")
    assert call(transport, origin).body == b"six"
    thread.join(5)
    listener.close()


def signature(headers: dict[str, str], target: str, body: bytes, secret: str) -> str:
    """Signature Version 4 as AWS documents it, from what arrived."""
    _, _, rest = headers["authorization"].partition(" ")
    parts = dict(part.strip().split("=", 1) for part in rest.split(","))
    _, date, region, service, _ = parts["Credential"].split("/")
    names = parts["SignedHeaders"].split(";")
    path, _, query = target.partition("?")
    canonical = "\n".join(
        [
            "POST",
            quote(path, safe="/-_.~"),
            "&".join(sorted(query.split("&"))),
            *(f"{name}:{headers[name].strip()}" for name in names),
            "",
            parts["SignedHeaders"],
            hashlib.sha256(body).hexdigest(),
        ]
    )
    scope = f"{date}/{region}/{service}/aws4_request"
    text = "\n".join(
        [
            "AWS4-HMAC-SHA256",
            headers["x-amz-date"],
            scope,
            hashlib.sha256(canonical.encode()).hexdigest(),
        ]
    )
    key = ("AWS4" + secret).encode()
    for step in (date, region, service, "aws4_request"):
        key = hmac.digest(key, step.encode(), "sha256")
    assert parts["Signature"] != "" and parts["Credential"].startswith("AKID/")
    return hmac.digest(key, text.encode(), "sha256").hex()


@pytest.mark.parametrize("token", ["", ":token/with+signs=="])
@pytest.mark.parametrize(
    "target",
    ["/", "/model/a.b-v1%3A0/converse", "/model/a:0/x", "/x?b=2&a=1", "/x?b&a=%2F"],
)
def test_aws_signatures_are_those_aws_computes(
    transport: Transport, token: str, target: str
) -> None:
    with FaultServer() as server:
        server.on("*", lambda peer: peer.send(reply(b"signed")))
        origin = Origin(
            server.url,
            headers=["X-Amz-Fixed: f"],
            sigv4="aws:amz:us-east-1:bedrock",
            sigv4_key="AKID:s3cret" + token,
        )
        lines = ["Content-Type: application/json", "X-Amz-Call:  c "]
        body = b"x" * 200
        r = transport.send_blocking(origin, "POST", target, lines, body, LIMITS)
        assert r.error is None, r.detail
        request = server.requests[0]
    headers = request.headers
    query = target.replace("?b&", "?b=&")
    assert headers["authorization"].endswith(
        "Signature=" + signature(headers, query, body, "s3cret")
    )
    names = "host;x-amz-call;x-amz-date;x-amz-fixed" + ";x-amz-security-token" * bool(
        token
    )
    assert f"SignedHeaders={names}," in headers["authorization"]
    assert headers.get("x-amz-security-token", "") == token[1:]
    assert request.target == target
    assert "s3cret" not in request.raw.decode()


def test_http_2_is_refused_where_it_would_lose_replies() -> None:
    try:
        Origin("https://localhost", http_version="2")
    except ValueError as error:
        assert "8.5.0" in str(error)


async def test_everything_is_closed_in_the_end() -> None:
    for _ in range(200):
        if engine_stats()["in_flight"] == 0:
            return
        await asyncio.sleep(0.01)
    raise AssertionError(engine_stats())
