"""Reading Sentry's webhooks: kinds, subjects, actors, keys, and payloads that lie about their shape."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.base import Fact, Identity, Normalised, Outcome, Request, UnreadableError
from connectors.sentry.connector import CONNECTOR

ROOT = Path(__file__).parents[2]
SAMPLES = ROOT / "connectors" / "sentry" / "fixtures"
CAPTURED = ROOT / ".." / "shared" / "fixtures" / "sentry"
APP = "0d7f6a52-93c1-4a67-8e42-1c9b5e3a7d20"


def read(body: Any, resource: str | None = "issue", *, identity: Identity | None = None) -> Normalised:
    headers = {} if resource is None else {"sentry-hook-resource": resource}
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return CONNECTOR.normalise(Request(headers=headers, body=raw), identity=identity or Identity())


def sample(name: str) -> Any:
    return json.loads((SAMPLES / f"{name}.json").read_bytes())


def only(reading: Normalised) -> Fact:
    assert reading.outcome is Outcome.HANDLED, reading.reason
    (fact,) = reading.facts
    return fact


@pytest.mark.parametrize(
    ("resource", "action", "kind"),
    [
        ("issue", "created", "issue.opened"),
        ("issue", "resolved", "issue.closed"),
        ("issue", "assigned", "issue.assigned"),
        ("issue", "ignored", "issue.updated"),
        ("issue", "archived", "issue.updated"),
        ("issue", "unresolved", "issue.reopened"),
        ("event_alert", "triggered", "alert.fired"),
        ("activity_alert", "triggered", "alert.fired"),
        ("error", "created", "alert.fired"),
        ("metric_alert", "critical", "alert.fired"),
        ("metric_alert", "warning", "alert.fired"),
        ("metric_alert", "open", "alert.fired"),
        ("metric_alert", "resolved", "alert.resolved"),
        ("comment", "created", "comment.created"),
        ("comment", "updated", "comment.edited"),
        ("comment", "deleted", "comment.deleted"),
        ("installation", "created", "install.added"),
        ("installation", "deleted", "install.removed"),
        ("seer", "root_cause_started", "other"),
        ("seer", "triage_completed", "other"),
        ("seer", "pr_created", "other"),
    ],
)
def test_every_action_has_its_kind(resource: str, action: str, kind: str) -> None:
    data = {
        "issue": {"id": "7"},
        "event": {"issue_id": "7", "event_id": "e"},
        "error": {"issue_id": "7", "event_id": "e"},
        "metric_alert": {"id": "7"},
        "comment_id": 3,
        "issue_id": 7,
        "group_id": 7,
        "installation": {"uuid": "u"},
    }
    fact = only(read({"action": action, "data": data}, resource))
    assert fact.kind == kind
    assert fact.subject.key == {"metric_alert": "metric:7", "installation": "u"}.get(resource, "7")


@pytest.mark.parametrize(
    ("resource", "action"), [("issue", "exploded"), ("preprod_artifact", "done"), ("seer", ""), ("issue", "")]
)
def test_what_is_not_known_yet_is_one_event_of_kind_other(resource: str, action: str) -> None:
    reading = read({"action": action, "data": {"issue": {"id": "7", "title": "T"}}}, resource)
    assert reading.outcome is Outcome.UNSUPPORTED
    assert resource in (reading.reason or "")
    (fact,) = reading.facts
    assert (fact.kind, fact.subject.key) == ("other", "7")


@pytest.mark.parametrize("path", sorted(SAMPLES.glob("*.expected.json")), ids=lambda path: path.name)
def test_the_resource_is_inferred_from_the_body_where_that_is_safe(path: Path) -> None:
    name = path.name.removesuffix(".expected.json")
    if name == "unknown_resource":
        with pytest.raises(UnreadableError, match="Sentry-Hook-Resource"):
            read(sample(name), None)
        return
    expected = json.loads(path.read_text())
    reading = read((SAMPLES / f"{name}.json").read_bytes(), None)
    assert reading.outcome == expected["outcome"]
    assert [fact.kind for fact in reading.facts] == [event["data"]["kind"] for event in expected["events"]]


def test_actors_are_known_by_identifiers_alone() -> None:
    def actor(given: Any, **more: Any) -> Any:
        body = {"action": "created", "data": {"issue": {"id": "7"}}, "actor": given, **more}
        return only(read(body, identity=Identity(actor_ids=frozenset({"99", "app-1"})))).actor

    assert actor({"type": "application", "id": "sentry", "name": "Sentry"}).trust == "system"
    ada = actor({"type": "user", "id": 5, "name": "Ada"})
    assert (ada.id, ada.name, ada.trust, ada.is_bot, ada.is_self) == ("5", "Ada", "member", False, False)
    assert actor({"type": "user", "id": 99}).is_self
    assert actor({"type": "application", "id": "app-1"}).is_self
    named = {"app": {"uuid": APP}, "uuid": "i"}
    assert actor({"type": "application", "id": APP}, installation=named).is_self
    other = actor({"type": "application", "id": "app-2", "name": "triggerhub"}, installation=named)
    assert (other.trust, other.is_bot, other.is_self) == ("bot", True, False)
    assert actor({"type": "user", "id": "sentry"}).trust == "member"
    for unknown in (
        None,
        {},
        {"type": "robot", "id": 1},
        {"type": "user"},
        "sentry",
        {"type": "user", "id": True},
    ):
        assert actor(unknown).trust == "unknown"


def test_the_project_slug_of_an_alert_comes_from_the_address_in_the_api() -> None:
    body = sample("event_alert_triggered")
    assert only(read(body, "event_alert")).subject.container == "checkout"
    del body["data"]["event"]["url"]
    assert only(read(body, "event_alert")).subject.container is None
    body["data"]["event"]["project_slug"] = "named"
    assert only(read(body, "event_alert")).subject.container == "named"


@pytest.mark.parametrize(
    ("address", "account"),
    [
        ("https://acme.sentry.io/issues/7/", "acme"),
        ("https://sentry.io/organizations/acme/issues/7/", "acme"),
        ("https://de.sentry.io/api/0/organizations/acme/issues/7/", "acme"),
        ("https://sentry.example.com/organizations/acme/issues/7/", "acme"),
        ("https://us.sentry.io/issues/7/", "i-1"),
        ("https://acme.sentry.io.example.com/issues/7/", "i-1"),
        ("https://sentry.io/issues/7/", "i-1"),
    ],
)
def test_the_account_is_the_organization_or_the_installation(address: str, account: str) -> None:
    issue = {"id": "7", "web_url": address}
    body = {"action": "created", "installation": {"uuid": "i-1"}, "data": {"issue": issue}}
    assert only(read(body)).account == account


def test_keys_name_the_fact_and_not_the_delivery() -> None:
    body = sample("issue_created")
    first, again = read(body), read({**body, "actor": None})
    assert only(first).key == only(again).key == "issue.created:5900123456"
    assert first.delivery_key != again.delivery_key
    raw = (SAMPLES / "issue_created.json").read_bytes()
    other_request = Request({"sentry-hook-resource": "issue", "request-id": "f" * 32}, raw)
    repeated = CONNECTOR.normalise(other_request, identity=Identity())
    assert repeated.delivery_key == read(raw).delivery_key


def test_what_can_happen_again_has_a_key_of_its_content() -> None:
    body = sample("issue_resolved_by_person")
    later = json.loads(json.dumps(body))
    later["data"]["issue"]["count"] = "32"
    assert only(read(body)).key != only(read(later)).key
    assert only(read(body)).key == only(read(body)).key


def test_two_rules_on_one_event_are_two_alerts_and_a_repeat_is_none() -> None:
    body = sample("event_alert_triggered")
    first = only(read(body, "event_alert"))
    body["data"]["event"]["received"] = 1.0
    assert only(read(body, "event_alert")).key == first.key
    body["data"]["triggered_rule"] = "Another rule"
    assert only(read(body, "event_alert")).key != first.key


def test_the_text_tells_what_was_thrown_and_where() -> None:
    text = only(read(sample("event_alert_triggered"), "event_alert")).text
    assert text.splitlines() == [
        "ZeroDivisionError: division by zero",
        "in checkout.cart.average_price",
        "at average_price (checkout/cart.py:48)",
        "Alert rule: Errors of checkout to triggerhub",
    ]


def test_sizes_are_bounded_and_nul_is_gone() -> None:
    issue = {
        "id": "7" * 5000,
        "title": "a\x00b" + "t" * 10_000,
        "culprit": "c" * 100_000,
        "project": {"slug": "p"},
    }
    fact = only(read({"action": "created", "data": {"issue": issue}}))
    assert len(fact.subject.key) == 500
    assert fact.subject.title is not None
    assert fact.subject.title.startswith("abt")
    assert len(fact.subject.title) == 500
    assert len(fact.text) <= 20_000
    assert "\x00" not in fact.text


def test_empty_and_foreign_bodies() -> None:
    assert read(b"", None).outcome is Outcome.IGNORED
    with pytest.raises(UnreadableError, match="empty"):
        read(b"", "issue")
    plugin = {"project": "checkout", "project_slug": "checkout", "event": {}, "message": "m"}
    reading = read(plugin, None)
    assert (reading.outcome, reading.facts) == (Outcome.IGNORED, ())
    assert "internal integration" in (reading.reason or "")
    for unreadable in (b"[]", b"{", b'{"a":1,"a":2}', b"\xff", b'{"data":{}}', b"null"):
        with pytest.raises(UnreadableError):
            read(unreadable, None)


def test_a_payload_that_does_not_say_what_it_is_about_is_not_lost() -> None:
    for resource, action in (("issue", "created"), ("event_alert", "triggered"), ("comment", "created")):
        reading = read({"action": action, "installation": {"uuid": "i"}, "data": {}}, resource)
        assert reading.outcome is Outcome.UNSUPPORTED
        assert reading.facts[0].subject.key == "i"


@pytest.mark.skipif(not CAPTURED.is_dir(), reason="the captured payloads are not beside this repository")
def test_every_captured_payload() -> None:
    paths = [path for path in sorted(CAPTURED.glob("*.json")) if not path.name.endswith(".headers.json")]
    assert len(paths) >= 20
    for path in paths:
        given = json.loads(path.with_name(path.name.replace(".json", ".headers.json")).read_text())
        headers = {name.lower(): value for name, value in given.items() if value and name != "_provenance"}
        body = json.loads(path.read_bytes())
        with_header = CONNECTOR.normalise(Request(headers, path.read_bytes()), identity=Identity())
        without = CONNECTOR.normalise(Request({}, path.read_bytes()), identity=Identity())
        fact = only(with_header)
        assert only(without) == fact, path.name
        assert fact.account, path.name
        assert fact.address["installation"] == body["installation"]["uuid"]
        issue = body["data"].get("issue")
        if issue is not None:
            assert (fact.subject.key, fact.subject.container) == (issue["id"], issue["project"]["slug"])
            assert fact.subject.title == issue["title"]
        if path.name.startswith("docs.event_alert"):
            assert (fact.subject.key, fact.subject.container) == ("1117540176", "front-end")
        if "metric_alert" in path.name:
            assert fact.subject.key == f"metric:{body['data']['metric_alert']['id']}"
        if "actor" not in body:
            assert fact.actor.trust == "unknown", path.name


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)


def spoil(body: Any, path: list[int], value: Any) -> Any:
    """`body` with one place, found by walking `path`, replaced by `value`."""
    if not path or not isinstance(body, dict | list) or not body:
        return value
    keys: list[Any] = list(body) if isinstance(body, dict) else list(range(len(body)))
    key = keys[path[0] % len(keys)]
    changed = dict(body) if isinstance(body, dict) else list(body)
    changed[key] = spoil(body[key], path[1:], value)
    return changed


@settings(max_examples=300, deadline=None)
@given(
    name=st.sampled_from(
        sorted(path.name.removesuffix(".expected.json") for path in SAMPLES.glob("*.expected.json"))
    ),
    path=st.lists(st.integers(0, 40), min_size=1, max_size=6),
    value=VALUES,
    resource=st.sampled_from(
        [None, "issue", "event_alert", "metric_alert", "comment", "seer", "installation", "x"]
    ),
)
def test_no_payload_raises_anything_but_unreadable(
    name: str, path: list[int], value: Any, resource: str | None
) -> None:
    body = spoil(sample(name), path, value)
    try:
        reading = read(body, resource)
    except UnreadableError:
        return
    assert reading.delivery_key
    for fact in reading.facts:
        assert 0 < len(fact.subject.key) <= 500
        assert fact.key
        assert fact.actor.trust in {"member", "bot", "system", "unknown"}
