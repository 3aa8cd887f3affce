"""How far an upload is, in JSON and in the headers of the older wire."""

from collections.abc import Mapping

from storage_proxy.core.manifest import Manifest, Phase

COMMITTED_OFFSET = "Upload-Committed-Offset"
"""The committed prefix. In the answer to a PATCH Upload-Offset is request offset + received bytes, as clients demand,
and after a chunk that came out of order the two differ."""


def progress_headers(manifest: Manifest) -> dict[str, str]:
    headers = {
        "X-Backend-Ai-Chunks-Received": str(manifest.received),
        "X-Backend-Ai-Progress-Percent": f"{manifest.progress_percent:.2f}",
    }
    if manifest.length is not None:
        headers["X-Backend-Ai-Total-Expected"] = str(manifest.length)
    return headers


def status_body(manifest: Manifest, name: str, identity: str) -> Mapping[str, object]:
    """`session`, or `upload`, is the name of the first field."""
    folded = [0] if manifest.assembled > 0 else []
    return {
        name: identity,
        "total_size": manifest.length,
        "committed_offset": manifest.prefix,
        # Chunks that became part of the one file are one chunk, at 0.
        "chunks_received": sorted({*folded, *(chunk.offset for chunk in manifest.chunks)}),
        "missing_ranges": [{"offset": gap.start, "length": gap.length} for gap in manifest.missing],
        "progress_percent": manifest.progress_percent,
        # The older wire knows these two; complete is what stands at its target.
        "status": "completed" if manifest.phase is Phase.PUBLISHED else "pending",
        "phase": manifest.phase.value,
        "assembled_offset": manifest.assembled,
        "expires_at": manifest.expires_at,
        "reason": manifest.reason,
        "digests": {digest.algorithm: digest.value for digest in manifest.digests},
    }
