"""Matching: every clause, its order and its words; and that the index leaves out only what cannot match."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from router_samples import event, rule, rule_set

from router.engine import RuleSet, trust_of
from router.index import RuleIndex
from router.verdicts import Verdict, VerdictOutcome
from schemas.event import KINDS, TRUSTS, Actor, Event


def verdict(found: Event, *, paused: tuple[str, ...] = (), **fields: Any) -> Verdict:
    """The only verdict on `found` of a rule set with one rule."""
    [only] = rule_set(rule(**fields)).explain(found, paused=paused)
    return only


def test_a_match() -> None:
    assert verdict(event()) == Verdict(
        rule="first", outcome=VerdictOutcome.MATCHED, reason="every clause holds"
    )


@pytest.mark.parametrize(
    ("match", "clause", "reason"),
    [
        ({"source": "sentry"}, "match.source", 'match.source wants "sentry", the event has "github"'),
        (
            {"connection": "acme-slack"},
            "match.connection",
            'match.connection wants "acme-slack", the event has "acme-github"',
        ),
        ({"kind": "pr.*"}, "match.kind", 'match.kind wants ["pr.*"], the event has "issue.opened"'),
        (
            {"type": ["github.push", "github.issue.closed"]},
            "match.type",
            'match.type wants ["github.push", "github.issue.closed"], the event has "github.issue.opened"',
        ),
        (
            {"container": "acme/shop"},
            "match.container",
            'match.container wants ["acme/shop"], the event has "acme/checkout"',
        ),
        (
            {"container": "Acme/*"},
            "match.container",
            'match.container wants ["Acme/*"], the event has "acme/checkout"',
        ),
        ({"labels": ["p1", "p2"]}, "match.labels", 'match.labels wants ["p1", "p2"], the event has ["bug"]'),
        (
            {"mentions": "@triggerhub"},
            "match.mentions",
            'match.mentions wants ["triggerhub"], the event has ["ada"]',
        ),
    ],
)
def test_the_clause_that_failed_and_the_value_seen(match: dict[str, Any], clause: str, reason: str) -> None:
    found = verdict(event(labels=("bug",), mentions=("ada",)), match=match)
    assert (found.outcome, found.clause, found.reason) == (VerdictOutcome.NOT_MATCHED, clause, reason)
    assert found.seen is not None
    assert reason.endswith(found.seen)


@pytest.mark.parametrize(
    "match",
    [
        {"source": "github"},
        {"connection": "acme-github"},
        {"source": "github", "connection": "acme-github", "kind": ["push", "issue.*"]},
        {"kind": "issue.opened"},
        {"kind": "*.opened"},
        {"kind": "issue.[ol]*"},
        {"type": "github.issue.opened"},
        {"container": "acme/checkout"},
        {"container": ["other/*", "acme/*"]},
        {"labels": ["p1", "bug"]},
        {"mentions": ["ADA"]},
        {"if": "event.kind == 'issue.opened'"},
    ],
)
def test_each_clause_can_hold(match: dict[str, Any]) -> None:
    assert verdict(event(labels=("bug",), mentions=("Ada",)), match=match).matched


def test_an_exact_container_is_no_pattern() -> None:
    assert not verdict(event(container="acmeXcheckout"), match={"container": "acme.checkout"}).matched
    assert verdict(event(container="acme.checkout"), match={"container": "acme.checkout"}).matched
    assert not verdict(event(container="acme/checkout\n"), match={"container": "acme/checkout"}).matched
    missing = verdict(event(container=None), match={"container": "acme/*"})
    assert (missing.clause, missing.seen) == ("match.container", "null")


def test_a_failing_condition_shows_what_it_saw() -> None:
    condition = "event.payload.issue.level == 'error'"
    found = verdict(event(payload={"issue": {"level": "warning"}}), match={"if": condition})
    assert found == Verdict(
        rule="first",
        outcome=VerdictOutcome.NOT_MATCHED,
        clause="match.if",
        expected=condition,
        seen='event.payload.issue.level = "warning"',
        reason="the condition is false",
    )


def test_a_missing_field_is_no_match_and_stops_nobody_else() -> None:
    rules = rule_set(
        rule(name="broken", match={"source": "github", "if": "event.payload.a.b != 1"}),
        rule(name="sound", match={"source": "github", "if": "event.kind == 'issue.opened'"}),
    )
    broken, sound = rules.match(event())
    assert (broken.clause, broken.reason) == ("match.if", "field absent: event.payload.a")
    assert sound.matched


@pytest.mark.parametrize("trust", TRUSTS)
def test_who_by_default(trust: str) -> None:
    found = verdict(event(trust=trust))
    assert found.matched == (trust in {"owner", "member", "collaborator", "system"})
    if not found.matched:
        assert (found.clause, found.seen) == ("who", f'"{trust}"')


@pytest.mark.parametrize("trust", [trust for trust in TRUSTS if trust != "unknown"])
def test_who_as_written(trust: str) -> None:
    assert verdict(event(trust=trust), who=[trust]).matched
    others = [other for other in TRUSTS if other not in {trust, "unknown"}]
    assert not verdict(event(trust=trust), who=others).matched


def test_a_bot_is_a_bot_whatever_its_trust() -> None:
    assert verdict(event(trust="member", is_bot=True)).seen == '"bot"'
    assert verdict(event(trust="member", is_bot=True), who=["bot"]).matched
    assert verdict(event(trust="system", is_bot=True)).matched
    assert trust_of(Actor(trust="owner")) == "owner"


def test_our_own_events_never_match_whatever_who_says() -> None:
    found = verdict(event(trust="bot", is_bot=True, is_self=True), who=["bot", "member", "system"])
    assert (found.outcome, found.clause) == (VerdictOutcome.SUPPRESSED, "loop")
    assert verdict(event(trust="owner", is_self=True)).clause == "loop"


def test_switched_off_and_paused() -> None:
    off = verdict(event(is_self=True), enabled=False)
    assert (off.outcome, off.clause) == (VerdictOutcome.SUPPRESSED, "enabled")
    paused = verdict(event(is_self=True), paused=("first",))
    assert (paused.outcome, paused.clause) == (VerdictOutcome.SUPPRESSED, "paused")
    assert verdict(event(), paused=("second",)).matched


def test_the_order_of_the_clauses() -> None:
    """Each step repairs the first clause that fails; the next one in the documented order then decides."""
    fields: dict[str, Any] = {
        "enabled": False,
        "match": {
            "source": "github",
            "type": "github.push",
            "container": "x",
            "labels": "x",
            "mentions": "x",
            "if": "event.text == 'x'",
        },
        "who": ["owner"],
    }
    found = event(is_self=True, trust="member")
    seen = [verdict(found, paused=("first",), **fields).clause]
    fields["enabled"] = True
    seen.append(verdict(found, paused=("first",), **fields).clause)
    seen.append(verdict(found, **fields).clause)
    found = event(trust="member")
    for clause in ("type", "container", "labels", "mentions", "if"):
        seen.append(verdict(found, **fields).clause)
        del fields["match"][clause]
    seen.append(verdict(found, **fields).clause)
    assert seen == [
        "enabled",
        "paused",
        "loop",
        "match.type",
        "match.container",
        "match.labels",
        "match.mentions",
        "match.if",
        "who",
    ]


def test_what_is_seen_is_bounded() -> None:
    found = verdict(event(labels=tuple("x" * 500 for _ in range(500))), match={"labels": "y"})
    assert found.seen is not None
    assert len(found.seen) <= 300


def test_verdicts_stand_in_the_order_of_the_configuration() -> None:
    matches = [{"source": "github"}, {"kind": "issue.*"}, {"connection": "acme-github"}, {"source": "sentry"}]
    rules = rule_set(*(rule(name=f"r-{index}", match=match) for index, match in enumerate(matches)))
    assert [found.rule for found in rules.match(event())] == ["r-0", "r-1", "r-2"]
    assert [found.rule for found in rules.explain(event())] == ["r-0", "r-1", "r-2", "r-3"]


def test_an_event_of_another_program() -> None:
    foreign = event(source="deploys/acme", connection="deployer", kind="other", trust="system")
    assert verdict(foreign, match={"type": "deploys.other"}).matched
    assert verdict(foreign, match={"source": "github"}).clause == "match.source"
    assert rule_set(rule()).match(foreign) == []


def test_rules_that_cannot_match_are_not_looked_at() -> None:
    others = [rule(name=f"o-{i}", match={"source": "sentry", "kind": "alert.*"}) for i in range(50)]
    others += [rule(name=f"p-{i}", match={"source": "github", "kind": "push"}) for i in range(50)]
    rules = rule_set(*others, rule())
    assert [found.name for found in RuleIndex(rules.rules).candidates(event())] == ["first"]


kinds = st.sampled_from([*KINDS[:6], "push", "issue.*", "*.opened", "p*"])
matches = st.fixed_dictionaries(
    {},
    optional={
        "source": st.sampled_from(["github", "sentry", "slack"]),
        "connection": st.sampled_from(["acme-github", "acme-sentry", "acme-slack"]),
        "kind": kinds | st.lists(kinds, min_size=1, max_size=3),
        "type": st.sampled_from(["github.issue.opened", "github.push", "sentry.issue.opened"]),
        "container": st.sampled_from(["acme/checkout", "acme/*", "other/*"]),
        "labels": st.lists(st.sampled_from(["bug", "p1"]), min_size=1, max_size=2),
        "mentions": st.sampled_from(["ada", "bob"]),
        "if": st.sampled_from(
            [
                "event.text == 'a'",
                "event.payload.x == 1",
                "event.payload.x.y == 1",
                "'bug' in event.labels",
                "1",
            ]
        ),
    },
).filter(lambda match: bool(match) and _can_load(match))


def _can_load(match: dict[str, Any]) -> bool:
    source = match.get("source")
    if source is not None and "connection" in match and not match["connection"].endswith(source):
        return False
    return source is None or "type" not in match or str(match["type"]).startswith(source)


events = st.builds(
    event,
    source=st.sampled_from(["github/acme", "sentry/acme", "slack/T1", "elsewhere/x"]),
    connection=st.sampled_from(["acme-github", "acme-sentry", "acme-slack", "foreign"]),
    kind=st.sampled_from([*KINDS[:6], "push"]),
    trust=st.sampled_from(TRUSTS),
    container=st.sampled_from(["acme/checkout", "other/one", None]),
    is_self=st.booleans(),
    labels=st.lists(st.sampled_from(["bug", "p2"]), max_size=2).map(tuple),
    mentions=st.lists(st.sampled_from(["ada", "eve"]), max_size=2).map(tuple),
    text=st.sampled_from(["a", "b"]),
    payload=st.sampled_from([{}, {"x": 1}, {"x": {"y": 1}}, {"x": None}, {"x": 2**70}]),
)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(matches, st.booleans(), st.sampled_from([["member"], ["bot", "outsider"]])), max_size=12
    ),
    st.lists(events, min_size=1, max_size=6),
)
def test_the_index_gives_what_looking_at_every_rule_gives(
    written: list[tuple[dict[str, Any], bool, list[str]]], found: list[Event]
) -> None:
    rules = rule_set(
        *(
            rule(name=f"r-{index}", match=match, enabled=enabled, who=who)
            for index, (match, enabled, who) in enumerate(written)
        )
    )
    for one in found:
        alone = [verdict for each in rules.rules for verdict in RuleSet([each]).explain(one)]
        everything = rules.explain(one)
        assert everything == alone
        excluded = {"match.source", "match.connection", "match.kind"}
        assert rules.match(one) == [verdict for verdict in everything if verdict.clause not in excluded]
        for verdict_ in everything:
            assert verdict_.matched == _by_hand(written[int(verdict_.rule[2:])], one)


def _by_hand(written: tuple[dict[str, Any], bool, list[str]], found: Event) -> bool:
    """The meaning of a rule, told a second time without any of the engine's means."""
    match, enabled, who = written
    data, payload = found.data, found.data.payload
    conditions = {
        "event.text == 'a'": data.text == "a",
        "event.payload.x == 1": payload.get("x") == 1,
        "event.payload.x.y == 1": isinstance(payload.get("x"), dict) and payload["x"]["y"] == 1,
        "'bug' in event.labels": "bug" in data.labels,
        "1": False,
    }
    patterns = match.get("kind", "*")
    container = {"acme/*": "acme/", "other/*": "other/"}.get(
        match.get("container", ""), match.get("container", "")
    )
    return (
        enabled
        and not data.actor.is_self
        and match.get("source", found.source.split("/")[0]) == found.source.split("/")[0]
        and match.get("connection", found.connection) == found.connection
        and any(
            _kind(pattern, data.kind) for pattern in ([patterns] if isinstance(patterns, str) else patterns)
        )
        and match.get("type", found.type) == found.type
        and (not container or (data.subject.container or "").startswith(container))
        and ("labels" not in match or bool(set(match["labels"]) & set(data.labels)))
        and ("mentions" not in match or match["mentions"] in data.mentions)
        and ("if" not in match or conditions[match["if"]])
        and data.actor.trust in who
    )


def _kind(pattern: str, kind: str) -> bool:
    before, star, after = pattern.partition("*")
    return kind == pattern if not star else kind.startswith(before) and kind.endswith(after)
