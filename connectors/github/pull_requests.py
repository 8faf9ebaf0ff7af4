"""Opening a pull request once. Must not touch one that is closed.

The natural key is (head, base): GitHub has at most one open pull request of each pair.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import httpx

from connectors.body import get, id_at, text_at
from connectors.calls import decoded
from connectors.github.client import Client
from connectors.github.comments import is_marked, marked
from connectors.github.comparisons import judge_branch
from connectors.github.destinations import repository_of
from connectors.github.gitdata import GitData
from connectors.github.outputs import PullRequestArguments, PullRequestTarget
from connectors.github.patched import Committer, branch_of
from connectors.github.payloads import items
from connectors.github.rest import check, explain, objects
from connectors.poster import Post, PostError, PostPolicyError, PostRefusedError
from schemas.policy.places import judge_places
from schemas.policy.shapes import ChangePolicy, Refusal
from schemas.result import Receipt

MAX_TITLE: Final = 256
USUAL_BRANCH: Final = "main"
"""Named where GitHub shows no repository that could name another."""
ADOPTED: Final = "the pull request existed already; adopted"


class PullRequests:
    """The output `open_pull_request`."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def find(self, post: Post) -> Receipt | None:
        """The pull request with our marker, open or not.

        One that is open but lacks its labels is not reported: `create` then adopts it and adds them.
        """
        target, arguments = _parts(post)
        repository = repository_of(post)
        for pull in await self._of_branch(repository, arguments.head or branch_of(post), state="all"):
            if is_marked(post, pull) and await self._client.is_ours(pull):
                is_open = text_at(pull, "state") == "open"
                if is_open and not _has_labels(pull, target.labels):
                    return None
                return _receipt(repository, pull)
        return None

    async def create(self, post: Post) -> Receipt:
        target, arguments = _parts(post)
        repository = repository_of(post)
        base = await self._base(repository, target, arguments)
        title = one_line(f"{target.title_prefix}{arguments.title}", MAX_TITLE)
        head, sha = await self._branch(post, repository, base=base, title=title)
        path = f"/repos/{repository}/pulls"
        response = await self._client.attempt(
            "POST",
            path,
            repository=repository,
            json={
                "title": title,
                "head": head,
                "base": base,
                "body": marked(post, arguments.body),
                "draft": target.draft,
                "maintainer_can_modify": True,
            },
        )
        note = ""
        if _exists(response):
            pull = await self._open_one(repository, head, base)
            if pull is None:
                check(response, what=f"POST {path}")
                msg = f"POST {path}: a pull request of {head!r} is said to exist, but none is shown"
                raise PostRefusedError(msg)
            note = "" if is_marked(post, pull) else ADOPTED
        else:
            check(response, what=f"POST {path}")
            found = decoded(response)
            pull = found if isinstance(found, Mapping) else {}
            await self._unchanged(post, repository, pull, base=base, sha=sha)
        if not _has_labels(pull, target.labels):
            note = "; ".join(
                part for part in (note, await self._label(repository, pull, target.labels)) if part
            )
        return _receipt(repository, pull, note=note)

    async def _base(self, repository: str, target: PullRequestTarget, arguments: PullRequestArguments) -> str:
        base = target.base or arguments.base or await self._default_branch(repository)
        refusal = judge_places({"bases": target.bases}, {"base": base})
        if refusal is not None:
            raise PostPolicyError(refusal)
        return base

    async def _branch(self, post: Post, repository: str, *, base: str, title: str) -> tuple[str, str | None]:
        """Name and sha of the branch to open the pull request from, judged by the rule's policy.

        No sha: GitHub shows us nothing of the repository, so it takes no pull request from us either. The request is
        made, and the refusal is GitHub's own.
        """
        target, arguments = _parts(post)
        if target.source not in {"any", "branch" if arguments.is_pushed else "patch"}:
            wanted = "head, a branch you have pushed" if target.source == "branch" else "files or patch"
            raise PostPolicyError(Refusal("source", f"the rule takes {wanted}, and nothing else"))
        if arguments.head is None:
            committer = Committer(self._client, post, repository, target.changes)
            return branch_of(post), await committer.commit(arguments, base=base, title=title)
        refusal = judge_places({"branches": target.branches}, {"head": arguments.head})
        if refusal is not None:
            raise PostPolicyError(refusal)
        sha = await self._pushed(repository, arguments.head)
        if sha is None and await self._shown(repository) is None:
            if target.changes != ChangePolicy():
                msg = f"GitHub does not show {repository} to us, so what the branch changes cannot be judged by the rule"
                raise PostRefusedError(msg)
            return arguments.head, None
        if sha is None:
            msg = f"{repository} has no branch {arguments.head!r}; push it first, or give files or a patch"
            raise PostRefusedError(msg)
        await self._judge(post, repository, base=base, sha=sha)
        return arguments.head, sha

    async def _pushed(self, repository: str, branch: str) -> str | None:
        try:
            return await GitData(self._client, repository).head(branch)
        except PostRefusedError:
            if await self._shown(repository) is None:
                return None
            raise

    async def _shown(self, repository: str) -> Mapping[str, Any] | None:
        """The repository as GitHub shows it to us; None where it is absent, or hidden from our credential."""
        path = f"/repos/{repository}"
        response = await self._client.attempt("GET", path, repository=repository)
        if response.status_code == httpx.codes.NOT_FOUND:
            return None
        check(response, what=f"GET {path}")
        found = decoded(response)
        named = text_at(found, "full_name") or text_at(found, "default_branch")
        return found if named is not None else None

    async def _judge(self, post: Post, repository: str, *, base: str, sha: str) -> None:
        policy = _parts(post)[0].changes
        await judge_branch(self._client, repository, base=base, head=sha, policy=policy, known=post.known)

    async def _unchanged(
        self, post: Post, repository: str, pull: Mapping[str, Any], *, base: str, sha: str | None
    ) -> None:
        """Whoever pushed between judging and opening is judged too; a pull request that fails is closed again.

        So is a branch that could not be judged before: GitHub took its pull request after all.
        """
        now = text_at(pull, "head", "sha")
        if now is None or now == sha:
            return
        try:
            await self._judge(post, repository, base=base, sha=now)
        except PostRefusedError as error:
            if sha is None and not isinstance(error, PostPolicyError):
                return  # it shows us nothing still
            path = f"/repos/{repository}/pulls/{id_at(pull, 'number')}"
            response = await self._client.attempt(
                "PATCH", path, repository=repository, json={"state": "closed"}
            )
            check(response, what=f"PATCH {path}")
            raise

    async def _default_branch(self, repository: str) -> str:
        shown = await self._shown(repository)
        if shown is None:
            return USUAL_BRANCH
        branch = text_at(shown, "default_branch")
        if branch is None:
            msg = f"{repository} names no default branch; set base in the rule"
            raise PostRefusedError(msg)
        return branch

    async def _of_branch(
        self, repository: str, head: str, *, state: str, base: str | None = None
    ) -> list[Mapping[str, Any]]:
        owner = repository.partition("/")[0]
        params = {"head": f"{owner}:{head}", "state": state, "per_page": "100"}
        if base is not None:
            params["base"] = base
        return objects(
            await self._client.get(f"/repos/{repository}/pulls", repository=repository, params=params)
        )

    async def _open_one(self, repository: str, head: str, base: str) -> Mapping[str, Any] | None:
        pulls = await self._of_branch(repository, head, state="open", base=base)
        return next((pull for pull in pulls if text_at(pull, "head", "ref") in {head, None}), None)

    async def _label(self, repository: str, pull: Mapping[str, Any], labels: tuple[str, ...]) -> str:
        """Add the labels. The pull request is there already, so a failure is a note and no error."""
        number = id_at(pull, "number")
        try:
            await self._client.post(
                f"/repos/{repository}/issues/{number}/labels",
                repository=repository,
                json={"labels": list(labels)},
            )
        except PostError as error:
            return f"its labels could not be added ({error})"
        return ""


def one_line(text: str, limit: int) -> str:
    """`text` as one line of at most `limit` characters."""
    flat = " ".join(text.split())
    return flat if len(flat) <= limit else flat[: limit - 1].rstrip() + "…"


def _parts(post: Post) -> tuple[PullRequestTarget, PullRequestArguments]:
    target, arguments = post.target, post.arguments
    if not isinstance(target, PullRequestTarget) or not isinstance(arguments, PullRequestArguments):
        msg = f"the output {post.output} got target or arguments of another output"
        raise PostRefusedError(msg)
    return target, arguments


def _exists(response: httpx.Response) -> bool:
    is_refusal = response.status_code == httpx.codes.UNPROCESSABLE_ENTITY
    return is_refusal and "pull request already exists" in explain(response).lower()


def _has_labels(pull: Mapping[str, Any], wanted: tuple[str, ...]) -> bool:
    present = {(text_at(label, "name") or "").lower() for label in items(pull, "labels")}
    return {label.lower() for label in wanted} <= present


def _receipt(repository: str, pull: Mapping[str, Any], *, note: str = "") -> Receipt:
    # A renamed repository answers under its new name, which is also the one that its events will carry.
    name = text_at(pull, "base", "repo", "full_name") or repository
    number = get(pull, "number")
    subject = f"{name}#{number}" if isinstance(number, int) else None
    return Receipt(
        url=text_at(pull, "html_url"),
        artefact=f"pr:{subject}" if subject else None,
        subject=subject,
        note=note,
    )
