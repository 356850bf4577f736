"""The C server of these benchmarks, and what to ask of it."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

HERE = Path(__file__).parent
CSRC = HERE.parents[1] / "csrc"
BODY = json.dumps(
    {"model": "bench", "messages": [{"role": "user", "content": "x" * 530}]}
).encode()
STREAM = BODY[:-1] + b', "stream": true}'
TARGET = "/v1/chat/completions"


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
    """The C server as a child process; ends with this one's hold on its stdin."""

    def __init__(self, folder: Path, delay_ms: int, events: int, gap_ms: int) -> None:
        command = [str(folder / "server"), *map(str, (delay_ms, events, gap_ms))]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        self.url = f"http://127.0.0.1:{self.process.stdout.readline().strip()}"

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *error: object) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(5)
