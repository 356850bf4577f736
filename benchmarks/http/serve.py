"""The servers of these benchmarks, and what to ask of them.

python serve.py CERTIFICATE KEY      one answer a TLS connection, as a process
"""

from __future__ import annotations

import json
import os
import socketserver
import ssl
import subprocess
import sys
import threading
from pathlib import Path

HERE = Path(__file__).parent
CSRC = HERE.parents[1] / "csrc"
MESSAGES = [{"role": "user", "content": "x" * 530}]
BODY = json.dumps({"model": "bench", "messages": MESSAGES}).encode()
STREAM = BODY[:-1] + b', "stream": true}'
TARGET = "/v1/chat/completions"
BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/cert.pem",
)


def compile_helpers(folder: Path) -> None:
    cc = os.environ.get("CC", "cc")
    parser = [str(CSRC / name) for name in ("net_sse.c", "net_base.c")]
    programs = {
        "server": [],
        "curl_loop": ["-lcurl"],
        "sse": [f"-I{CSRC}", *parser],
    }
    for name, more in programs.items():
        source = str(HERE / f"{name}.c")
        subprocess.run([cc, "-O2", "-o", folder / name, source, *more], check=True)


class Server:
    """A server as a child process; ends with this one's hold on its stdin."""

    scheme = "http"

    def __init__(self, folder: Path, delay_ms: int, events: int, gap_ms: int) -> None:
        self._start(folder / "server", *(delay_ms, events, gap_ms))

    def _start(self, *command: object) -> None:
        self.process = subprocess.Popen(
            list(map(str, command)),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        if hasattr(os, "sched_setaffinity"):  # away from what is measured
            os.sched_setaffinity(self.process.pid, {max(os.sched_getaffinity(0))})
        assert self.process.stdout is not None
        port = self.process.stdout.readline().strip()
        self.url = f"{self.scheme}://127.0.0.1:{port}"

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *error: object) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(5)


class TlsServer(Server):
    """Answers once a connection; ``bundle`` is the system's, and its own authority."""

    scheme = "https"

    def __init__(self, folder: Path) -> None:
        certificate, key = folder / "server.pem", folder / "server.key"
        subprocess.run(
            [
                *("openssl", "req", "-x509", "-nodes", "-days", "2"),
                *("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
                *("-keyout", key, "-out", certificate, "-subj", "/CN=bench"),
                *("-addext", "subjectAltName=IP:127.0.0.1"),
            ],
            check=True,
            capture_output=True,
        )
        self.bundle = folder / "bundle.pem"
        known = next((Path(p) for p in BUNDLES if Path(p).exists()), None)
        system = known.read_text() if known else ""
        self.bundle.write_text(system + certificate.read_text())
        self._start(sys.executable, __file__, certificate, key)


class _Once(socketserver.StreamRequestHandler):
    """Reads one request, answers, closes: every call is a new connection."""

    server: _Listener

    def setup(self) -> None:
        self.request = self.server.context.wrap_socket(self.request, server_side=True)
        super().setup()

    def handle(self) -> None:
        length = 0
        while line := self.rfile.readline().strip().lower():
            if line.startswith(b"content-length:"):
                length = int(line.partition(b":")[2])
        self.rfile.read(length)
        self.wfile.write(self.server.answer)


class _Listener(socketserver.ThreadingTCPServer):
    daemon_threads = True
    request_queue_size = 128
    context: ssl.SSLContext
    answer: bytes

    def handle_error(self, *about: object) -> None:
        """A client that leaves in the middle is no matter here."""


def _answer() -> bytes:
    reply = {
        "id": "chatcmpl-b",
        "object": "chat.completion",
        "created": 1_700_000_000,
        "model": "bench",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": ""},
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": 120, "completion_tokens": 90, "total_tokens": 210},
    }
    fill = 723 - len(json.dumps(reply))
    reply["choices"][0]["message"]["content"] = "x" * fill
    head = (
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
        "Content-Length: 723\r\nConnection: close\r\n\r\n"
    )
    return (head + json.dumps(reply)).encode()


def serve_tls(certificate: str, key: str) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with _Listener(("127.0.0.1", 0), _Once) as listener:
        listener.context, listener.answer = context, _answer()
        threading.Thread(target=listener.serve_forever, daemon=True).start()
        print(listener.server_address[1], flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    serve_tls(*sys.argv[1:])
