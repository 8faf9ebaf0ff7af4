"""Calls of the service about vaults, memory stores and files. Decides nothing; errors as in `runner.service`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal

from runner.errors import RefusedError
from runner.service import LIST_LIMIT, Service

Kind = Literal["vault", "memory_store", "file"]
FILES_LISTED: Final = 1000


class StoreService:
    """Over the one client of a process. Every method raises ServiceError."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def listed(self, kind: Kind) -> list[Any]:
        """All vaults or memory stores of the workspace that are not archived."""
        beta = self._service.beta
        calls = beta.vaults if kind == "vault" else beta.memory_stores
        return await self._service.pages(f"list {kind}s", lambda page: calls.list(limit=LIST_LIMIT, **page))

    async def create(self, kind: Kind, params: Mapping[str, Any]) -> Any:
        """Create a vault or a memory store. UncertainError: it may exist all the same."""
        await self._service.allow("creates")
        beta = self._service.beta
        calls: Any = beta.vaults if kind == "vault" else beta.memory_stores
        return await self._service.call(f"create a {kind}", lambda: calls.create(**params))

    async def update_memory_store(self, store_id: str, params: Mapping[str, Any]) -> None:
        """Change name, description and metadata."""
        stores: Any = self._service.beta.memory_stores
        await self._service.call("update a memory store", lambda: stores.update(store_id, **params))

    async def exists(self, kind: Kind, identifier: str) -> bool:
        """False where it was archived or deleted."""
        await self._service.allow("reads")
        beta = self._service.beta
        look: dict[Kind, Any] = {
            "vault": beta.vaults.retrieve,
            "memory_store": beta.memory_stores.retrieve,
            "file": beta.files.retrieve_metadata,
        }
        try:
            found = await self._service.call(f"read a {kind}", lambda: look[kind](identifier))
        except RefusedError as error:
            return not error.gone
        return getattr(found, "archived_at", None) is None

    async def credentials(self, vault_id: str) -> list[Any]:
        """Credentials of a vault that are not archived, without their secrets."""
        calls = self._service.beta.vaults.credentials
        return await self._service.pages(
            "list credentials", lambda page: calls.list(vault_id, limit=LIST_LIMIT, **page)
        )

    async def credential(self, vault_id: str, credential_id: str) -> Any:
        """A credential without its secrets."""
        await self._service.allow("reads")
        calls = self._service.beta.vaults.credentials
        return await self._service.call(
            "read a credential", lambda: calls.retrieve(credential_id, vault_id=vault_id)
        )

    async def validate_credential(self, vault_id: str, credential_id: str) -> Any:
        """Have the service try an OAuth credential at its MCP server, renewing it where that is needed."""
        await self._service.allow("reads")
        calls = self._service.beta.vaults.credentials
        return await self._service.call(
            "validate a credential", lambda: calls.mcp_oauth_validate(credential_id, vault_id=vault_id)
        )

    async def create_credential(
        self, vault_id: str, auth: Mapping[str, Any], metadata: dict[str, str]
    ) -> Any:
        """Create a credential."""
        calls: Any = self._service.beta.vaults.credentials
        return await self._service.call(
            "create a credential", lambda: calls.create(vault_id, auth=auth, metadata=metadata)
        )

    async def update_credential(
        self, vault_id: str, credential_id: str, auth: Mapping[str, Any], metadata: dict[str, str]
    ) -> None:
        """Replace what can be replaced of a credential."""
        calls: Any = self._service.beta.vaults.credentials
        await self._service.call(
            "update a credential",
            lambda: calls.update(credential_id, vault_id=vault_id, auth=auth, metadata=metadata),
        )

    async def archive_credential(self, vault_id: str, credential_id: str) -> None:
        """Take a credential out of use."""
        calls = self._service.beta.vaults.credentials
        await self._service.call(
            "archive a credential", lambda: calls.archive(credential_id, vault_id=vault_id)
        )

    async def find_file(self, filename: str) -> str | None:
        """Id of an uploaded file of that name. A session's own copies of it are not meant."""
        files = self._service.beta.files
        listed = await self._service.pages("list files", lambda page: files.list(limit=FILES_LISTED, **page))
        for file in listed:
            if file.filename == filename and getattr(file, "scope", None) is None:
                return str(file.id)
        return None

    async def upload_file(self, filename: str, content: bytes) -> str:
        """Upload a file and return its id."""
        await self._service.allow("creates")
        files = self._service.beta.files
        made = await self._service.call("upload a file", lambda: files.upload(file=(filename, content)))
        return str(made.id)
