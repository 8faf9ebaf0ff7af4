"""What becomes of an event in a conversation that owns its subject, and which links it may teach."""

from __future__ import annotations

from typing import Any

import pytest
from router_samples import event, rule, rule_set

from router import learning
from router.follow_ups import MAX_BUILD_ROUNDS, Decision, Fate, Standing, decide, may_follow, told_too_narrow
from router.rules import CompiledRule
from router.verdicts import VerdictOutcome
from schemas.event import Event


def compiled(**more: Any) -> CompiledRule:
    return rule_set(rule(**more)).rules[0]


def decided(one: Event, standing: Standing | None = None, **more: Any) -> Decision:
    return decide(one, compiled(**more), standing or Standing())


def build(conclusion: str, **more: Any) -> Event:
    return event(kind="ci.completed", changed={"conclusion": {"from": None, "to": conclusion}}, **more)


WORDS = ["comment.created", "message.posted", "message.mention", "review.submitted", "review_comment.created"]


@pytest.mark.parametrize("kind", [*WORDS, "alert.fired"])
def test_words_and_alerts_are_told(kind: str) -> None:
    found = decided(event(kind=kind))
    assert (found.fate, found.outcome, found.clause) == (Fate.TOLD, VerdictOutcome.MATCHED, "follow_up")


@pytest.mark.parametrize(
    ("mode", "fate"),
    [
        ("steer", Fate.TOLD),
        ("queue", Fate.TOLD),
        ("interrupt", Fate.TOLD),
        ("new", Fate.ANOTHER),
        ("ignore", Fate.NOTHING),
    ],
)
def test_the_mode_decides(mode: str, fate: Fate) -> None:
    assert decided(event(kind="comment.created"), follow_up=mode).fate is fate


@pytest.mark.parametrize("trust", ["outsider", "bot", "unknown"])
@pytest.mark.parametrize("mode", ["steer", "new", "interrupt"])
def test_owning_a_subject_opens_no_door(trust: str, mode: str) -> None:
    found = decided(event(kind="comment.created", trust=trust), follow_up=mode)
    assert (found.fate, found.clause, found.seen) == (Fate.NOTHING, "who", trust)


def test_what_we_caused_ourselves_is_a_loop() -> None:
    found = decided(event(kind="comment.created", is_self=True))
    assert (found.fate, found.outcome, found.clause) == (Fate.NOTHING, VerdictOutcome.SUPPRESSED, "loop")


def test_a_rule_that_is_switched_off_hears_nothing() -> None:
    assert decided(event(kind="comment.created"), enabled=False).clause == "enabled"


@pytest.mark.parametrize("conclusion", ["failure", "error", "timed_out", "startup_failure"])
def test_a_failed_build_is_told(conclusion: str) -> None:
    assert decided(build(conclusion)).fate is Fate.TOLD


@pytest.mark.parametrize("conclusion", ["success", "neutral", "cancelled", "skipped"])
def test_another_build_is_recorded(conclusion: str) -> None:
    found = decided(build(conclusion))
    assert (found.fate, found.seen) == (Fate.NOTHING, conclusion)


@pytest.mark.parametrize("trust", ["bot", "unknown", "collaborator"])
def test_a_build_of_our_own_pull_request_needs_no_other_proof(trust: str) -> None:
    one = build("failure", trust=trust, is_bot=trust == "bot")
    assert decided(one, Standing(how="posted"), who="member").fate is Fate.TOLD
    assert decided(one, Standing(how="branch"), who="member").fate is Fate.TOLD
    assert decided(one, Standing(how="key"), who="member").clause == "who"
    assert decided(one, Standing(how="origin"), who="member").clause == "who"


def test_builds_alone_do_not_go_on_for_ever() -> None:
    assert decided(build("failure"), Standing(build_rounds=MAX_BUILD_ROUNDS - 1)).fate is Fate.TOLD
    found = decided(build("failure"), Standing(build_rounds=MAX_BUILD_ROUNDS))
    assert (found.fate, found.clause) == (Fate.NOTHING, "rounds")


def test_an_edit_is_told_once_and_only_of_what_was_told() -> None:
    edit = event(kind="comment.edited", artefact="issue_comment:1")
    assert decided(edit, Standing(told={"comment.created"})).fate is Fate.TOLD
    assert "never told" in decided(edit, Standing()).reason
    assert "told once" in decided(edit, Standing(told={"comment.created", "comment.edited"})).reason


@pytest.mark.parametrize(
    "kind", ["pr.merged", "pr.closed", "issue.closed", "comment.deleted", "alert.resolved"]
)
def test_an_end_is_recorded_unless_the_rule_wants_it(kind: str) -> None:
    assert may_follow(event(kind=kind), compiled())
    assert decided(event(kind=kind)).fate is Fate.NOTHING
    assert decided(event(kind=kind), follow=["pr.*", kind]).fate is Fate.TOLD


def test_other_kinds_are_nothing_to_a_conversation() -> None:
    assert not may_follow(event(kind="issue.labeled"), compiled())
    assert may_follow(event(kind="issue.labeled"), compiled(follow="issue.labeled"))


@pytest.mark.parametrize(
    ("began", "narrow", "allowed", "told"),
    [
        ("public", "public", None, True),
        ("private", "public", None, True),
        ("public", "private", None, False),
        ("public", "private", "public", True),
        ("public", "private", "private", False),
        ("public", "restricted", None, False),
        ("private", "restricted", None, False),
        ("private", "restricted", "private", True),
        ("restricted", "restricted", None, True),
    ],
)
def test_a_narrow_place_never_feeds_a_wider_one(
    began: str,
    narrow: str,
    allowed: str | None,
    told: bool,  # noqa: FBT001 - a column of the table above
) -> None:
    one = event(kind="comment.created", visibility=narrow)
    found = decided(one, Standing(visibility=began), allow_publish_to=allowed)
    assert (found.fate is Fate.TOLD) is told
    assert told or (found.clause, found.seen) == ("visibility", narrow)


def test_a_channel_that_another_company_reads_hears_nothing_of_our_own_places() -> None:
    one = event(kind="comment.created", visibility="private")
    found = decided(one, Standing(visibility="shared"))
    assert (found.fate, found.clause, found.seen) == (Fate.NOTHING, "visibility", "private")
    theirs = event(kind="comment.created", visibility="restricted", outside=True)
    assert decided(theirs, Standing(visibility="shared")).fate is Fate.TOLD
    assert decided(theirs, Standing(visibility="public")).clause == "visibility"


def test_all_messages_of_the_thread_have_the_same_readers() -> None:
    one = event(kind="message.posted", visibility="restricted")
    assert told_too_narrow(one, compiled(), Standing(visibility="private", is_origin=True)) is None
    assert told_too_narrow(one, compiled(), Standing(visibility="private")) is not None
    comment = event(kind="comment.created", visibility="restricted")
    assert told_too_narrow(comment, compiled(), Standing(visibility="private", is_origin=True)) is not None


def test_another_session_for_a_narrow_place_carries_nothing() -> None:
    one = event(kind="comment.created", visibility="restricted")
    assert decided(one, Standing(visibility="public"), follow_up="new").fate is Fate.ANOTHER


def taught(one: Event, **more: Any) -> dict[str, tuple[str, bool]]:
    return {link.reference: (link.how, link.proven) for link in learning.links(one, compiled(**more))}


def test_only_words_of_people_in_who_prove_a_link() -> None:
    text = "Belongs to SHOP-7, see https://github.com/acme/other/issues/3"
    member = taught(event(kind="comment.created", text=text))
    assert member == {"url:github.com/acme/other#3": ("url", True), "key:SHOP-7": ("key", True)}
    for trust in ("outsider", "bot", "unknown", "system"):
        found = taught(event(kind="comment.created", text=text, trust=trust))
        assert found.keys() == member.keys()
        assert not any(proven for _, proven in found.values()), trust
    assert all(proven for _, proven in taught(event(kind="issue.opened", text=text, is_self=True)).values())


def test_the_log_of_a_build_names_nothing() -> None:
    assert taught(build("failure", text="SHOP-7 failed")) == {}


def test_a_push_to_the_repositorys_own_branch_makes_its_commit_known() -> None:
    push = event(kind="push", is_self=True, address={"ref": "refs/heads/triggerhub/1", "head_sha": "abc1234"})
    assert taught(push) == {
        "branch:acme/checkout:triggerhub/1": ("branch", True),
        "key:acme/checkout@abc1234": ("branch", True),
    }


def test_what_the_payload_proves_is_proven_whoever_sent_it() -> None:
    one = event(kind="issue.updated", trust="unknown", links=("acme/shop#4", "https://example.com/", "#5"))
    assert taught(one) == {"key:acme/shop#4": ("payload", True), "key:#5": ("payload", True)}


def test_a_subject_does_not_link_itself() -> None:
    assert taught(event(kind="comment.created", text="acme/checkout#12 is broken")) == {}
