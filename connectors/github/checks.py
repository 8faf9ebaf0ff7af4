"""How a run stands, beside the commits of a pull request: a check run of an App, a commit status with a token.

Repeats change nothing: what is there already is found first.
"""

from __future__ import annotations

import re
from typing import Any, Final

from connectors.body import id_at, text_at
from connectors.calls import decoded
from connectors.github.client import Client
from connectors.github.destinations import check_repository
from connectors.github.marks import MAX_CHECK_TITLE, MAX_DESCRIPTION
from connectors.github.pull_requests import one_line
from connectors.github.rest import objects
from connectors.poster import Check, CheckState, PostRefusedError
from schemas.result import Receipt

_PULL: Final = re.compile(r"(?P<repository>[^#\s]+)#(?P<number>[1-9][0-9]{0,18})")
_SHA: Final = re.compile(r"[0-9a-f]{40,64}")
_CONCLUSIONS: Final[dict[CheckState, str]] = {
    "success": "success",
    "failure": "failure",
    "neutral": "neutral",
}


class Checks:
    """Checks of one connection."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def show(self, check: Check, earlier: Receipt | None) -> Receipt:
        """See `Poster.show_check`."""
        found = _PULL.fullmatch(check.pull)
        if found is None:
            msg = f"a check is shown on a pull request, and {check.pull[:100]!r} is none"
            raise PostRefusedError(msg)
        repository = check_repository(found["repository"])
        response = await self._client.get(
            f"/repos/{repository}/pulls/{found['number']}", repository=repository
        )
        head = text_at(decoded(response), "head", "sha")
        if head is None:
            msg = f"the pull request {check.pull} names no head commit"
            raise PostRefusedError(msg)
        before = (earlier.artefact or "").removeprefix("commit:") if earlier is not None else ""
        if before != head and _SHA.fullmatch(before):
            await self._on(check, repository, before)  # it must not stay pending where it began
        await self._on(check, repository, head)
        return Receipt(artefact=f"commit:{head}")

    async def _on(self, check: Check, repository: str, sha: str) -> None:
        if self._client.credentials.is_app:
            await self._run(check, repository, sha)
        else:
            await self._status(check, repository, sha)

    async def _run(self, check: Check, repository: str, sha: str) -> None:
        title = one_line(check.title, MAX_CHECK_TITLE)
        body: dict[str, Any] = {"output": {"title": title, "summary": title}}
        if check.url is not None:
            body["details_url"] = check.url
        if check.state == "pending":
            body["status"] = "in_progress"
        else:
            body |= {"status": "completed", "conclusion": _CONCLUSIONS[check.state]}
        response = await self._client.get(
            f"/repos/{repository}/commits/{sha}/check-runs",
            repository=repository,
            params={"check_name": check.name, "filter": "all", "per_page": "100"},
        )
        mine = [one for one in objects(response, "check_runs") if text_at(one, "external_id") == check.run]
        number = id_at(mine[0], "id") if mine else None
        if number is not None:
            await self._client.patch(
                f"/repos/{repository}/check-runs/{number}", repository=repository, json=body
            )
            return
        new = {"name": check.name, "head_sha": sha, "external_id": check.run, **body}
        await self._client.post(f"/repos/{repository}/check-runs", repository=repository, json=new)

    async def _status(self, check: Check, repository: str, sha: str) -> None:
        """The newest status of a name is the one that counts, so one that says the same is left as it is."""
        if check.state == "neutral":
            return  # a status cannot be neutral; the run that goes on with it sets its own
        description = one_line(check.title, MAX_DESCRIPTION)
        response = await self._client.get(
            f"/repos/{repository}/commits/{sha}/statuses", repository=repository, params={"per_page": "100"}
        )
        newest = next((one for one in objects(response) if text_at(one, "context") == check.name), None)
        if newest is not None and (text_at(newest, "state"), text_at(newest, "description")) == (
            check.state,
            description,
        ):
            return
        status: dict[str, Any] = {"state": check.state, "context": check.name, "description": description}
        if check.url is not None:
            status["target_url"] = check.url
        await self._client.post(f"/repos/{repository}/statuses/{sha}", repository=repository, json=status)
