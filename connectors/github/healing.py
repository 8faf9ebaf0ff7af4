"""Has GitHub deliver again what it could not deliver: its own log of deliveries says what failed.

GitHub never repeats a delivery by itself, but keeps it for three days (docs, "Handling failed webhook deliveries"). A
redelivery comes as an ordinary webhook with the same GUID, so nothing is rebuilt here and every sort of event is covered.
Must not ask for what the hub has stored, whatever GitHub thinks of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final
from urllib.parse import parse_qs, urlsplit

import httpx

from connectors.body import get, id_at, text_at, time_at
from connectors.github.credentials import Credentials
from connectors.github.poster import credentials_of
from connectors.github.rest import PAGE, Rest, check, objects
from connectors.github.settings import GitHubSettings, HookSettings
from connectors.healer import Harvest, Healer, Memory, PageGoneError
from connectors.poster import PostRefusedError

APP: Final = "app"
MAX_ATTEMPTS: Final = 8
"""Attempts at one delivery within the span that is read, ours included: one that fails so often fails for a reason."""
MAX_PLACES: Final = 50
"""Repositories and organisations whose webhooks are listed to find ours."""
MAX_HOOKS: Final = 20


class GitHubHealer(Healer):
    """Of one connection."""

    exact: ClassVar[bool] = True

    def __init__(
        self, rest: Rest, credentials: Credentials, *, hooks: Sequence[HookSettings], is_app: bool
    ) -> None:
        self._rest = rest
        self._credentials = credentials
        self._hooks = hooks
        self._is_app = is_app
        self._found: dict[str, tuple[str, ...]] = {}
        """Streams by the place (repository, organisation) that was asked for its hooks."""

    @classmethod
    def build(
        cls, settings: GitHubSettings, *, token: str | None, http: httpx.AsyncClient, files: Mapping[str, str]
    ) -> GitHubHealer | None:
        """None where there is no credential to ask with."""
        if token is None and settings.app is None:
            return None
        rest = Rest(settings.api_url, http)
        credentials = credentials_of(settings, token, rest, files)
        return cls(rest, credentials, hooks=settings.hooks, is_app=settings.app is not None)

    def scope(self, kind: str, subject: str) -> str | None:
        """GitHub's log holds what it was asked to send and nothing else."""
        del kind, subject
        return None

    async def streams(self, memory: Memory) -> Sequence[str]:
        """Paths of hooks. Without any in the settings: the App's own, or those found by the address they send to."""
        if self._hooks:
            return [
                f"repos/{hook.repository}/hooks/{hook.id}"
                if hook.repository is not None
                else f"orgs/{hook.organization}/hooks/{hook.id}"
                for hook in self._hooks
            ]
        if self._is_app:
            return [f"{APP}/hook"]
        return await self._discover(memory)

    async def missed(
        self, stream: str, *, since: float, until: float, page: str | None, memory: Memory
    ) -> Harvest:
        what = f"reading the deliveries of {stream}"
        params = {"per_page": str(PAGE), **({"cursor": page} if page is not None else {})}
        response = await self._send("GET", stream, "deliveries", what=what, params=params)
        if page is not None and response.status_code in {400, 404, 422}:
            msg = f"{what}: {response.status_code} to the cursor"
            raise PageGoneError(msg)
        check(response, what=what)
        listed = objects(response)
        failed = failed_deliveries(listed, since=since, until=until)
        known = await memory.delivered(list(failed)) if failed else frozenset[str]()
        asked = 0
        for guid, number in failed.items():
            if guid not in known:
                asked += await self._redeliver(stream, number)
        return Harvest(redelivered=asked, page=_following(response, listed, since=since))

    async def _redeliver(self, stream: str, number: str) -> bool:
        what = f"asking for delivery {number} of {stream} again"
        response = await self._send("POST", stream, f"deliveries/{number}/attempts", what=what)
        if response.status_code in {400, 404, 422}:
            return False  # GitHub keeps it no longer, or is at it already
        check(response, what=what)
        return True

    async def _discover(self, memory: Memory) -> list[str]:
        """Hooks of the repositories and owners that events came from. Places that refuse are passed over."""
        places = dict.fromkeys(
            place
            for subject in memory.subjects
            if "/" in (name := subject.partition("#")[0].partition("@")[0])
            for place in (f"repos/{'/'.join(name.split('/')[:2])}", f"orgs/{name.partition('/')[0]}")
        )
        refusals: list[str] = []
        for place in list(places)[:MAX_PLACES]:
            if not self._found.get(place):
                try:
                    self._found[place] = await self._hooks_of(place, memory.connection)
                except PostRefusedError as error:
                    refusals.append(str(error))
        found = sorted({stream for streams in self._found.values() for stream in streams})
        if not found and refusals:
            msg = (
                f"no webhook to look through: {refusals[0]}; give the token Webhooks: Read and write, or name the "
                "webhook in hooks"
            )
            raise PostRefusedError(msg)
        return found[:MAX_HOOKS]

    async def _hooks_of(self, place: str, connection: str) -> tuple[str, ...]:
        what = f"listing the webhooks of {place}"
        response = await self._send("GET", place, "hooks", what=what, params={"per_page": str(PAGE)})
        if response.status_code == httpx.codes.NOT_FOUND and place.startswith("orgs/"):
            return ()  # a user's account has none
        check(response, what=what)
        return tuple(
            f"{place}/hooks/{number}"
            for hook in objects(response)
            if (number := id_at(hook, "id")) is not None and _sends_to(hook, connection)
        )

    async def _send(
        self, method: str, stream: str, rest: str, *, what: str, params: Mapping[str, str] | None = None
    ) -> httpx.Response:
        parts = stream.split("/")
        repository = "/".join(parts[1:3]) if parts[0] == "repos" else None
        token = await self._credentials.owner_token(repository)
        return await self._rest.send(method, f"/{stream}/{rest}", token=token, what=what, params=params)


def failed_deliveries(listed: Sequence[Mapping[str, Any]], *, since: float, until: float) -> dict[str, str]:
    """GUIDs of deliveries that no attempt brought through, each with the number of its newest attempt. Pure.

    `listed` is newest first, as GitHub lists. What was tried after `until` may still be answered.
    """
    newest: dict[str, str] = {}
    attempts: dict[str, int] = {}
    settled: set[str] = set()
    for entry in listed:
        guid, number, at = text_at(entry, "guid"), id_at(entry, "id"), time_at(entry, "delivered_at")
        if guid is None or number is None or at is None:
            continue
        attempts[guid] = attempts.get(guid, 0) + 1
        newest.setdefault(guid, number)
        if _went_through(entry) or at.timestamp() > until:
            settled.add(guid)
        elif at.timestamp() < since and attempts[guid] == 1:
            settled.add(guid)  # the newest attempt is older than what is looked at
    return {
        guid: number
        for guid, number in newest.items()
        if guid not in settled and attempts[guid] < MAX_ATTEMPTS
    }


def _went_through(entry: Mapping[str, Any]) -> bool:
    status = get(entry, "status_code")
    if isinstance(status, int) and not isinstance(status, bool):
        return httpx.codes.is_success(status)
    return text_at(entry, "status") == "OK"


def _following(response: httpx.Response, listed: Sequence[Mapping[str, Any]], *, since: float) -> str | None:
    """The cursor of the next page, unless this one reaches back far enough."""
    oldest = time_at(listed[-1], "delivered_at") if listed else None
    if oldest is None or oldest.timestamp() < since:
        return None
    url = response.links.get("next", {}).get("url", "")
    found = parse_qs(urlsplit(url).query).get("cursor", [])
    return found[0] if found else None


def _sends_to(hook: Mapping[str, Any], connection: str) -> bool:
    address = text_at(hook, "config", "url") or ""
    return urlsplit(address).path.rstrip("/").endswith(f"/hooks/{connection}")
