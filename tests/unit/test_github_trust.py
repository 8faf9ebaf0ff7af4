"""Who did it and what the payload proves of them: design §4.1, case by case."""

from __future__ import annotations

from typing import Any, Final

import pytest
from github_cases import ADA, GRACE, OTHER_BOT, OUR_BOT, PASSERBY, US, body_of, changed, fact

from connectors.base import Identity

ASSOCIATIONS: Final = {
    "OWNER": "owner",
    "MEMBER": "member",
    "COLLABORATOR": "collaborator",
    "CONTRIBUTOR": "outsider",
    "FIRST_TIMER": "outsider",
    "FIRST_TIME_CONTRIBUTOR": "outsider",
    "MANNEQUIN": "outsider",
    "NONE": "outsider",
    "SOMETHING_NEW": "unknown",
    "owner": "unknown",
}


def trust(event: str, body: dict[str, Any]) -> str:
    return fact(event, body).actor.trust


@pytest.mark.parametrize(("association", "expected"), ASSOCIATIONS.items())
@pytest.mark.parametrize(
    ("event", "sample", "part"),
    [
        ("issues", "issues.opened", "issue"),
        ("issue_comment", "issue_comment.created-on-issue", "comment"),
        ("pull_request", "pull_request.opened-from-fork", "pull_request"),
        ("pull_request_review", "pull_request_review.changes_requested", "review"),
        ("pull_request_review_comment", "pull_request_review_comment.reply", "comment"),
    ],
)
def test_the_association_counts_for_the_author(
    event: str, sample: str, part: str, association: str, expected: str
) -> None:
    assert trust(event, changed(body_of(sample), **{part: {"author_association": association}})) == expected


@pytest.mark.parametrize("missing", [{"author_association": None}, {"author_association": 7}])
def test_an_author_without_an_association_is_unknown(missing: dict[str, Any]) -> None:
    assert trust("issues", changed(body_of("issues.opened"), issue=missing)) == "unknown"


def test_the_association_of_the_issue_does_not_count_for_a_commenter() -> None:
    body = changed(
        body_of("issue_comment.created-on-issue"),
        issue={"author_association": "OWNER"},
        comment={"user": PASSERBY, "author_association": "NONE"},
        sender=PASSERBY,
    )
    assert trust("issue_comment", body) == "outsider"


@pytest.mark.parametrize(
    "action",
    [
        *("labeled", "unlabeled", "assigned", "unassigned", "closed", "reopened", "edited", "deleted"),
        *("transferred", "milestoned", "demilestoned", "locked", "unlocked", "typed", "untyped"),
    ],
)
def test_acting_on_anothers_issue_needs_triage_rights(action: str) -> None:
    body = changed(body_of("issues.opened"), action=action, sender=ADA)
    assert trust("issues", body) == "collaborator"


@pytest.mark.parametrize("action", ["labeled", "assigned"])
def test_a_template_acts_in_the_authors_name(action: str) -> None:
    body = changed(
        body_of("issues.opened"),
        action=action,
        issue={"user": PASSERBY, "author_association": "NONE"},
        sender=PASSERBY,
    )
    assert trust("issues", body) == "outsider"


def test_opening_proves_nothing_of_anybody_but_the_author() -> None:
    assert trust("issues", changed(body_of("issues.opened"), sender=ADA)) == "unknown"


def test_a_transferred_issue_is_opened_by_somebody_with_write_access() -> None:
    body = changed(body_of("issues.opened"), sender=ADA, changes={"old_issue": {"number": 3}})
    assert trust("issues", body) == "collaborator"


@pytest.mark.parametrize("event", ["issue_comment", "pull_request_review_comment"])
def test_a_comment_in_anothers_name_is_unknown(event: str) -> None:
    sample = {
        "issue_comment": "issue_comment.created-on-issue",
        "pull_request_review_comment": "pull_request_review_comment.reply",
    }[event]
    assert trust(event, changed(body_of(sample), sender=PASSERBY)) == "unknown"
    assert trust(event, changed(body_of(sample), sender=ADA, action="deleted")) == "collaborator"


@pytest.mark.parametrize(
    ("action", "pull", "expected"),
    [
        ("opened", {}, "unknown"),
        ("synchronize", {}, "collaborator"),
        ("synchronize", {"head": {"repo": {"id": 1}}}, "unknown"),
        ("synchronize", {"head": {"repo": None}}, "unknown"),
        ("labeled", {}, "collaborator"),
        ("review_requested", {}, "collaborator"),
        ("closed", {}, "collaborator"),
        ("closed", {"head": {"repo": None}}, "unknown"),
        ("closed", {"head": {"repo": None}, "merged": True}, "collaborator"),
    ],
)
def test_acting_on_anothers_pull_request(action: str, pull: dict[str, Any], expected: str) -> None:
    body = changed(body_of("pull_request.synchronize"), action=action, pull_request=pull, sender=GRACE)
    assert trust("pull_request", body) == expected


def test_a_push_may_dismiss_a_review_so_a_dismissal_proves_no_more() -> None:
    fork = {"head": {"repo": {"id": 1}}, "user": PASSERBY, "author_association": "NONE"}
    body = changed(body_of("pull_request_review.changes_requested"), action="dismissed")
    assert trust("pull_request_review", changed(body, sender=ADA)) == "member"  # the pull request's author
    assert trust("pull_request_review", changed(body, sender=ADA, pull_request=fork)) == "unknown"
    assert trust("pull_request_review", changed(body, sender=PASSERBY, pull_request=fork)) == "outsider"


@pytest.mark.parametrize(
    ("run", "sender", "repository", "expected"),
    [
        ({}, ADA, {}, "collaborator"),
        ({"event": "push"}, ADA, {}, "collaborator"),
        ({"event": "schedule"}, ADA, {}, "collaborator"),
        ({"event": "issues"}, PASSERBY, {}, "unknown"),
        ({"event": "issue_comment"}, PASSERBY, {}, "unknown"),
        ({"event": "pull_request_target"}, PASSERBY, {}, "unknown"),
        ({"head_repository": None}, ADA, {}, "unknown"),
        ({"head_repository": {"id": 1}}, ADA, {}, "unknown"),
        ({"head_repository": {"id": 1}}, ADA, {"private": True, "visibility": "private"}, "collaborator"),
        ({"head_repository": {"id": 1}}, ADA, {"private": True, "visibility": "internal"}, "unknown"),
        ({}, OTHER_BOT, {}, "bot"),
    ],
)
def test_a_build_proves_write_access_only_on_a_branch_of_the_repository(
    run: dict[str, Any], sender: dict[str, Any], repository: dict[str, Any], expected: str
) -> None:
    body = changed(
        body_of("workflow_run.failed-on-pull-request"), workflow_run=run, sender=sender, repository=repository
    )
    assert trust("workflow_run", body) == expected


def test_a_check_without_a_pull_request_of_this_repository_proves_nothing() -> None:
    body = body_of("check_run.completed")
    assert trust("check_run", body) == "collaborator"
    assert trust("check_run", changed(body, check_run={"pull_requests": []})) == "unknown"
    pull = changed(body["check_run"]["pull_requests"][0], head={"repo": {"id": 1}})
    assert trust("check_run", changed(body, check_run={"pull_requests": [pull]})) == "unknown"


def test_pushing_needs_write_access() -> None:
    assert trust("push", body_of("push.branch")) == "collaborator"


@pytest.mark.parametrize(
    ("sender", "expected"),
    [
        (None, "unknown"),
        ("octocat", "unknown"),
        ({}, "unknown"),
        ({**OTHER_BOT}, "bot"),
        ({"login": "old", "id": 5, "type": "Mannequin"}, "outsider"),
        ({"login": "acme", "id": 6, "type": "Organization"}, "unknown"),
        ({"login": "someone", "id": 9919, "type": "Organization"}, "system"),
        ({"login": "github", "id": 6, "type": "Organization"}, "unknown"),
        ({"login": "x", "id": 6, "type": "Enterprise"}, "unknown"),
        ({"login": "acme", "id": 7000001, "type": "User"}, "owner"),
    ],
)
def test_the_sort_of_sender(sender: Any, expected: str) -> None:
    body = {**body_of("issues.labeled-by-another"), "sender": sender}
    assert trust("issues", body) == expected


def test_a_login_that_ends_like_a_bots_is_no_bot() -> None:
    """The suffix was trusted elsewhere, and any App could pass for another (HackTricks cloud PR 301)."""
    sender = {"login": "dependabot[bot]", "id": 4711, "type": "User"}
    actor = fact("issues", changed(body_of("issues.labeled-by-another"), sender=sender)).actor
    assert not actor.is_bot
    assert actor.trust == "collaborator"


@pytest.mark.parametrize(
    ("identity", "expected"),
    [
        (Identity(), False),
        (Identity(actor_ids=frozenset({"7009999"})), True),
        (Identity(actor_ids=frozenset({"810001"})), True),
        (Identity(actor_ids=frozenset({"app:810001"})), True),
        (Identity(actor_ids=frozenset({"app:7009999"})), False),
        (Identity(logins=frozenset({"acme-hub[bot]"})), True),
        (Identity(logins=frozenset({"acme-hub"})), False),
        (Identity(actor_ids=frozenset({"7009998", "app:810002"})), False),
    ],
)
def test_our_own_comment(identity: Identity, *, expected: bool) -> None:
    body = body_of("issue_comment.created-by-us")
    assert fact("issue_comment", body, identity=identity).actor.is_self is expected


def test_somebody_elses_bot_is_not_us() -> None:
    body = changed(body_of("issues.opened"), sender=OTHER_BOT)
    actor = fact("issues", body, identity=US).actor
    assert (actor.is_bot, actor.is_self, actor.trust) == (True, False, "bot")


def test_a_persons_action_on_our_comment_is_not_ours() -> None:
    for action in ("edited", "deleted"):
        body = changed(body_of("issue_comment.created-by-us"), action=action, sender=ADA)
        assert not fact("issue_comment", body, identity=US).actor.is_self, action


def test_a_persons_label_on_our_issue_is_not_ours() -> None:
    mine = {"user": OUR_BOT, "performed_via_github_app": {"id": 810001}}
    body = changed(body_of("issues.labeled-by-another"), issue=mine)
    assert not fact("issues", body, identity=US).actor.is_self
    assert fact("issues", changed(body, action="opened"), identity=US).actor.is_self


def test_our_check_run_is_ours_and_its_button_is_not() -> None:
    done, pressed = body_of("check_run.completed-by-us"), body_of("check_run.requested_action")
    assert fact("check_run", changed(done, sender=ADA), identity=US).actor.is_self
    assert not fact("check_run", pressed, identity=US).actor.is_self
