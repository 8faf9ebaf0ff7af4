"""Routes of `/v1/vaults` and their credentials. Secrets are accepted, never kept, never shown."""

from __future__ import annotations

from typing import Any, Final

from anthropic.types.beta import VaultCreateParams, VaultUpdateParams
from anthropic.types.beta.vaults import CredentialCreateParams, CredentialUpdateParams
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sandbox.managed_agents.errors import conflict, invalid, not_found
from sandbox.managed_agents.http import body_of, check_metadata, patched, reply
from sandbox.managed_agents.identity import stamp
from sandbox.managed_agents.paging import Query, page
from sandbox.managed_agents.state import AgentsState

SECRETS: Final = frozenset({"access_token", "client_secret", "refresh_token", "secret_value", "token"})
MOST_CREDENTIALS: Final = 20


class Vaults:
    """The vaults of one state."""

    def __init__(self, state: AgentsState) -> None:
        self._state = state

    def routes(self) -> list[Route]:
        """Everything below `/v1/vaults`."""
        one = "/v1/vaults/{vault_id}"
        every = f"{one}/credentials"
        credential = every + "/{credential_id}"
        return [
            Route("/v1/vaults", self.create, methods=["POST"]),
            Route("/v1/vaults", self.list_all, methods=["GET"]),
            Route(one, self.retrieve, methods=["GET"]),
            Route(one, self.update, methods=["POST"]),
            Route(one, self.delete, methods=["DELETE"]),
            Route(f"{one}/archive", self.archive, methods=["POST"]),
            Route(every, self.create_credential, methods=["POST"]),
            Route(every, self.list_credentials, methods=["GET"]),
            Route(credential, self.retrieve_credential, methods=["GET"]),
            Route(credential, self.update_credential, methods=["POST"]),
            Route(credential, self.delete_credential, methods=["DELETE"]),
            Route(f"{credential}/archive", self.archive_credential, methods=["POST"]),
            Route(f"{credential}/mcp_oauth_validate", self.validate_credential, methods=["POST"]),
        ]

    async def create(self, request: Request) -> Response:
        """POST /v1/vaults."""
        body = await body_of(request, VaultCreateParams)
        metadata = body.get("metadata", {})
        check_metadata(metadata)
        if not body["display_name"]:
            raise invalid("display_name: String should have at least 1 character")
        vault = {
            "id": self._state.ids.new("vlt"),
            "type": "vault",
            "display_name": body["display_name"],
            "metadata": metadata,
            **self._stamps(),
        }
        self._state.vaults[vault["id"]] = vault
        self._state.credentials[vault["id"]] = {}
        self._state.webhooks.tell("vault.created", vault["id"])
        return reply(vault)

    async def retrieve(self, request: Request) -> Response:
        """GET /v1/vaults/{id}."""
        return reply(self._vault(request))

    async def update(self, request: Request) -> Response:
        """POST /v1/vaults/{id}."""
        vault = self._open(self._vault(request))
        body = await body_of(request, VaultUpdateParams)
        metadata = patched(vault["metadata"], body.get("metadata"))
        name = body.get("display_name") or vault["display_name"]
        vault.update(metadata=metadata, display_name=name, updated_at=stamp(self._state.clock.now()))
        return reply(vault)

    async def list_all(self, request: Request) -> Response:
        """GET /v1/vaults, the newest first."""
        return reply(_page(request, self._state.vaults))

    async def archive(self, request: Request) -> Response:
        """POST /v1/vaults/{id}/archive: its credentials too."""
        vault = self._vault(request)
        for item in (vault, *self._state.credentials[vault["id"]].values()):
            if item["archived_at"] is None:
                item["archived_at"] = stamp(self._state.clock.now())
        self._state.webhooks.tell("vault.archived", vault["id"])
        return reply(vault)

    async def delete(self, request: Request) -> Response:
        """DELETE /v1/vaults/{id}."""
        vault = self._vault(request)
        del self._state.vaults[vault["id"]], self._state.credentials[vault["id"]]
        self._state.webhooks.tell("vault.deleted", vault["id"])
        return reply({"id": vault["id"], "type": "vault_deleted"})

    async def create_credential(self, request: Request) -> Response:
        """POST …/credentials. 409 where the vault already has one for the same server or secret name."""
        vault = self._open(self._vault(request))
        body = await body_of(request, CredentialCreateParams)
        metadata = body.get("metadata", {})
        check_metadata(metadata)
        stored = self._state.credentials[vault["id"]]
        live = [one for one in stored.values() if one["archived_at"] is None]
        if len(live) >= MOST_CREDENTIALS:
            raise invalid(f"A vault holds at most {MOST_CREDENTIALS} credentials")
        auth = _shown(body["auth"])
        if any(_key(one["auth"]) == _key(auth) for one in live):
            raise conflict(f"The vault already has a credential for {_key(auth)!r}")
        credential = {
            "id": self._state.ids.new("vcrd"),
            "type": "vault_credential",
            "vault_id": vault["id"],
            "display_name": body.get("display_name"),
            "auth": auth,
            "metadata": metadata,
            **self._stamps(),
        }
        stored[str(credential["id"])] = credential
        self._tell("created", credential)
        return reply(credential)

    async def retrieve_credential(self, request: Request) -> Response:
        """GET …/credentials/{id}."""
        return reply(self._credential(request))

    async def update_credential(self, request: Request) -> Response:
        """POST …/credentials/{id}: the kind cannot change."""
        credential = self._open(self._credential(request))
        body = await body_of(request, CredentialUpdateParams)
        auth = body.get("auth")
        if auth is not None:
            if auth["type"] != credential["auth"]["type"]:
                raise invalid(
                    f"auth.type: a {credential['auth']['type']} credential cannot become {auth['type']}"
                )
            shown = {name: value for name, value in _without_secrets(auth).items() if value is not None}
            credential["auth"] = _merged(credential["auth"], shown)
            self._state.broken_credentials.discard(credential["id"])
        if "display_name" in body:
            credential["display_name"] = body["display_name"]
        credential["metadata"] = patched(credential["metadata"], body.get("metadata"))
        credential["updated_at"] = stamp(self._state.clock.now())
        return reply(credential)

    async def list_credentials(self, request: Request) -> Response:
        """GET …/credentials, the newest first."""
        return reply(_page(request, self._state.credentials[self._vault(request)["id"]]))

    async def archive_credential(self, request: Request) -> Response:
        """POST …/credentials/{id}/archive."""
        credential = self._credential(request)
        if credential["archived_at"] is None:
            credential["archived_at"] = stamp(self._state.clock.now())
            self._tell("archived", credential)
        return reply(credential)

    async def validate_credential(self, request: Request) -> Response:
        """POST …/credentials/{id}/mcp_oauth_validate: whether it works, of OAuth credentials alone."""
        credential = self._open(self._credential(request))
        if credential["auth"]["type"] != "mcp_oauth":
            raise invalid(f"`{credential['id']}` is no mcp_oauth credential")
        is_broken = credential["id"] in self._state.broken_credentials
        return reply(
            {
                "type": "vault_credential_validation",
                "credential_id": credential["id"],
                "vault_id": credential["vault_id"],
                "has_refresh_token": credential["auth"]["refresh"] is not None,
                "mcp_probe": None,
                "refresh": None,
                "status": "invalid" if is_broken else "valid",
                "validated_at": stamp(self._state.clock.now()),
            }
        )

    async def delete_credential(self, request: Request) -> Response:
        """DELETE …/credentials/{id}."""
        credential = self._credential(request)
        del self._state.credentials[credential["vault_id"]][credential["id"]]
        self._tell("deleted", credential)
        return reply({"id": credential["id"], "type": "vault_credential_deleted"})

    def _tell(self, what: str, credential: dict[str, Any]) -> None:
        name = f"vault_credential.{what}"
        self._state.webhooks.tell(name, credential["id"], vault_id=credential["vault_id"])

    def _vault(self, request: Request) -> dict[str, Any]:
        found = self._state.vaults.get(request.path_params["vault_id"])
        if found is None:
            raise not_found("Vault", request.path_params["vault_id"])
        return found

    def _credential(self, request: Request) -> dict[str, Any]:
        found = self._state.credentials[self._vault(request)["id"]].get(request.path_params["credential_id"])
        if found is None:
            raise not_found("Credential", request.path_params["credential_id"])
        return found

    def _open(self, item: dict[str, Any]) -> dict[str, Any]:
        if item["archived_at"] is not None:
            raise invalid(f"`{item['id']}` is archived and cannot be changed")
        return item

    def _stamps(self) -> dict[str, Any]:
        now = stamp(self._state.clock.now())
        return {"created_at": now, "updated_at": now, "archived_at": None}


def _page(request: Request, stored: dict[str, dict[str, Any]]) -> dict[str, Any]:
    query = Query(request, known=("include_archived",))
    archived = query.flag("include_archived")
    found = [one for one in reversed(stored.values()) if archived or one["archived_at"] is None]
    return page(found, limit=query.limit(default=20, most=100), cursor=query.cursor("desc"))


def _key(auth: dict[str, Any]) -> str:
    return str(auth.get("mcp_server_url") or auth.get("secret_name"))


def _shown(auth: dict[str, Any]) -> dict[str, Any]:
    """A new credential as it is answered."""
    shown = _without_secrets(auth)
    if auth["type"] == "mcp_oauth":
        shown.setdefault("expires_at", None)
        shown.setdefault("refresh", None)
    if auth["type"] == "environment_variable":
        place = auth.get("injection_location") or {}
        shown["injection_location"] = {"header": place.get("header", True), "body": place.get("body", False)}
    return shown


def _without_secrets(value: dict[str, Any]) -> dict[str, Any]:
    return {
        name: _without_secrets(inner) if isinstance(inner, dict) else inner
        for name, inner in value.items()
        if name not in SECRETS
    }


def _merged(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    merged = dict(old)
    for name, value in new.items():
        before = merged.get(name)
        same = (
            isinstance(value, dict) and isinstance(before, dict) and value.get("type") == before.get("type")
        )
        merged[name] = _merged(before, value) if same and isinstance(before, dict) else value
    return merged
