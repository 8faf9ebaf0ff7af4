"""Routes of `/v1/files`: multipart upload, metadata, content. Kept in memory only."""

from __future__ import annotations

import re
from datetime import timedelta
from email.message import Message
from email.utils import collapse_rfc2231_value
from mimetypes import guess_type
from typing import Final, NamedTuple

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sandbox.managed_agents.errors import invalid, not_found
from sandbox.managed_agents.http import raw, reply
from sandbox.managed_agents.identity import stamp
from sandbox.managed_agents.paging import Query, page
from sandbox.managed_agents.state import AgentsState, StoredFile

MOST_IDS: Final = 100
FORBIDDEN: Final = re.compile(r'[<>:"|?*\\/\x00-\x1f]')


class Part(NamedTuple):
    """One part of a multipart body."""

    name: str
    filename: str | None
    content_type: str | None
    content: bytes


class Files:
    """The files of one state."""

    def __init__(self, state: AgentsState) -> None:
        self._state = state

    def routes(self) -> list[Route]:
        """Everything below `/v1/files`."""
        one = "/v1/files/{file_id}"
        return [
            Route("/v1/files", self.upload, methods=["POST"]),
            Route("/v1/files", self.list_all, methods=["GET"]),
            Route(one, self.retrieve, methods=["GET"]),
            Route(f"{one}/content", self.content, methods=["GET"]),
            Route(one, self.delete, methods=["DELETE"]),
        ]

    async def upload(self, request: Request) -> Response:
        """POST /v1/files with a part named `file`."""
        parts = parse_multipart(request.headers.get("content-type", ""), await raw(request))
        unknown = next((part.name for part in parts if part.name not in {"file", "expires_in_seconds"}), None)
        if unknown is not None:
            raise invalid(f"{unknown}: Extra inputs are not permitted")
        file = next((part for part in parts if part.name == "file"), None)
        if file is None:
            raise invalid("file: Field required")
        name = file.filename or "upload"
        if FORBIDDEN.search(name) or len(name) > 255:  # noqa: PLR2004 - the usual limit of a file name
            raise invalid(f"file: {name[:255]!r} is not a file name that can be stored")
        seconds = next(
            (part.content.decode("ascii", "replace") for part in parts if part.name != "file"), None
        )
        if seconds is not None and not seconds.isdigit():
            raise invalid("expires_in_seconds: Input should be a valid integer")
        now = self._state.clock.now()
        metadata = {
            "id": self._state.ids.new("file"),
            "type": "file",
            "filename": name,
            "mime_type": file.content_type or guess_type(name)[0] or "application/octet-stream",
            "size_bytes": len(file.content),
            "downloadable": False,
            "scope": None,
            "created_at": stamp(now),
            "expires_at": stamp(now + timedelta(seconds=int(seconds))) if seconds else None,
        }
        self._state.files[str(metadata["id"])] = StoredFile(metadata=metadata, content=file.content)
        return reply(metadata)

    async def list_all(self, request: Request) -> Response:
        """GET /v1/files, the newest first; `scope_id` picks a session's."""
        query = Query(request, known=("ids", "scope_id"))
        ids, scope = query.many("ids"), query.one("scope_id")
        if ids is not None and (len(ids) > MOST_IDS or query.one("page") or query.one("limit")):
            raise invalid(f"ids: at most {MOST_IDS}, and neither page nor limit beside it")
        found = [
            file.metadata
            for file in reversed(self._state.files.values())
            if (ids is None or file.metadata["id"] in ids)
            and (scope is None or (file.metadata["scope"] or {}).get("id") == scope)
        ]
        limit = len(found) + 1 if ids is not None else query.limit(default=20, most=1_000)
        return reply(page(found, limit=limit, cursor=query.cursor("desc")))

    async def retrieve(self, request: Request) -> Response:
        """GET /v1/files/{id}."""
        return reply(self._find(request).metadata)

    async def content(self, request: Request) -> Response:
        """GET /v1/files/{id}/content."""
        file = self._find(request)
        return Response(file.content, media_type=file.metadata["mime_type"])

    async def delete(self, request: Request) -> Response:
        """DELETE /v1/files/{id}."""
        file = self._find(request)
        del self._state.files[file.metadata["id"]]
        return reply({"id": file.metadata["id"], "type": "file_deleted"})

    def _find(self, request: Request) -> StoredFile:
        found = self._state.files.get(request.path_params["file_id"])
        if found is None:
            raise not_found("File", request.path_params["file_id"])
        return found


def parse_multipart(content_type: str, body: bytes) -> list[Part]:
    """The parts of a `multipart/form-data` body (RFC 7578). Raises ApiError 400."""
    header = _header("Content-Type", content_type)
    boundary = header.get_param("boundary", header="content-type")
    if header.get_content_type() != "multipart/form-data" or not isinstance(boundary, str):
        raise invalid("The request must be multipart/form-data with a boundary")
    delimiter = b"\r\n--" + boundary.encode("latin-1", "replace")
    pieces = (b"\r\n" + body).split(delimiter)
    if len(pieces) < 2 or not pieces[-1].startswith(b"--"):  # noqa: PLR2004 - preamble and end
        raise invalid("The multipart body is not complete")
    return [_part(piece) for piece in pieces[1:-1]]


def _part(piece: bytes) -> Part:
    head, _, content = piece.partition(b"\r\n\r\n")
    fields: dict[str, str] = {}
    for line in head.decode("utf-8", "replace").split("\r\n"):
        field, _, value = line.partition(":")
        fields[field.strip().lower()] = value.strip()
    disposition = _header("Content-Disposition", fields.get("content-disposition", ""))
    name = disposition.get_param("name", header="content-disposition")
    filename = disposition.get_param("filename", header="content-disposition")
    return Part(
        name=collapse_rfc2231_value(name) if name else "",
        filename=collapse_rfc2231_value(filename) if filename else None,
        content_type=fields.get("content-type"),
        content=content,
    )


def _header(name: str, value: str) -> Message:
    message = Message()
    message[name] = value.replace("\r", " ").replace("\n", " ")
    return message
