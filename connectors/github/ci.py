"""Continuous integration: check runs, check suites, workflow runs and commit statuses. Only completion is
an event.

A build is of a pull request where the payload names exactly one of this repository, else of its commit.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from connectors.base import Fact
from connectors.body import id_at, text_at, time_at
from connectors.github.actors import is_our_app, read_actor
from connectors.github.changes import value
from connectors.github.payloads import Delivery, Ignored, Reading, Unsupported, items
from connectors.github.subjects import (
    account_of,
    address,
    commit,
    fact_key,
    invited_only,
    number_of,
    repository_name,
    safe_key,
    title,
    visibility_of,
    words,
)
from schemas.event import Subject, Trust

MAX_PULLS: Final = 50
_WRITE_EVENTS: Final = frozenset(
    {
        "push",
        "workflow_dispatch",
        "repository_dispatch",
        "schedule",
        "create",
        "delete",
        "deployment",
        "deployment_status",
        "merge_group",
        "release",
        "pull_request",
    }
)
"""What starts a workflow on a branch of this repository only through somebody with write access (for
`pull_request`: its branch was pushed here). `issues`, `issue_comment`, `watch` and the like can be caused
by anybody."""
_UNFINISHED: Final = "not completed"


def read_check_run(delivery: Delivery) -> Reading:
    """`check_run`: its completion, or a button that a person pressed on it."""
    run = delivery.part("check_run")
    if delivery.action in {"requested_action", "rerequested"}:
        return _button(delivery, run)
    if delivery.action not in {"completed", "created"}:
        return Unsupported(f"no reader for {delivery.name}")
    # A check that is created in its final state may be told of as `created` alone.
    if text_at(run, "conclusion") is None:
        return Ignored(_UNFINISHED)
    output = [text_at(run, "output", part) for part in ("title", "summary", "text")]
    return _completed(
        delivery,
        run,
        name="check_run",
        parts=(id_at(run, "id"), text_at(run, "completed_at")),
        sha=text_at(run, "head_sha"),
        heading=text_at(run, "name"),
        text="\n\n".join(part for part in output if part),
        time_field="completed_at",
        trust=_check_trust(delivery, run),
        app=id_at(run, "app", "id"),
    )


def read_check_suite(delivery: Delivery) -> Reading:
    """`check_suite`: all checks of one App on one commit."""
    suite = delivery.part("check_suite")
    if delivery.action == "requested":
        return Ignored(_UNFINISHED)
    if delivery.action == "rerequested":
        return _button(delivery, suite)
    if delivery.action != "completed":
        return Unsupported(f"no reader for {delivery.name}")
    return _completed(
        delivery,
        suite,
        name="check_suite",
        parts=(id_at(suite, "id"), text_at(suite, "updated_at")),
        sha=text_at(suite, "head_sha"),
        heading=text_at(suite, "app", "name"),
        text="",
        time_field="updated_at",
        trust=_check_trust(delivery, suite),
        app=id_at(suite, "app", "id"),
    )


def read_workflow_run(delivery: Delivery) -> Reading:
    """`workflow_run`: one attempt of a workflow."""
    if delivery.action in {"requested", "in_progress"}:
        return Ignored(_UNFINISHED)
    if delivery.action != "completed":
        return Unsupported(f"no reader for {delivery.name}")
    run = delivery.part("workflow_run")
    return _completed(
        delivery,
        run,
        name="workflow_run",
        parts=(id_at(run, "id"), id_at(run, "run_attempt")),
        sha=text_at(run, "head_sha"),
        heading=text_at(run, "name") or text_at(delivery.body, "workflow", "name"),
        text=text_at(run, "display_title") or "",
        time_field="updated_at",
        trust=_workflow_trust(delivery, run),
        run_id=id_at(run, "id"),
    )


def read_status(delivery: Delivery) -> Reading:
    """`status`: the older way in which a CI service reports, on a commit."""
    state = text_at(delivery.body, "state")
    if state == "pending":
        return Ignored(_UNFINISHED)
    if state not in {"success", "failure", "error"}:
        return Unsupported("status without a known state")
    return _completed(
        delivery,
        {**delivery.body, "conclusion": state},
        name="status",
        parts=(id_at(delivery.body, "id"),),
        sha=text_at(delivery.body, "sha"),
        heading=text_at(delivery.body, "context"),
        text=text_at(delivery.body, "description") or "",
        time_field="updated_at",
        trust="collaborator",  # reporting a status needs write access
        artefact=id_at(delivery.body, "id"),
    )


def _completed(
    delivery: Delivery,
    run: Mapping[str, Any],
    *,
    name: str,
    parts: tuple[str | None, ...],
    sha: str | None,
    heading: str | None,
    text: str,
    time_field: str,
    trust: Trust,
    app: str | None = None,
    artefact: str | None = None,
    **extra: str | None,
) -> Reading:
    subject = _subject(delivery, run, sha, heading)
    if subject is None or parts[0] is None:
        return Unsupported(f"{delivery.name} without repository.full_name, id or head_sha")
    conclusion = text_at(run, "conclusion")
    changed = {"conclusion": value(None, conclusion)}
    branch = text_at(run, "head_branch") or text_at(run, "check_suite", "head_branch")
    actor = read_actor(delivery, otherwise=trust, apps=(app,))
    if name != "status":
        # Of a check the sender is whoever pushed the commit; the check is our own only where our App made it.
        actor = actor.model_copy(update={"is_self": is_our_app(delivery.identity, app)})
    return Fact(
        kind="ci.completed",
        actor=actor,
        subject=subject,
        key=fact_key(f"{name}.completed", *parts, conclusion),
        account=account_of(delivery.body),
        occurred_at=time_at(run, time_field),
        text=words(text),
        changed=changed,
        visibility=visibility_of(delivery.body),
        links=_links(delivery, run, subject, sha),
        address=address(
            delivery,
            head_sha=sha,
            head_branch=branch,
            own_branch=branch if trust != "unknown" else None,
            number=subject.key.rpartition("#")[2] if subject.kind == "pr" else None,
            **extra,
        ),
        artefact=f"{name}:{artefact or parts[0]}",
    )


def _button(delivery: Delivery, run: Mapping[str, Any]) -> Reading:
    """Somebody pressed a button on a check. Showing buttons and Re-run to a person takes write access.

    The payload holds no time or number of the click, so the delivery itself is the fact.
    """
    sha = text_at(run, "head_sha")
    subject = _subject(delivery, run, sha, text_at(run, "name"))
    if subject is None:
        return Unsupported(f"{delivery.name} without repository.full_name or head_sha")
    identifier = text_at(delivery.body, "requested_action", "identifier") or delivery.action
    return Fact(
        kind="action.clicked",
        actor=read_actor(delivery, otherwise="collaborator"),
        subject=subject,
        key=fact_key(delivery.name, id_at(run, "id"), identifier, delivery.key),
        account=account_of(delivery.body),
        changed={"action": value(None, identifier)},
        visibility=visibility_of(delivery.body),
        links=_links(delivery, run, subject, sha),
        address=address(
            delivery,
            head_sha=sha,
            number=subject.key.rpartition("#")[2] if subject.kind == "pr" else None,
            action=identifier,
            external_id=text_at(run, "external_id"),
        ),
    )


def _subject(
    delivery: Delivery, run: Mapping[str, Any], sha: str | None, heading: str | None
) -> Subject | None:
    name = repository_name(delivery.body)
    if name is None:
        return None
    numbers = _pulls(delivery, run)
    if len(numbers) == 1:
        home = text_at(delivery.body, "repository", "html_url")
        return Subject(
            kind="pr",
            key=safe_key(f"{name}#{numbers[0]}"),
            url=f"{home}/pull/{numbers[0]}" if home else None,
            title=title(heading),
            container=safe_key(name),
        )
    return commit(delivery, sha, heading=heading) if sha else None


def _pulls(delivery: Delivery, run: Mapping[str, Any]) -> list[str]:
    """Numbers of the pull requests of this repository. The list may name those of forks and parents too."""
    numbers: dict[str, None] = {}
    for pull in items(run, "pull_requests"):
        number = number_of(pull)
        if number and not _is_elsewhere(delivery, pull):
            numbers[number] = None
        if len(numbers) >= MAX_PULLS:
            break
    return list(numbers)


def _is_elsewhere(delivery: Delivery, pull: object) -> bool:
    """True where the pull request says that it goes into another repository."""
    here, there = id_at(delivery.body, "repository", "id"), id_at(pull, "base", "repo", "id")
    url = text_at(pull, "base", "repo", "url") or text_at(pull, "url")
    name = repository_name(delivery.body) or ""
    if url is not None and f"/repos/{name}/".lower() not in f"{url}/".lower():
        return True
    return here is not None and there is not None and here != there


def _links(delivery: Delivery, run: Mapping[str, Any], subject: Subject, sha: str | None) -> tuple[str, ...]:
    """The build's page, and keys and pages of what it is a build of."""
    links: dict[str, None] = {}
    name, home = repository_name(delivery.body), text_at(delivery.body, "repository", "html_url")
    for page in ("html_url", "details_url", "target_url"):
        url = text_at(run, page)
        if url:
            links[url] = None
    for number in _pulls(delivery, run):
        links[f"{name}#{number}"] = None
        if home:
            links[f"{home}/pull/{number}"] = None
    if sha and subject.kind == "pr":
        links[f"{name}@{sha}"] = None
    return tuple(links)


def _workflow_trust(delivery: Delivery, run: Mapping[str, Any]) -> Trust:
    """Of a run on a fork nothing is proven: its author may have started it."""
    home = id_at(delivery.body, "repository", "id")
    is_here = home is not None and home == id_at(run, "head_repository", "id")
    if invited_only(delivery.body) or (is_here and text_at(run, "event") in _WRITE_EVENTS):
        return "collaborator"
    return "unknown"


def _check_trust(delivery: Delivery, run: Mapping[str, Any]) -> Trust:
    """A check names a pull request with its head in this repository, or it may be of a fork: then nothing is
    proven.
    """
    home = id_at(delivery.body, "repository", "id")
    is_here = home is not None and any(
        id_at(pull, "head", "repo", "id") == home for pull in items(run, "pull_requests")
    )
    return "collaborator" if is_here or invited_only(delivery.body) else "unknown"
