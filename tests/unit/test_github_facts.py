"""GitHub deliveries as facts: kinds, subjects, keys that repeat or differ, and what is ignored."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any, Final
from urllib.parse import urlencode

import pytest
from github_cases import ADA, FIXTURES, body_of, changed, fact, read

from connectors.base import Identity, Outcome, Request, UnreadableError
from connectors.github.connector import CONNECTOR

ISSUE_KINDS: Final = {
    "opened": "issue.opened",
    "edited": "issue.updated",
    "labeled": "issue.labeled",
    "unlabeled": "issue.updated",
    "assigned": "issue.assigned",
    "unassigned": "issue.updated",
    "closed": "issue.closed",
    "reopened": "issue.reopened",
    "deleted": "issue.deleted",
    "transferred": "issue.updated",
    "milestoned": "issue.updated",
    "locked": "issue.updated",
}
PULL_KINDS: Final = {
    "opened": "pr.opened",
    "synchronize": "pr.updated",
    "edited": "pr.updated",
    "ready_for_review": "pr.updated",
    "converted_to_draft": "pr.updated",
    "reopened": "pr.updated",
    "labeled": "pr.labeled",
    "unlabeled": "pr.updated",
    "review_requested": "pr.review_requested",
    "review_request_removed": "pr.updated",
    "assigned": "pr.updated",
    "closed": "pr.closed",
    "enqueued": "pr.updated",
}


@pytest.mark.parametrize(("action", "kind"), ISSUE_KINDS.items())
def test_issue_actions(action: str, kind: str) -> None:
    found = fact("issues", changed(body_of("issues.opened"), action=action))
    assert (found.kind, found.subject.key, found.account) == (kind, "acme/checkout#12", "acme")


@pytest.mark.parametrize(("action", "kind"), PULL_KINDS.items())
def test_pull_request_actions(action: str, kind: str) -> None:
    found = fact("pull_request", changed(body_of("pull_request.synchronize"), action=action))
    assert (found.kind, found.subject.key, found.subject.kind) == (kind, "acme/checkout#15", "pr")


def test_merging_is_not_closing() -> None:
    body = body_of("pull_request.merged")
    assert fact("pull_request", body).kind == "pr.merged"
    assert fact("pull_request", changed(body, pull_request={"merged": False})).kind == "pr.closed"
    assert fact("pull_request", changed(body, pull_request={"merged": "yes"})).kind == "pr.closed"


@pytest.mark.parametrize(
    ("event", "sample", "parts", "expected"),
    [
        (
            "issues",
            "issues.labeled-by-another",
            {"action": "unlabeled"},
            {"labels": {"added": [], "removed": ["agent"]}},
        ),
        (
            "issues",
            "issues.opened",
            {"action": "assigned", "assignee": ADA},
            {"assignees": {"added": ["ada-example"], "removed": []}},
        ),
        (
            "issues",
            "issues.opened",
            {"action": "milestoned", "milestone": {"title": "May"}},
            {"milestone": {"from": None, "to": "May"}},
        ),
        ("issues", "issues.opened", {"action": "reopened"}, {"state": {"from": "closed", "to": "open"}}),
        (
            "pull_request",
            "pull_request.synchronize",
            {"action": "edited", "changes": {"base": {"ref": {"from": "next"}}}},
            {"base": {"from": "next", "to": "main"}},
        ),
        (
            "pull_request",
            "pull_request.synchronize",
            {"action": "ready_for_review"},
            {"draft": {"from": True, "to": False}},
        ),
    ],
)
def test_what_changed(event: str, sample: str, parts: dict[str, Any], expected: dict[str, Any]) -> None:
    assert dict(fact(event, changed(body_of(sample), **parts)).changed) == expected


@pytest.mark.parametrize(
    ("event", "sample"),
    [
        ("issues", "issues.opened"),
        ("issues", "issues.labeled-by-another"),
        ("issue_comment", "issue_comment.created-on-issue"),
        ("pull_request", "pull_request.synchronize"),
        ("pull_request_review", "pull_request_review.changes_requested"),
        ("pull_request_review_comment", "pull_request_review_comment.reply"),
        ("check_run", "check_run.completed"),
        ("workflow_run", "workflow_run.failed-on-pull-request"),
        ("push", "push.branch"),
        ("dependabot_alert", "dependabot_alert.created"),
        ("status", "status.failure"),
    ],
)
def test_one_fact_through_two_hooks_has_one_key(event: str, sample: str) -> None:
    body = body_of(sample)
    through_app = changed(body, installation={"id": 7300001})
    through_organisation = {name: part for name, part in body.items() if name != "organization"}
    keys = {
        fact(event, copy, delivery=delivery).key
        for delivery, copy in (("d-1", body), ("d-2", through_app), ("d-3", through_organisation))
    }
    assert len(keys) == 1


LABELED: Final = "issues.labeled-by-another"


@pytest.mark.parametrize(
    ("event", "sample", "one", "two"),
    [
        ("issues", LABELED, {"label": {"name": "a"}}, {"label": {"name": "b"}}),
        ("issues", LABELED, {"action": "labeled"}, {"action": "unlabeled"}),
        (
            "issues",
            LABELED,
            {"issue": {"updated_at": "2026-03-02T09:15:00Z"}},
            {"issue": {"updated_at": "2026-03-02T09:15:01Z"}},
        ),
        ("issues", "issues.opened", {"issue": {"id": 1}}, {"issue": {"id": 2}}),
        ("issue_comment", "issue_comment.created-on-issue", {"comment": {"id": 1}}, {"comment": {"id": 2}}),
        ("pull_request", "pull_request.synchronize", {"after": "a" * 40}, {"after": "b" * 40}),
        (
            "workflow_run",
            "workflow_run.failed-on-pull-request",
            {"workflow_run": {"run_attempt": 1}},
            {"workflow_run": {"run_attempt": 2}},
        ),
        (
            "check_run",
            "check_run.completed",
            {"check_run": {"completed_at": "2026-03-02T10:33:00Z"}},
            {"check_run": {"completed_at": "2026-03-02T10:34:00Z"}},
        ),
        ("push", "push.branch", {"repository": {"pushed_at": 1}}, {"repository": {"pushed_at": 2}}),
        ("push", "push.branch", {"ref": "refs/heads/a"}, {"ref": "refs/heads/b"}),
        ("dependabot_alert", "dependabot_alert.created", {"alert": {"number": 1}}, {"alert": {"number": 2}}),
    ],
)
def test_two_facts_have_two_keys(event: str, sample: str, one: dict[str, Any], two: dict[str, Any]) -> None:
    body = body_of(sample)
    assert fact(event, changed(body, **one)).key != fact(event, changed(body, **two)).key


def test_a_check_created_in_its_final_state_is_the_fact_of_its_completion() -> None:
    body = body_of("check_run.completed")
    assert fact("check_run", body).key == fact("check_run", changed(body, action="created")).key
    running = changed(body, action="created", check_run={"conclusion": None})
    assert read("check_run", running).outcome is Outcome.IGNORED


def test_pressing_a_button_twice_is_two_facts() -> None:
    body = body_of("check_run.requested_action")
    keys = {fact("check_run", body, delivery=delivery).key for delivery in ("d-1", "d-2")}
    assert len(keys) == 2
    assert fact("check_run", body).changed == {"action": {"from": None, "to": "fix_it"}}


@pytest.mark.parametrize(
    ("pulls", "expected"),
    [
        ([], "acme/website@b7c1"),
        ([{"number": 15}], "acme/website#15"),
        ([{"number": 15}, {"number": 16}], "acme/website@b7c1"),
        ([{"number": 15, "base": {"repo": {"id": 1}}}], "acme/website@b7c1"),
        ([{"number": 15, "base": {"repo": {"id": 1}}}, {"number": 16}], "acme/website#16"),
        ([{"number": 15, "url": "https://api.github.com/repos/else/where/pulls/15"}], "acme/website@b7c1"),
        ([{"number": 15, "url": "https://api.github.com/repos/acme/website/pulls/15"}], "acme/website#15"),
        ([{"number": 15, "url": "https://api.github.com/repos/acme/website2/pulls/15"}], "acme/website@b7c1"),
        (None, "acme/website@b7c1"),
        ([None, 7, {"number": "x"}], "acme/website@b7c1"),
    ],
)
def test_a_build_is_of_the_one_pull_request_it_names(pulls: Any, expected: str) -> None:
    body = changed(body_of("workflow_run.failed-on-pull-request"), workflow_run={"pull_requests": pulls})
    assert fact("workflow_run", body).subject.key.startswith(expected)


def test_a_build_links_every_pull_request_of_the_repository() -> None:
    pulls = [{"number": 15}, {"number": 16}]
    body = changed(body_of("workflow_run.failed-on-pull-request"), workflow_run={"pull_requests": pulls})
    links = fact("workflow_run", body).links
    assert {"acme/website#15", "acme/website#16", "https://github.com/acme/website/pull/16"} <= set(links)


@pytest.mark.parametrize(
    ("event", "sample", "parts", "reason"),
    [
        ("workflow_run", "workflow_run.in_progress", {}, "not completed"),
        ("workflow_run", "workflow_run.in_progress", {"action": "requested"}, "not completed"),
        ("status", "status.failure", {"state": "pending"}, "not completed"),
        ("push", "push.merge-queue-without-sender", {}, "merge queue"),
        ("push", "push.branch-deleted", {}, "deletes"),
        ("issues", "issues.pinned", {}, "pinning"),
        ("workflow_job", "workflow_run.in_progress", {}, "workflow_run"),
        ("label", "issues.labeled-by-another", {"action": "created"}, "definition"),
        ("secret_scanning_alert", "dependabot_alert.created", {"action": "validated"}, "neither"),
    ],
)
def test_known_and_ignored(event: str, sample: str, parts: dict[str, Any], reason: str) -> None:
    normalised = read(event, changed(body_of(sample), **parts))
    assert normalised.outcome is Outcome.IGNORED
    assert normalised.facts == ()
    assert reason in (normalised.reason or "")


@pytest.mark.parametrize(
    ("event", "sample", "parts"),
    [
        ("release", "release.published", {}),
        ("issues", "issues.opened", {"action": "frobnicated"}),
        ("issues", "issues.opened", {"action": None}),
        ("issues", "issues.opened", {"issue": None}),
        ("issues", "issues.opened", {"repository": None}),
        ("issues", "issues.opened", {"issue": {"number": "twelve"}}),
        ("issues", "issue_comment.created-on-issue", {"action": "edited"}),
        ("pull_request", "pull_request_review.changes_requested", {"action": "edited"}),
        ("never_heard_of", "issues.opened", {}),
        ("x" * 5000, "issues.opened", {}),
    ],
)
def test_what_is_not_understood_is_kept_as_other(event: str, sample: str, parts: dict[str, Any]) -> None:
    normalised = read(event, {**changed(body_of(sample)), **changed(body_of(sample), **parts)})
    assert normalised.outcome is Outcome.UNSUPPORTED
    assert [found.kind for found in normalised.facts] == ["other"]
    assert normalised.reason
    assert len(normalised.reason) < 300


@pytest.mark.parametrize(
    "path", sorted(FIXTURES.glob("*.headers.json")), ids=lambda path: path.name.removesuffix(".headers.json")
)
def test_the_event_is_inferred_without_its_header(path: Any) -> None:
    event = json.loads(path.read_bytes())["X-GitHub-Event"]
    name = path.name.removesuffix(".headers.json")
    form = path.with_name(f"{name}.form.txt")
    raw = form.read_bytes() if form.exists() else path.with_name(f"{name}.json").read_bytes()
    told = CONNECTOR.normalise(
        Request({"x-github-event": event, "x-github-delivery": "d"}, raw), identity=Identity()
    )
    inferred = CONNECTOR.normalise(Request({"x-github-delivery": "d"}, raw), identity=Identity())
    assert inferred == told


@pytest.mark.parametrize("body", [{}, {"action": "opened"}, {"action": "renamed", "repository": {"id": 1}}])
def test_a_body_of_no_clear_shape_needs_the_header(body: dict[str, Any]) -> None:
    with pytest.raises(UnreadableError, match="x-github-event"):
        read(None, body)


def test_a_form_is_the_same_event_as_json() -> None:
    body = body_of("issues.opened")
    headers = {"x-github-event": "issues", "content-type": "application/x-www-form-urlencoded; charset=utf-8"}
    form = CONNECTOR.normalise(
        Request(headers, urlencode({"payload": json.dumps(body)}).encode()), identity=Identity()
    )
    assert form.facts == read("issues", body).facts
    assert form.payload == body


@pytest.mark.parametrize(
    "form", [b"", b"body=1", b"payload=", b"payload=%7B", b"payload=1&payload=2", b"payload=%ff"]
)
def test_a_broken_form_is_unreadable(form: bytes) -> None:
    headers = {"x-github-event": "issues", "content-type": "application/x-www-form-urlencoded"}
    with pytest.raises(UnreadableError):
        CONNECTOR.normalise(Request(headers, form), identity=Identity())


def test_the_delivery_key_is_githubs_else_the_bodys_hash() -> None:
    body = body_of("issues.opened")
    assert read("issues", body, delivery="guid-1").delivery_key == "guid-1"
    first, second = (read("issues", body, delivery=None).delivery_key for _ in range(2))
    assert first == second
    assert len(first) == 64


@pytest.mark.parametrize(
    ("repository", "expected"),
    [
        ({"private": False, "visibility": "public"}, "public"),
        ({"private": False, "visibility": None}, "public"),
        ({"private": True, "visibility": "public"}, "private"),
        ({"private": False, "visibility": "internal"}, "private"),
        ({"private": None}, "private"),
        ({"private": "no", "visibility": "public"}, "private"),
    ],
)
def test_visibility_is_public_only_beyond_doubt(repository: dict[str, Any], expected: str) -> None:
    assert fact("issues", changed(body_of("issues.opened"), repository=repository)).visibility == expected


@pytest.mark.parametrize("name", ["owner/" + "r" * 900, "a\x00b/c\n", "ü/ß"])
def test_keys_stay_within_bounds(name: str) -> None:
    found = fact("issues", changed(body_of("issues.opened"), repository={"full_name": name}))
    assert 0 < len(found.subject.key) <= 500
    assert not any(ord(char) < 32 for char in found.subject.key)


def test_two_long_keys_stay_apart() -> None:
    keys = {
        fact("push", changed(body_of("push.branch"), ref=f"refs/heads/{'b' * 900}{end}")).subject.key
        for end in ("1", "2")
    }
    assert len(keys) == 2


def test_a_tag_is_not_a_branch_of_the_same_name() -> None:
    tag = fact("push", changed(body_of("push.branch"), ref="refs/tags/v1")).subject
    branch = fact("push", changed(body_of("push.branch"), ref="refs/heads/v1")).subject
    assert (tag.kind, tag.key) == ("tag", "acme/checkout@refs/tags/v1")
    assert (branch.kind, branch.key) == ("branch", "acme/checkout@v1")


def test_mentions_are_told_once_where_they_are_new() -> None:
    body = changed(body_of("issues.opened"), issue={"body": "@Acme-Hub fix this"})
    assert fact("issues", body).mentions == ("acme-hub",)
    assert fact("issues", changed(body, action="labeled")).mentions == ()
    assert fact("issues", changed(body, action="edited", changes={"title": {"from": "x"}})).mentions == ()
    assert fact("issues", changed(body, action="edited", changes={"body": {"from": "x"}})).mentions == (
        "acme-hub",
    )


def test_reading_webhooks_imports_nothing_that_only_posting_needs() -> None:
    code = (
        "import sys, connectors.github.connector as c\n"
        "assert not {'jwt', 'markdown_it', 'cryptography'} & set(sys.modules), 'slow import'"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=FIXTURES.parents[2])
