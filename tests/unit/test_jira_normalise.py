"""Reading Jira's webhooks: captured payloads, the rules for comments and transitions, and hostile bodies."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from jira_requests import read, sample

from connectors.base import Fact, Identity, Normalised, Outcome
from connectors.jira.mentions import mentions

CAPTURED = Path(__file__).parents[2] / ".." / "shared" / "fixtures" / "jira"

EXPECTED: Mapping[str, tuple[str, str | None, str, str]] = {
    "zulip-main.comment_created_with_account_mention": (
        "comment.created", "619a4432ebce470067f20384", "SB-1", "member",
    ),
    "zulip.change_status_v1": ("issue.updated", "leo", "TEST-1", "member"),
    "zulip.change_status_v2": ("issue.updated", "admin", "TEST-1", "member"),
    "zulip.comment_created": ("comment.created", "5c76b994e1bcdf6294d0eb0f", "SP-1", "member"),
    "zulip.comment_deleted": ("comment.deleted", None, "SP-1", "unknown"),
    "zulip.comment_deleted_v2": ("comment.deleted", "admin", "TOM-1", "member"),
    "zulip.comment_edited_v2": ("comment.edited", "lfranchi", "BUG-15", "member"),
    "zulip.comment_updated": ("comment.edited", "5c76b994e1bcdf6294d0eb0f", "SP-1", "member"),
    "zulip.commented_markup_v1": ("comment.created", "leo", "TEST-7", "member"),
    "zulip.commented_markup_v2": ("comment.created", "leo", "TEST-7", "member"),
    "zulip.commented_v1": ("comment.created", "lfranchi", "BUG-15", "member"),
    "zulip.commented_v2": ("comment.created", "lfranchi", "BUG-15", "member"),
    "zulip.commented_v2_with_two_full_links": ("comment.created", "lfranchi", "BUG-15", "member"),
    "zulip.created_assignee_v1": ("issue.opened", "leo", "TEST-4", "member"),
    "zulip.created_assignee_v2": ("issue.opened", "leo", "TEST-4", "member"),
    "zulip.created_v1": ("issue.opened", "lfranchi", "BUG-15", "member"),
    "zulip.created_v2": ("issue.opened", "lfranchi", "BUG-15", "member"),
    "zulip.created_with_unicode_v1": ("issue.opened", "lfranchi", "BUG-15", "member"),
    "zulip.created_with_unicode_v2": ("issue.opened", "lfranchi", "BUG-15", "member"),
    "zulip.deleted_v1": ("issue.deleted", "lfranchi", "BUG-15", "member"),
    "zulip.deleted_v2": ("issue.deleted", "lfranchi", "BUG-15", "member"),
    "zulip.example_anomalous_payload": ("other", None, "unknown", "unknown"),
    "zulip.reassigned_v1": ("issue.assigned", "lfranchi", "BUG-15", "member"),
    "zulip.reassigned_v2": ("issue.assigned", "lfranchi", "BUG-15", "member"),
    "zulip.unknown_v1": ("other", "lfranchi", "BUG-15", "member"),
    "zulip.unknown_v2": ("other", "lfranchi", "BUG-15", "member"),
    "zulip.updated_priority_v1": ("issue.updated", "leo", "TEST-1", "member"),
    "zulip.updated_priority_v2": ("issue.updated", "leo", "TEST-1", "member"),
}  # fmt: skip
"""Name of the captured file: kind, actor id, subject key, trust."""


def only(result: Normalised) -> Fact:
    assert result.outcome is Outcome.HANDLED
    assert len(result.facts) == 1
    return result.facts[0]


def transition(
    items: list[dict[str, Any]], status: dict[str, Any] | None = None, name: str | None = "issue_generic"
) -> dict[str, Any]:
    body = sample("cloud_issue_closed")
    body["changelog"]["items"] = items
    body["issue_event_type_name"] = name
    if status is not None:
        body["issue"]["fields"]["status"] = status
    return body


def category(key: str, identifier: str = "10107") -> dict[str, Any]:
    return {"id": identifier, "name": "Gotowe", "statusCategory": {"key": key}}


def status_item(before: str = "10001", after: str = "10107", **more: str) -> dict[str, Any]:
    return {
        "field": "status",
        "from": before,
        "fromString": "W toku",
        "to": after,
        "toString": "Gotowe",
        **more,
    }


def kinds(body: dict[str, Any]) -> list[str]:
    return [fact.kind for fact in read(body).facts]


def captured() -> list[Path]:
    return sorted(path for path in CAPTURED.glob("*.json") if not path.name.endswith(".headers.json"))


def test_every_captured_payload_is_expected() -> None:
    if not CAPTURED.exists():
        pytest.skip("the captured payloads are not beside this repository")
    names = {path.stem for path in captured()} - {"zulip.comment_created_no_issue_details"}
    assert names == set(EXPECTED)


@pytest.mark.parametrize("path", captured(), ids=lambda path: path.stem)
def test_captured_payload(path: Path) -> None:
    result = read(path.read_bytes())
    if path.stem not in EXPECTED:
        assert result.outcome is Outcome.IGNORED
        assert result.reason
        assert "without an issue" in result.reason
        return
    kind, actor, subject, trust = EXPECTED[path.stem]
    assert len(result.facts) == 1
    fact = result.facts[0]
    assert (fact.kind, fact.actor.id, fact.subject.key, fact.actor.trust) == (kind, actor, subject, trust)
    assert result.outcome is (Outcome.UNSUPPORTED if kind == "other" else Outcome.HANDLED)
    if subject != "unknown":
        assert fact.subject.url
        assert fact.subject.url.endswith(f"/browse/{subject}")
        assert fact.account in fact.subject.url
        assert fact.subject.title
        assert fact.subject.container
        assert fact.occurred_at is not None
    if kind.startswith("comment.") and path.stem != "zulip.comment_deleted_v2":
        body = json.loads(path.read_bytes())
        assert fact.text == body["comment"]["body"]
        assert fact.artefact == f"comment:{body['comment']['id']}"


def test_captured_mentions_are_account_ids() -> None:
    path = CAPTURED / "zulip-main.comment_created_with_account_mention.json"
    if not path.exists():
        pytest.skip("the captured payloads are not beside this repository")
    assert only(read(path.read_bytes())).mentions == ("619a4432ebce470067f20384", "63a22fb348b367d78a14c15b")


def test_both_forms_of_one_comment_on_cloud_are_one_fact() -> None:
    created = only(read(sample("cloud_comment_created")))
    commented = only(read(sample("cloud_issue_commented")))
    assert created.key == commented.key
    assert (created.kind, created.actor.id) == (commented.kind, commented.actor.id)


def test_edits_are_told_apart_by_time_in_any_zone() -> None:
    body = sample("cloud_comment_edited")
    first = only(read(body)).key
    body["comment"]["updated"] = "2026-01-02T03:15:06.000+0000"
    assert only(read(body)).key == first
    body["comment"]["updated"] = "2026-01-02T03:15:07.000+0000"
    assert only(read(body)).key != first
    body["issue_event_type_name"] = "issue_comment_edited"
    body["webhookEvent"] = "jira:issue_updated"
    again = only(read(body)).key
    body["webhookEvent"] = "comment_updated"
    assert only(read(body)).key == again


def test_data_center_pair_is_one_fact() -> None:
    assert read(sample("datacenter_comment_without_issue")).facts == ()
    fact = only(read(sample("datacenter_issue_commented")))
    assert (fact.kind, fact.visibility, fact.mentions) == ("comment.created", "restricted", ("fixer",))
    assert fact.address["visibility_value"] == "Administrators"
    assert fact.subject.url == "https://jira.acme.example/tracker/browse/OPS-8"


def test_old_data_center_names_no_event() -> None:
    body = sample("datacenter_issue_commented")
    del body["issue_event_type_name"]
    assert only(read(body)).kind == "comment.created"
    body["comment"]["updated"] = "2026-01-02T05:05:06.000+0100"
    assert only(read(body)).kind == "comment.edited"


def test_commented_without_the_comment_is_left_to_its_twin() -> None:
    body = sample("datacenter_issue_commented")
    del body["comment"]
    result = read(body)
    assert (result.outcome, result.facts) == (Outcome.IGNORED, ())
    body["issue_event_type_name"] = "issue_comment_deleted"
    assert only(read(body)).kind == "comment.deleted"


def test_several_changes_are_several_facts_with_the_whole_change() -> None:
    result = read(sample("cloud_issue_several_changes"))
    assert [fact.kind for fact in result.facts] == ["issue.labeled", "issue.assigned", "issue.updated"]
    assert len({fact.key for fact in result.facts}) == 3
    assert all(fact.changed == result.facts[0].changed for fact in result.facts)
    assert result.facts[0].changed["labels"] == {"added": ["agent-fix"], "removed": []}
    assert result.facts[0].changed["assignee"]["to"] == "712020:b0700000-0000-4000-8000-000000000002"


def test_unassigning_is_an_update() -> None:
    gone = {"field": "assignee", "from": "712020:ada", "fromString": "Ada", "to": None, "toString": None}
    assert kinds(transition([gone])) == ["issue.updated"]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (transition([status_item()], category("done")), ["issue.closed"]),
        (transition([status_item()], category("indeterminate")), ["issue.updated"]),
        (transition([status_item()], {"id": "10107", "name": "Gotowe"}, "issue_closed"), ["issue.closed"]),
        (transition([status_item()], {"id": "10107", "name": "Gotowe"}), ["issue.updated"]),
        (transition([status_item(after="6")], {"id": "6", "name": "Geschlossen"}, None), ["issue.closed"]),
        # The issue has moved on since: its category says nothing of this transition.
        (transition([status_item()], category("done", "10999") | {"name": "Inny"}), ["issue.updated"]),
        (
            transition(
                [status_item(), {"field": "resolution", "fromString": "Gotowe", "toString": None}],
                category("new"),
            ),
            ["issue.reopened"],
        ),
        (transition([status_item(before="6")], category("new")), ["issue.reopened"]),
        (transition([status_item(fromString="Done")], category("indeterminate")), ["issue.reopened"]),
        (transition([status_item()], category("new"), "issue_reopened"), ["issue.reopened"]),
        (transition([{"field": "resolution", "toString": "Fixed"}]), ["issue.updated"]),
        (transition([]), ["issue.updated"]),
        (transition([], name="issue_assigned"), ["issue.assigned"]),
        (transition([], name="issue_resolved"), ["issue.closed"]),
        (transition([], name="issue_reopened"), ["issue.reopened"]),
    ],
)
def test_transitions(body: dict[str, Any], expected: list[str]) -> None:
    assert kinds(body) == expected


@pytest.mark.parametrize(
    ("person", "trust", "is_bot", "identifier"),
    [
        ({"accountId": "a1", "accountType": "atlassian"}, "member", False, "a1"),
        ({"accountId": "a1", "accountType": "customer"}, "outsider", False, "a1"),
        ({"accountId": "a1", "accountType": "app", "displayName": "Ada"}, "bot", True, "a1"),
        ({"accountId": "a1"}, "unknown", False, "a1"),
        ({"accountId": "a1", "name": "ada", "key": "ada"}, "unknown", False, "a1"),
        ({"accountId": "a1", "accountType": "owner"}, "unknown", False, "a1"),
        ({"name": "ada", "key": "JIRAUSER1"}, "member", False, "JIRAUSER1"),
        ({"name": "ada", "accountType": "customer"}, "outsider", False, "ada"),
        ({"displayName": "Ada Admin"}, "unknown", False, None),
        (None, "unknown", False, None),
        ("ada", "unknown", False, None),
    ],
)
def test_trust(person: object, trust: str, is_bot: bool, identifier: str | None) -> None:  # noqa: FBT001 - a table's column
    body = sample("cloud_issue_labeled")
    body["user"] = person
    actor = only(read(body)).actor
    assert (actor.trust, actor.is_bot, actor.id) == (trust, is_bot, identifier)


@pytest.mark.parametrize(
    "identity",
    [
        Identity(actor_ids=frozenset({"JIRAUSER10100"})),
        Identity(actor_ids=frozenset({"lin"})),
        Identity(logins=frozenset({"lin"})),
    ],
)
def test_own_events_are_known_by_identifier(identity: Identity) -> None:
    assert only(read(sample("datacenter_issue_commented"), identity=identity)).actor.is_self
    assert not only(read(sample("datacenter_issue_commented"))).actor.is_self


def test_own_name_alone_proves_nothing() -> None:
    body = sample("datacenter_issue_commented")
    body["user"] = {"name": "eve", "key": "JIRAUSER9", "displayName": "lin"}
    assert not only(read(body, identity=Identity(frozenset({"lin"}), frozenset({"lin"})))).actor.is_self


def test_restricted_places() -> None:
    assert only(read(sample("cloud_comment_internal"))).visibility == "restricted"
    assert only(read(sample("cloud_issue_security_level"))).visibility == "restricted"
    assert only(read(sample("cloud_comment_customer"))).visibility == "private"


def test_automation_forms_agree() -> None:
    bare, jira = only(read(sample("automation_bare_issue"))), only(read(sample("automation_jira_format")))
    assert (bare.kind, bare.actor.trust) == ("issue.updated", "unknown")
    assert bare.key == jira.key
    assert bare.subject == jira.subject


def test_delivery_keys() -> None:
    body = sample("cloud_comment_created")
    named = {"x-atlassian-webhook-identifier": "abc"}
    assert read(body, named).delivery_key == "abc"
    derived = read(body).delivery_key
    assert len(derived) == 64
    assert read({**body, "eventType": "secondary"}).delivery_key == derived
    assert read({**body, "timestamp": 1}).delivery_key != derived
    assert read(body, {"x-atlassian-webhook-identifier": "x" * 500}).delivery_key == derived
    other = sample("sprint_started")
    assert read(other).delivery_key != read({**other, "sprint": {"id": 13}}).delivery_key


def test_excluded_body_is_ignored_with_the_remedy() -> None:
    result = read(b"")
    assert result.outcome is Outcome.IGNORED
    assert result.reason
    assert "Exclude body" in result.reason


def test_gateway_addresses_give_no_page() -> None:
    body = sample("cloud_issue_labeled")
    body["issue"]["self"] = "https://api.atlassian.com/ex/jira/11111111-aaaa/rest/api/2/issue/10231"
    fact = only(read(body))
    assert (fact.account, fact.subject.url) == ("11111111-aaaa", None)


def test_document_instead_of_markup_is_reduced_to_its_words() -> None:
    body = sample("cloud_comment_created")
    body["comment"]["body"] = {
        "type": "doc", "version": 1,
        "content": [
            {"type": "paragraph", "content": [
                {"type": "text", "text": "Hi "}, {"type": "mention", "attrs": {"id": "a1", "text": "@Ada"}},
            ]},
            {"type": "codeBlock", "content": [{"type": "text", "text": "x = 1"}]},
        ],
    }  # fmt: skip
    fact = only(read(body))
    assert fact.text == "Hi [~accountid:a1]\nx = 1"
    assert fact.mentions == ("a1",)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[~accountid:a1] and [~ada] and [~ada]", ("a1", "ada")),
        ("[~accountId:712020:b07]", ("712020:b07",)),
        ("{code}[~ada]{code} [~eve]", ("eve",)),
        ("{code:java|title=x}[~ada]{code}{quote}[~bob]{quote}\nbq. [~cyd]\n[~eve]", ("eve",)),
        ("{noformat}{code}[~ada]{noformat}[~eve]", ("eve",)),
        ("{code} never closed [~ada]", ("ada",)),
        ("[~] [~two words] [~a|b] [text|https://example.com/~ada]", ()),
    ],
)
def test_mentions(text: str, expected: tuple[str, ...]) -> None:
    assert mentions(text) == expected


@pytest.mark.parametrize("piece", ["{code:x}", "[~", "{quote", "{code}[~a]", "bq. ", "[~a] "])
def test_mentions_take_linear_time(piece: str) -> None:
    assert len(mentions(piece * 200_000)) <= 100
