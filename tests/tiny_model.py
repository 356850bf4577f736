"""Writes a random model of half a megabyte: it says nothing, but over real code.

    python tests/tiny_model.py model.gguf          needs the packages gguf, numpy

Two llama blocks over a vocabulary of bytes, so that every text is a prompt.
"""

from __future__ import annotations

import sys

import gguf
import numpy as np

WIDTH, HEADS, BLOCKS, INNER, CONTEXT = 64, 4, 2, 128, 512
NORMAL, UNKNOWN, CONTROL, BYTE = 1, 2, 3, 6  # llama's kinds of tokens


def write(path: str) -> None:
    """Write the model with weights drawn from one seed."""
    special = [b"<unk>", b"<s>", b"</s>"]
    plain = [bytes([c]) for c in range(33, 127)] + ["\u2581".encode()]
    tokens = special + [b"<0x%02X>" % i for i in range(256)] + plain
    kinds = [UNKNOWN, CONTROL, CONTROL] + [BYTE] * 256 + [NORMAL] * len(plain)
    w = gguf.GGUFWriter(path, "llama")
    w.add_context_length(CONTEXT)
    w.add_embedding_length(WIDTH)
    w.add_block_count(BLOCKS)
    w.add_feed_forward_length(INNER)
    w.add_head_count(HEADS)
    w.add_head_count_kv(HEADS)
    w.add_layer_norm_rms_eps(1e-5)
    w.add_rope_dimension_count(WIDTH // HEADS)
    w.add_vocab_size(len(tokens))
    w.add_tokenizer_model("llama")
    w.add_token_list(tokens)
    w.add_token_scores([0.0] * len(tokens))
    w.add_token_types(kinds)
    w.add_bos_token_id(1)
    w.add_eos_token_id(2)
    w.add_unk_token_id(0)
    rng = np.random.default_rng(0)

    def weights(name: str, *shape: int) -> None:
        drawn = rng.standard_normal(shape) * 0.1
        w.add_tensor(f"{name}.weight", drawn.astype(np.float32))

    def ones(name: str) -> None:
        w.add_tensor(f"{name}.weight", np.ones(WIDTH, np.float32))

    weights("token_embd", len(tokens), WIDTH)
    weights("output", len(tokens), WIDTH)
    ones("output_norm")
    for block in (f"blk.{i}" for i in range(BLOCKS)):
        ones(f"{block}.attn_norm")
        ones(f"{block}.ffn_norm")
        for part in ("attn_q", "attn_k", "attn_v", "attn_output"):
            weights(f"{block}.{part}", WIDTH, WIDTH)
        weights(f"{block}.ffn_gate", INNER, WIDTH)
        weights(f"{block}.ffn_up", INNER, WIDTH)
        weights(f"{block}.ffn_down", WIDTH, INNER)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


if __name__ == "__main__":
    write(sys.argv[1])
