"""What the server says of itself over either wire: version, model, engine, limits. Knows no transport."""

from collections.abc import Mapping
from typing import Any

from index.limits import MAX_TOP_K
from server.service import RetrievalService
from vireid.images.decode import Limits


def document(service: RetrievalService, version: str, max_upload_bytes: int) -> Mapping[str, Any]:
    """Describe the server; no secrets.

    Args:
        service: says what runs.
        version: of vireid.
        max_upload_bytes: of one archive.
    """
    limits = Limits()
    return {
        "version": version,
        **service.info(),
        "limits": {
            "image_bytes": limits.max_bytes,
            "image_pixels": limits.max_pixels,
            "image_side": limits.max_side,
            "upload_bytes": max_upload_bytes,
            "top_k": MAX_TOP_K,
        },
    }
