"""A training's state, or a network's weights, as bytes that tell what they are of."""

from __future__ import annotations

import hashlib
import io
from typing import Any

import torch

DIGEST = hashlib.sha256().digest_size  # bytes before the content


def pack(identity: str, content: dict[str, Any]) -> bytes:
    """Bytes of tensors and plain values.

    Args:
        identity: What the content is of; ``unpack`` wants the same.
        content: Of tensors, plain values, lists and dictionaries.
    """
    buffer = io.BytesIO()
    torch.save({"identity": identity, "content": content}, buffer)
    packed = buffer.getvalue()
    return hashlib.sha256(packed).digest() + packed


def unpack(packed: bytes | None, identity: str) -> dict[str, Any] | None:
    """The content, or None where there is none, it is damaged or of something else."""
    if packed is None or hashlib.sha256(packed[DIGEST:]).digest() != packed[:DIGEST]:
        return None
    try:
        found = torch.load(io.BytesIO(packed[DIGEST:]), weights_only=True)
    except Exception:  # whole, and of another kind or version
        return None
    if not isinstance(found, dict) or found.get("identity") != identity:
        return None
    content = found.get("content")
    return content if isinstance(content, dict) else None
