"""Small marks on what is there: reactions, labels, commit statuses, check runs. Must not write any text but
that of a check.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from connectors.body import id_at, text_at
from connectors.calls import decoded
from connectors.clip import clip
from connectors.github.client import Client
from connectors.github.destinations import number_of, origin_id, repository_of, sha_of
from connectors.github.mentions import disarm
from connectors.github.outputs import (
    CheckRunArguments,
    CheckRunTarget,
    LabelArguments,
    LabelTarget,
    ReactionArguments,
    ReactionTarget,
    StatusArguments,
    StatusTarget,
)
from connectors.github.pull_requests import one_line
from connectors.github.rest import objects
from connectors.poster import Post, PostRefusedError
from schemas.result import Receipt

MAX_DESCRIPTION: Final = 140
MAX_CHECK_BYTES: Final = 65_535
"""Bytes of UTF-8 in `output.summary` and `output.text`; an emoji counts four."""
MAX_CHECK_TITLE: Final = 255


class Reactions:
    """The output `add_reaction`. Adding one again changes nothing: GitHub answers 200 with the old one."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def find(self, post: Post) -> Receipt | None:
        del post  # creating again finds it
        return None

    async def create(self, post: Post) -> Receipt:
        target, arguments = post.target, post.arguments
        if not isinstance(target, ReactionTarget) or not isinstance(arguments, ReactionArguments):
            raise PostRefusedError(_foreign(post))
        repository = repository_of(post)
        response = await self._client.post(
            f"/repos/{repository}/{self._thing(post, target)}/reactions",
            repository=repository,
            json={"content": target.content or arguments.content},
        )
        ident = id_at(decoded(response), "id")
        return Receipt(artefact=f"reaction:{ident}" if ident else None)

    def _thing(self, post: Post, target: ReactionTarget) -> str:
        if post.to_origin:
            for name, path in (
                ("review_comment_id", "pulls/comments"),
                ("comment_id", "issues/comments"),
                ("commit_comment_id", "comments"),
            ):
                ident = origin_id(post, name)
                if ident is not None:
                    return f"{path}/{ident}"
        elif target.comment_id is not None:
            return f"issues/comments/{target.comment_id}"
        return f"issues/{number_of(post)}"


class Labels:
    """The output `add_label`. A label that is there already stays as it is."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def find(self, post: Post) -> Receipt | None:
        del post  # creating again finds it
        return None

    async def create(self, post: Post) -> Receipt:
        target, arguments = post.target, post.arguments
        if not isinstance(target, LabelTarget) or not isinstance(arguments, LabelArguments):
            raise PostRefusedError(_foreign(post))
        allowed = {label.lower() for label in target.allowed}
        strange = [label for label in arguments.labels if allowed and label.lower() not in allowed]
        if strange:
            msg = f"the rule does not allow the label {strange[0]!r}; it allows {', '.join(target.allowed)}"
            raise PostRefusedError(msg)
        repository, number = repository_of(post), number_of(post)
        await self._client.post(
            f"/repos/{repository}/issues/{number}/labels",
            repository=repository,
            json={"labels": list(arguments.labels)},
        )
        return Receipt(note=f"labels added to {repository}#{number}: {', '.join(arguments.labels)}")


class Statuses:
    """The output `set_commit_status`. The newest one of a context is the one that counts."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def find(self, post: Post) -> Receipt | None:
        """The commit's newest status of this context, if it says what we would say."""
        target, arguments = self._parts(post)
        repository = repository_of(post)
        sha = await commit_of(self._client, post)
        response = await self._client.get(
            f"/repos/{repository}/commits/{sha}/statuses", repository=repository, params={"per_page": "100"}
        )
        for status in objects(response):
            if text_at(status, "context") == target.context:
                wanted = _description(arguments)
                same = text_at(status, "state") == arguments.state
                same = same and (text_at(status, "description") or "") == wanted
                return _status_receipt(status) if same else None
        return None

    async def create(self, post: Post) -> Receipt:
        target, arguments = self._parts(post)
        repository = repository_of(post)
        sha = await commit_of(self._client, post)
        status: dict[str, Any] = {
            "state": arguments.state,
            "context": target.context,
            "description": _description(arguments),
        }
        if arguments.target_url is not None:
            status["target_url"] = arguments.target_url
        response = await self._client.post(
            f"/repos/{repository}/statuses/{sha}", repository=repository, json=status
        )
        return _status_receipt(decoded(response))

    def _parts(self, post: Post) -> tuple[StatusTarget, StatusArguments]:
        if not isinstance(post.target, StatusTarget) or not isinstance(post.arguments, StatusArguments):
            raise PostRefusedError(_foreign(post))
        return post.target, post.arguments


class CheckRuns:
    """The output `create_check_run`. Only an App may write one; `external_id` is our name for it."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def find(self, post: Post) -> Receipt | None:
        target, _ = self._parts(post)
        repository = repository_of(post)
        sha = await commit_of(self._client, post)
        response = await self._client.get(
            f"/repos/{repository}/commits/{sha}/check-runs",
            repository=repository,
            params={"check_name": target.name, "filter": "all", "per_page": "100"},
        )
        for run in objects(response, "check_runs"):
            if text_at(run, "external_id") == _external_id(post):
                return _check_receipt(run)
        return None

    async def create(self, post: Post) -> Receipt:
        target, arguments = self._parts(post)
        repository = repository_of(post)
        output = {
            "title": one_line(arguments.title, MAX_CHECK_TITLE),
            "summary": clip(disarm(arguments.summary), MAX_CHECK_BYTES, encoding="utf-8"),
        }
        if arguments.text:
            output["text"] = clip(disarm(arguments.text), MAX_CHECK_BYTES, encoding="utf-8")
        response = await self._client.post(
            f"/repos/{repository}/check-runs",
            repository=repository,
            json={
                "name": target.name,
                "head_sha": await commit_of(self._client, post),
                "status": "completed",
                "conclusion": arguments.conclusion,
                "external_id": _external_id(post),
                "output": output,
            },
        )
        return _check_receipt(decoded(response))

    def _parts(self, post: Post) -> tuple[CheckRunTarget, CheckRunArguments]:
        if not isinstance(post.target, CheckRunTarget) or not isinstance(post.arguments, CheckRunArguments):
            raise PostRefusedError(_foreign(post))
        if not self._client.credentials.is_app:
            msg = (
                "only a GitHub App may write check runs; give the connection an app, or use set_commit_status"
            )
            raise PostRefusedError(msg)
        return post.target, post.arguments


async def commit_of(client: Client, post: Post) -> str:
    """The commit of the post. A pull request whose event names none is asked for its head."""
    sha = sha_of(post)
    if sha is not None:
        return sha
    repository = repository_of(post)
    if not post.to_origin or post.origin.subject.kind != "pr":
        msg = f"there is no commit for {post.output}: the event names none; add sha in the rule"
        raise PostRefusedError(msg)
    response = await client.get(f"/repos/{repository}/pulls/{number_of(post)}", repository=repository)
    head = text_at(decoded(response), "head", "sha")
    if head is None:
        msg = f"the pull request {post.origin.subject.key} names no head commit"
        raise PostRefusedError(msg)
    return head


def _external_id(post: Post) -> str:
    """Changing this breaks the finding of earlier check runs."""
    return f"{post.run}:{post.slot}"


def _description(arguments: StatusArguments) -> str:
    return one_line(arguments.description, MAX_DESCRIPTION)


def _status_receipt(status: object) -> Receipt:
    ident = id_at(status, "id")
    return Receipt(url=text_at(status, "target_url"), artefact=f"status:{ident}" if ident else None)


def _check_receipt(run: Mapping[str, Any] | Any) -> Receipt:
    ident = id_at(run, "id")
    return Receipt(url=text_at(run, "html_url"), artefact=f"check_run:{ident}" if ident else None)


def _foreign(post: Post) -> str:
    return f"the output {post.output} got target or arguments of another output"
