"""Identities that are the same in every process."""

from __future__ import annotations

import hashlib


def stable_hash(*parts: str) -> int:
    """Return 64 bits that are the same in every process; never 0."""
    digest = hashlib.blake2b("\0".join(parts).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") or 1
