"""Authenticated calls to GitHub for one connection, and the question whether something at GitHub is ours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import httpx

from connectors.base import Identity
from connectors.body import id_at, text_at
from connectors.github.actors import APP, app_of
from connectors.github.credentials import Credentials
from connectors.github.rest import Rest, check
from connectors.poster import PostGoneError, PostRefusedError, PostRetryError


class Client:
    """Used by many tasks at once. Every call may raise PostError; none is repeated here."""

    def __init__(self, rest: Rest, credentials: Credentials, *, declared: Identity) -> None:
        self._rest = rest
        self.credentials = credentials
        self._declared = declared
        self._identity: Identity | None = None

    async def get(
        self, path: str, *, repository: str, params: Mapping[str, str] | None = None
    ) -> httpx.Response:
        """Read. An unsuccessful status is raised."""
        response = await self.attempt("GET", path, repository=repository, params=params)
        check(response, what=f"GET {path}")
        return response

    async def post(self, path: str, *, repository: str, json: Any) -> httpx.Response:
        """Write. An unsuccessful status is raised."""
        response = await self.attempt("POST", path, repository=repository, json=json)
        check(response, what=f"POST {path}")
        return response

    async def patch(self, path: str, *, repository: str, json: Any) -> httpx.Response:
        """Change. Raises PostGoneError where it is not there (any more)."""
        response = await self.attempt("PATCH", path, repository=repository, json=json)
        if response.status_code in {httpx.codes.NOT_FOUND, httpx.codes.GONE}:
            msg = f"PATCH {path}: {response.status_code} it was deleted, or the credential may not see it"
            raise PostGoneError(msg)
        check(response, what=f"PATCH {path}")
        return response

    async def attempt(
        self,
        method: str,
        path: str,
        *,
        repository: str,
        json: Any = None,
        params: Mapping[str, str] | None = None,
    ) -> httpx.Response:
        """Send and return the answer, whatever its status but a 401 that a fresh token can cure."""
        what = f"{method} {path}"
        token = await self.credentials.token(repository)
        response = await self._rest.send(method, path, token=token, what=what, json=json, params=params)
        if response.status_code == httpx.codes.UNAUTHORIZED and self.credentials.refused(token):
            msg = f"{what}: 401 the installation token is no longer taken; a new one will be made"
            raise PostRetryError(msg)
        return response

    async def identity(self) -> Identity:
        """Who we are, asked for once."""
        if self._identity is None:
            self._identity = await self.credentials.identify()
        return self._identity

    async def is_ours(self, thing: Mapping[str, Any]) -> bool:
        """True unless the author is known to be somebody else, who may have copied our marker."""
        try:
            us = await self.identity()
        except PostRefusedError:
            # Some tokens may not read /user; then the marker, which nobody else can foresee, has to do.
            return True
        if not us.actor_ids and not us.logins:
            return True  # the answer named nobody
        ids, logins = us.actor_ids | self._declared.actor_ids, us.logins | self._declared.logins
        author, login, app = id_at(thing, "user", "id"), text_at(thing, "user", "login"), app_of(thing)
        if author is None and login is None and app is None:
            return True
        return author in ids or (login or "").lower() in logins or (app is not None and APP + app in ids)
