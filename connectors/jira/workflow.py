"""Changing an issue: status, labels, remote links. Each is idempotent by nature: what is so already is
success.
"""

from __future__ import annotations

import hashlib
from typing import Any, Final
from urllib.parse import quote

from connectors.body import get, id_at, text_at
from connectors.jira.client import JiraClient, issue_path
from connectors.jira.outputs import (
    CATEGORY_KEYS,
    LabelArguments,
    LabelTarget,
    RemoteLinkArguments,
    TransitionArguments,
    TransitionTarget,
)
from connectors.poster import Post, PostRefusedError
from schemas.result import Receipt

MAX_GLOBAL_ID: Final = 255


class Transitions:
    """Moving issues through their workflow."""

    def __init__(self, client: JiraClient) -> None:
        self._client = client

    async def find(self, post: Post, issue: str) -> Receipt | None:
        """A receipt if the issue stands where it should."""
        name, category = _wanted(post)
        answer = await self._client.read(
            issue_path(issue), what=f"reading the status of {issue}", params={"fields": "status"}
        )
        status = get(answer, "fields", "status")
        if not _is_status(status, name, category):
            return None
        shown = text_at(status, "name") or name or category
        return _receipt(self._client, post, issue, note=f"{issue} is in {shown!r} already")

    async def create(self, post: Post, issue: str) -> Receipt:
        """Take the transition that leads there. Standing there already is success, as in `find`."""
        name, category = _wanted(post)
        try:
            found = await self.find(post, issue)
        except PostRefusedError:
            # Whoever may not read the issue may still move it; if it is absent, the next call says so.
            found = None
        if found is not None:
            return found
        answer = await self._client.read(
            issue_path(issue, "transitions"), what=f"reading the transitions of {issue}"
        )
        listed = answer.get("transitions")
        offered = [entry for entry in listed if id_at(entry, "id")] if isinstance(listed, list) else []
        chosen = next((entry for entry in offered if _is_status(get(entry, "to"), name, category)), None)
        if chosen is None and name is not None:
            chosen = next((entry for entry in offered if _same(text_at(entry, "name"), name)), None)
        if chosen is None:
            names = ", ".join(
                repr(text_at(entry, "to", "name") or text_at(entry, "name")) for entry in offered[:20]
            )
            wanted = name or category
            offer = names or "none"
            msg = f"no transition of {issue} leads to {wanted!r} from where it stands; it offers {offer}"
            raise PostRefusedError(msg)
        reached = text_at(chosen, "to", "name") or text_at(chosen, "name") or name or category
        await self._client.write(
            "POST",
            issue_path(issue, "transitions"),
            what=f"moving {issue} to {reached!r}",
            json={"transition": {"id": id_at(chosen, "id")}},
        )
        return _receipt(self._client, post, issue, note=f"{issue} moved to {reached!r}")


class Labels:
    """Putting labels on, or taking them off."""

    def __init__(self, client: JiraClient, *, add: bool) -> None:
        self._client = client
        self._add = add

    async def find(self, post: Post, issue: str) -> Receipt | None:  # noqa: ARG002 - the posters' protocol
        """Always None: Jira takes the same change of a label twice, and the second time nothing happens."""
        return None

    async def create(self, post: Post, issue: str) -> Receipt:
        """Change this one label and no other."""
        label = _label(post)
        verb, state = ("add", "on") if self._add else ("remove", "not on")
        await self._client.write(
            "PUT",
            issue_path(issue),
            what=f"{verb} label {label!r} on {issue}",
            json={"update": {"labels": [{verb: label}]}},
        )
        return _receipt(self._client, post, issue, note=f"label {label!r} is {state} {issue}")


class RemoteLinks:
    """Links from an issue to elsewhere. Jira keeps one per `globalId`: one address is one link."""

    def __init__(self, client: JiraClient) -> None:
        self._client = client

    async def find(self, post: Post, issue: str) -> Receipt | None:  # noqa: ARG002 - the posters' protocol
        """Always None: posting again under the same `globalId` changes the link that is there."""
        return None

    async def create(self, post: Post, issue: str) -> Receipt:
        """Make the link, or bring it up to date."""
        assert isinstance(post.arguments, RemoteLinkArguments)  # noqa: S101 - the outbox validated it by the spec
        arguments = post.arguments
        thing: dict[str, Any] = {"url": arguments.url, "title": arguments.title}
        if arguments.summary is not None:
            thing["summary"] = arguments.summary
        thing["status"] = {"resolved": arguments.resolved}
        payload: dict[str, Any] = {"globalId": global_id(arguments.url), "object": thing}
        if arguments.relationship is not None:
            payload["relationship"] = arguments.relationship
        status, made = await self._client.write(
            "POST", issue_path(issue, "remotelink"), what=f"linking from {issue}", json=payload
        )
        number = id_at(made, "id")
        return _receipt(
            self._client,
            post,
            issue,
            note=f"link on {issue} {'made' if status == 201 else 'updated'}",  # noqa: PLR2004 - HTTP Created
            artefact=f"remotelink:{number}" if number else None,
        )


def global_id(url: str) -> str:
    """Identity of a remote link: its address. Changing this makes second links of old ones."""
    named = f"triggerhub:{url}"
    return (
        named
        if len(named) <= MAX_GLOBAL_ID
        else "triggerhub:sha256:" + hashlib.sha256(url.encode()).hexdigest()
    )


def _wanted(post: Post) -> tuple[str | None, str | None]:
    """Status name and category key to reach: what the rule fixes, else what the agent says."""
    assert isinstance(post.target, TransitionTarget)  # noqa: S101 - the outbox validated it by the spec
    assert isinstance(post.arguments, TransitionArguments)  # noqa: S101 - as above
    said = post.arguments.status
    if post.target.status is not None:
        if said is not None and not _same(said, post.target.status):
            msg = f"the rule lets the issue be moved to {post.target.status!r} only, not to {said!r}"
            raise PostRefusedError(msg)
        return post.target.status, None
    if post.target.category is not None:
        return said, CATEGORY_KEYS[post.target.category]
    if said is None:
        msg = "neither the rule nor the call names a status; say which in status"
        raise PostRefusedError(msg)
    return said, None


def _label(post: Post) -> str:
    assert isinstance(post.target, LabelTarget)  # noqa: S101 - the outbox validated it by the spec
    assert isinstance(post.arguments, LabelArguments)  # noqa: S101 - as above
    fixed, said = post.target.label, post.arguments.label
    if fixed is not None and said is not None and fixed != said:
        msg = f"the rule allows the label {fixed!r} only, not {said!r}"
        raise PostRefusedError(msg)
    label = fixed or said
    if label is None:
        msg = "neither the rule nor the call names a label; say which in label"
        raise PostRefusedError(msg)
    return label


def _is_status(status: object, name: str | None, category: str | None) -> bool:
    """Whether a status is the one wanted: by name, by category, or by both where both are given."""
    if name is not None and not _same(text_at(status, "name"), name):
        return False
    return category is None or text_at(status, "statusCategory", "key") == category


def _same(left: str | None, right: str) -> bool:
    return left is not None and left.strip().casefold() == right.strip().casefold()


def _receipt(
    client: JiraClient, post: Post, issue: str, *, note: str, artefact: str | None = None
) -> Receipt:
    url: str | None = post.origin.subject.url if post.to_origin else None
    if url is None and client.settings.site is not None:
        url = f"{client.settings.site}/browse/{quote(issue, safe='')}"
    return Receipt(url=url, artefact=artefact, note=note)
