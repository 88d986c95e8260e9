"""The keyed hash of a matched text, which joins equal matches without keeping them."""

from __future__ import annotations

import hashlib


def match_hash(text: str, key: bytes) -> str:
    """Returns the keyed hash of a matched text: 16 hexadecimal digits, equal for equal texts of one deployment.

    Args:
        text: The matched text.
        key: The key of the deployment, at most 64 bytes.
    """
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), key=key, digest_size=8).hexdigest()
