"""Small steps that every route takes: read a JSON body, write a JSON answer, check metadata. Must not know
a route."""

from __future__ import annotations

from typing import Any, Final

import orjson
from starlette.requests import Request
from starlette.responses import Response

from sandbox.managed_agents.errors import ApiError, invalid
from sandbox.managed_agents.validation import read

MOST_BYTES: Final = 32 * 1024 * 1024
MOST_PAIRS: Final = 16
MOST_KEY: Final = 64
MOST_VALUE: Final = 512


def reply(body: dict[str, Any]) -> Response:
    """200 with JSON."""
    return Response(orjson.dumps(body), media_type="application/json")


async def raw(request: Request) -> bytes:
    """The request body. Raises ApiError 413 beyond 32 MB."""
    body = await request.body()
    if len(body) > MOST_BYTES:
        raise ApiError(413, "request_too_large", "Request exceeds the maximum size")
    return body


async def body_of(request: Request, params: Any) -> dict[str, Any]:
    """The JSON body, checked against one of the SDK's parameter types. Raises ApiError 400 or 413."""
    return read(params, await raw(request))


def check_metadata(metadata: dict[str, str]) -> None:
    """The limits on metadata: 16 pairs, keys of 64, values of 512 characters. Raises ApiError 400."""
    if len(metadata) > MOST_PAIRS:
        raise invalid(f"metadata: at most {MOST_PAIRS} pairs are allowed, got {len(metadata)}")
    for key, value in metadata.items():
        if not 1 <= len(key) <= MOST_KEY:
            raise invalid(f"metadata.{key[:MOST_KEY]}: keys have from 1 to {MOST_KEY} characters")
        if len(value) > MOST_VALUE:
            raise invalid(f"metadata.{key}: values have at most {MOST_VALUE} characters, got {len(value)}")


def patched(metadata: dict[str, str], patch: dict[str, str | None] | None) -> dict[str, str]:
    """Metadata after an update: null deletes a key, what is absent stays. Raises ApiError 400."""
    merged = dict(metadata)
    for key, value in (patch or {}).items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = value
    check_metadata(merged)
    return merged
