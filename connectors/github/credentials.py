"""Where a token for GitHub comes from: a fixed one, or an App that mints them. Must not log any."""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from typing import Any, Final

import httpx
import jwt

from connectors.base import Identity
from connectors.body import id_at, text_at, time_at
from connectors.calls import decoded
from connectors.github.actors import APP
from connectors.github.rest import Rest, check
from connectors.poster import PostError, PostRefusedError, PostRetryError

JWT_BACKDATED: Final = 60
JWT_LIFETIME: Final = 540
"""Seconds ahead. GitHub takes at most 600, and its clock may be behind ours."""
LIFETIME: Final = 3600.0
"""Seconds that an installation token lives, where GitHub does not say."""
FRESH: Final = 5 / 6
"""Share of its life that an installation token is used: the last minutes are left unused."""


class Credentials(ABC):
    """Tokens of one connection, for many tasks at once. Every method may call GitHub and raise PostError."""

    is_app: bool = False

    @abstractmethod
    async def token(self, repository: str) -> str:
        """A token that may be used on `owner/repo`."""

    @abstractmethod
    async def clone_token(self, repository: str, *, write: bool = True) -> tuple[str, float | None]:
        """A token to hand to a session that clones, and with `write` pushes: no wider than it can be made.

        Beside it the seconds that it lives; None where no end is known.
        """

    @abstractmethod
    async def identify(self) -> Identity:
        """Who GitHub takes us for."""

    async def owner_token(self, repository: str | None) -> str:
        """What proves us to the endpoints of webhooks: for `owner/repo`, or (None) for an App or an organisation."""
        return await self.token(repository or "")

    def refused(self, token: str) -> bool:
        """Note that GitHub answered 401 to `token`. True where another one can be had."""
        del token  # a fixed token stays refused
        return False


class NoCredentials(Credentials):
    """A connection that only receives."""

    async def token(self, repository: str) -> str:
        msg = f"nothing can be posted to {repository}: the connection has no credential; give it token or app"
        raise PostRefusedError(msg)

    async def clone_token(self, repository: str, *, write: bool = True) -> tuple[str, float | None]:
        del write  # a fixed token is what it is
        return await self.token(repository), None

    async def identify(self) -> Identity:
        return Identity()


class TokenCredentials(Credentials):
    """A personal access token or a machine user's token."""

    def __init__(self, token: str, rest: Rest) -> None:
        self._token = token
        self._rest = rest

    async def token(self, repository: str) -> str:
        del repository  # one token for everything
        return self._token

    async def clone_token(self, repository: str, *, write: bool = True) -> tuple[str, float | None]:
        del write  # a fixed token is what it is
        return await self.token(repository), None

    async def identify(self) -> Identity:
        what = "GET /user"
        response = await self._rest.send("GET", "/user", token=self._token, what=what)
        check(response, what=what)
        user = decoded(response)
        ident, login = id_at(user, "id"), text_at(user, "login")
        return Identity(
            actor_ids=frozenset({ident} if ident else ()), logins=frozenset({login.lower()} if login else ())
        )


class AppCredentials(Credentials):
    """A GitHub App: a JWT proves the App, an installation token acts for it in one account.

    GitHub docs, "Authenticating as a GitHub App installation".
    """

    is_app = True

    def __init__(
        self, app_id: str, private_key: str, rest: Rest, *, installation_id: str | None = None
    ) -> None:
        self._app_id = app_id
        # A key in an environment variable often has its line ends written as \n.
        self._private_key = private_key.replace("\\n", "\n").strip() + "\n"
        self._rest = rest
        self._fixed = installation_id
        self._found: dict[str, str] = {}
        self._tokens: dict[str, tuple[str, float]] = {}
        self._locks: dict[str, asyncio.Lock] = {}

    async def token(self, repository: str) -> str:
        """A cached installation token; whoever needs a new one makes it while the others wait for it."""
        installation = await self._installation(repository)
        async with self._locks.setdefault(f"token {installation}", asyncio.Lock()):
            held = self._tokens.get(installation)
            if held is not None and time.monotonic() < held[1]:
                return held[0]
            token, lifetime = await self._mint(installation, repository, narrowing=None)
            self._tokens[installation] = (token, time.monotonic() + lifetime * FRESH)
            return token

    async def clone_token(self, repository: str, *, write: bool = True) -> tuple[str, float | None]:
        """A new token each time, so that a session has the whole hour; for its contents alone."""
        permissions = {"contents": "write" if write else "read"}
        narrowing = {"repositories": [repository.partition("/")[2]], "permissions": permissions}
        token, lifetime = await self._mint(
            await self._installation(repository), repository, narrowing=narrowing
        )
        return token, lifetime

    async def identify(self) -> Identity:
        """The App's id, and the id of the bot user it acts as, where GitHub shows it."""
        what = "GET /app"
        response = await self._rest.send("GET", "/app", token=self._jwt(), what=what)
        check(response, what=what)
        app = decoded(response)
        ident, slug = id_at(app, "id"), text_at(app, "slug")
        ids = {APP + ident} if ident else set()
        bot = await self._bot_user(slug) if slug else None
        if bot is not None:
            ids.add(bot)
        return Identity(actor_ids=frozenset(ids), logins=frozenset({f"{slug.lower()}[bot]"} if slug else ()))

    async def owner_token(self, repository: str | None) -> str:
        """The App itself where no repository is named: its webhook belongs to no installation."""
        return self._jwt() if repository is None else await self.token(repository)

    def refused(self, token: str) -> bool:
        for installation, (held, _) in list(self._tokens.items()):
            if held == token:
                del self._tokens[installation]
        return True

    async def _bot_user(self, slug: str) -> str | None:
        """Id of `<slug>[bot]`. The login alone identifies it too, so a refusal is no obstacle."""
        what = "GET /users/<app>[bot]"
        try:
            response = await self._rest.send("GET", f"/users/{slug}%5Bbot%5D", token=None, what=what)
            check(response, what=what)
        except PostError:
            return None
        return id_at(decoded(response), "id")

    async def _installation(self, repository: str) -> str:
        if self._fixed is not None:
            return self._fixed
        name = repository.lower()
        async with self._locks.setdefault(f"installation {name}", asyncio.Lock()):
            if name not in self._found:
                what = f"finding the App's installation on {repository}"
                response = await self._rest.send(
                    "GET", f"/repos/{repository}/installation", token=self._jwt(), what=what
                )
                if response.status_code == httpx.codes.NOT_FOUND:
                    msg = f"{what}: 404; install the App there, or correct the repository's name"
                    raise PostRefusedError(msg)
                check(response, what=what)
                found = id_at(decoded(response), "id")
                if found is None:
                    msg = f"{what}: the answer has no id"
                    raise PostRefusedError(msg)
                self._found[name] = found
            return self._found[name]

    async def _mint(
        self, installation: str, repository: str, *, narrowing: dict[str, Any] | None
    ) -> tuple[str, float]:
        """A new installation token, and how many seconds it lives."""
        what = f"making an installation token for {repository}"
        path = f"/app/installations/{installation}/access_tokens"
        response = await self._rest.send("POST", path, token=self._jwt(), what=what, json=narrowing)
        is_gone = response.status_code == httpx.codes.NOT_FOUND
        if is_gone and self._found.pop(repository.lower(), None) is not None:
            msg = f"{what}: 404; the App was installed anew, its installation will be looked up again"
            raise PostRetryError(msg)
        check(response, what=what)
        made = decoded(response)
        token, expires = text_at(made, "token"), time_at(made, "expires_at")
        if token is None:
            msg = f"{what}: the answer has no token"
            raise PostRefusedError(msg)
        return token, expires.timestamp() - time.time() if expires else LIFETIME

    def _jwt(self) -> str:
        now = int(time.time())
        claims = {"iat": now - JWT_BACKDATED, "exp": now + JWT_LIFETIME, "iss": self._app_id}
        try:
            return jwt.encode(claims, self._private_key, algorithm="RS256")
        except (ValueError, TypeError, jwt.PyJWTError):
            msg = (
                "app.private_key is not an RSA key in PEM form; generate one in the App's settings at GitHub"
            )
            raise PostRefusedError(msg) from None
