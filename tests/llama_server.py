"""Serves a model with llama.cpp's own server until its input ends.

    python tests/llama_server.py model.gguf [--embedding]      prints its address

Needs the package xllamacpp, which is llama.cpp in a wheel.
"""

from __future__ import annotations

import sys

import xllamacpp


def serve(path: str, embedding: bool) -> None:
    """Answer on loopback under the name "tiny", one request at a time."""
    settings = xllamacpp.CommonParams()
    settings.model.path = path
    settings.model_alias = {"tiny"}
    settings.hostnames = ["127.0.0.1"]
    settings.port = 0
    settings.n_ctx = 512
    settings.n_parallel = 1
    settings.cpuparams.n_threads = 1
    settings.warmup = False
    settings.embedding = embedding
    settings.pooling_type = xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
    server = xllamacpp.Server(settings)
    print(server.listening_address, flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    serve(sys.argv[1], "--embedding" in sys.argv)
