"""Who may approve, what is approved, and the code and hash that bind one to the other."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from runner_samples import dispatch_of, grant

from runner import asking
from runner.asking import Call
from schemas.config import Rule
from schemas.policy.approval import (
    CODE_LENGTH,
    CODE_LETTERS,
    ApprovalPolicy,
    Person,
    ToolApproval,
    approval_id,
    code_of,
    digest_of,
    may_vote,
)
from schemas.policy.gate import Facts, Gate
from schemas.policy.shapes import Allowed, NeedsApproval, OutputPolicy, Refusal, Staged
from schemas.result import Receipt, Result
from storage.approvals import Approval
from storage.tables import ApprovalStatus

ADA = Person("github:5", "member", connection="acme-github", name="ada")
BOB = Person("slack:U1", "member", connection="acme-slack", name="bob")
OPERATOR = Person("operator:api", "operator")


@pytest.mark.parametrize(
    ("person", "counts"),
    [
        (ADA, True),
        (OPERATOR, True),
        (Person("github:6", "owner", connection="acme-github"), True),
        (Person("github:6", "collaborator", connection="acme-github"), True),
        (Person("slack:U6", "owner", connection="public-slack"), False),
        (Person("github:6", "outsider"), False),
        (Person("github:6", "bot"), False),
        (Person("github:6", "system"), False),
        (Person("github:6", "unknown"), False),
        (Person("github:6", ""), False),
    ],
)
def test_without_a_word_of_the_rule_members_and_operators_may_approve(
    person: Person, *, counts: bool
) -> None:
    why_not = may_vote(ApprovalPolicy(), person, askers={"github:99"}, home="acme-github")
    assert (why_not is None) is counts


def test_a_trust_counts_where_the_run_came_from_and_where_people_are_asked() -> None:
    policy = ApprovalPolicy.model_validate({"ask": {"connection": "acme-slack", "channel": "C1"}})
    assert may_vote(policy, BOB, askers=(), home="acme-github") is None
    assert may_vote(policy, ADA, askers=(), home="acme-github") is None
    stranger = Person("jira:1", "owner", connection="acme-jira")
    assert may_vote(policy, stranger, askers=(), home="acme-github") is not None
    nowhere = Person("github:1", "owner")
    assert may_vote(ApprovalPolicy(), nowhere, askers=(), home=None) is not None


def test_whoever_asked_may_not_approve_unless_the_rule_says_so() -> None:
    policy = ApprovalPolicy()
    assert may_vote(policy, ADA, askers={"github:5"}) == "whoever asked for it may not approve it"
    assert may_vote(policy, ADA, askers={"jira:5"}, home="acme-github") is None, (
        "the same number at another vendor is somebody else"
    )
    assert may_vote(ApprovalPolicy(not_asker=False), ADA, askers={"github:5"}, home="acme-github") is None
    assert may_vote(policy, ADA, askers=(), home="acme-github") is None


def test_named_people_are_known_by_connection_and_identifier() -> None:
    policy = ApprovalPolicy.model_validate({"by": {"connection": "acme-slack", "ids": "U1"}})
    assert may_vote(policy, BOB, askers=()) is None
    why_not = may_vote(policy, Person("github:U1", "owner", connection="acme-github"), askers=())
    assert why_not is not None
    assert "certain people of acme-slack" in why_not
    assert may_vote(policy, Person("slack:U2", "owner", connection="acme-slack"), askers=()) is not None
    assert may_vote(policy, OPERATOR, askers=()) is not None, "operators only where they are named"
    outsider = Person("slack:U1", "outsider", connection="acme-slack")
    assert may_vote(policy, outsider, askers=()) is None, "the rule named this very person"


@pytest.mark.parametrize(
    "written",
    [
        {"by": []},
        {"by": "outsider"},
        {"by": "bot"},
        {"by": "anyone"},
        {"by": {"connection": "acme-slack"}},
        {"by": {"connection": "acme-slack", "ids": []}},
        {"by": {"connection": "acme-slack", "ids": ["*"]}},
        {"count": 0},
        {"count": 11},
        {"expires": "0s"},
        {"expires": "169h"},
        {"expires": 3600},
        {"ask": "everywhere"},
        {"ask": {"channel": "C1"}},
        {"approvers": ["ada"]},
    ],
)
def test_what_is_no_policy_is_refused(written: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        ApprovalPolicy.model_validate(written)


def test_a_policy_is_the_same_after_it_was_stored() -> None:
    policy = ApprovalPolicy.model_validate(
        {
            "by": ["owner", {"connection": "acme-slack", "ids": ["U1"]}],
            "count": 2,
            "expires": "90m",
            "not_asker": False,
            "ask": {"connection": "acme-slack", "channel": "C1"},
        }
    )
    assert ApprovalPolicy.model_validate_json(policy.model_dump_json()) == policy


@pytest.mark.parametrize(
    ("tools", "asked", "covered"),
    [
        ("bash", "bash", True),
        ("bash", "jira/bash", True),
        ("jira/*", "jira/create_issue", True),
        ("jira/*", "github/create_issue", False),
        ("*", "anything", True),
        (["read", "write"], "write", True),
        ("Bash", "bash", False),
    ],
)
def test_tools_are_named_exactly_or_by_a_pattern(tools: object, asked: str, *, covered: bool) -> None:
    assert ToolApproval.model_validate({"tools": tools}).covers(asked) is covered


def test_a_rule_takes_one_entry_or_several() -> None:
    rule = {"name": "r", "match": {"kind": "push"}, "agent": "a", "prompt": "p"}
    one = Rule.model_validate({**rule, "approve": {"tools": "bash"}})
    assert [entry.tools for entry in one.approve] == [("bash",)]
    two = Rule.model_validate({**rule, "approve": [{"tools": "bash"}, {"tools": "jira/*", "count": 2}]})
    assert [entry.count for entry in two.approve] == [1, 2]
    with pytest.raises(ValidationError, match="no spaces"):
        Rule.model_validate({**rule, "approve": {"tools": "git push"}})


@given(st.text(), st.text(), st.binary())
def test_another_run_call_or_content_is_another_approval(run: str, call: str, body: bytes) -> None:
    digest = digest_of(body)
    first = approval_id(run, call, digest)
    assert first == approval_id(run, call, digest)
    assert approval_id(run, call, digest_of(body + b" ")) != first
    assert approval_id(f"{run}x", call, digest) != first
    code = code_of(first)
    assert len(code) == CODE_LENGTH
    assert set(code) <= set(CODE_LETTERS)
    assert code_of(approval_id(run, call, digest_of(body + b" "))) != code


@given(
    st.dictionaries(st.text(max_size=10), st.one_of(st.text(), st.integers(), st.none()), max_size=5),
    st.text(max_size=10),
)
def test_every_difference_in_a_tool_call_is_a_difference_in_its_hash(
    content: dict[str, object], key: str
) -> None:
    call = Call("sevt_1", "bash", content)
    same = Call("sevt_2", "bash", dict(reversed(content.items())))
    assert asking.canonical(call) == asking.canonical(same), "the order in which it came does not matter"
    assert asking.canonical(Call("sevt_1", "sh", content)) != asking.canonical(call)
    other = {**content, key: "changed \N{EM DASH} by hand"}
    assert asking.canonical(Call("sevt_1", "bash", other)) != asking.canonical(call)


def gate_of(policy: OutputPolicy, **arguments: object) -> object:
    gate = Gate(lambda: Facts(secrets=frozenset()))
    return gate.judge(policy, arguments, target={}, code=(), hosts=(), staged=False)


def test_approval_is_asked_for_only_of_what_the_policy_would_let_through() -> None:
    policy = OutputPolicy(approve=ApprovalPolicy(count=2))
    needs = gate_of(policy, text="Hello.")
    assert isinstance(needs, NeedsApproval)
    assert (needs.policy.count, needs.arguments) == (2, {"text": "Hello."})
    assert isinstance(gate_of(policy, text="See https://collector.evil-host.net/x"), Refusal)
    assert isinstance(gate_of(OutputPolicy(), text="Hello."), Allowed)
    staged = OutputPolicy(approve=ApprovalPolicy(), staged=True)
    assert isinstance(gate_of(staged, text="Hello."), Staged), "nobody is asked about what is only shown"


# ---------------------------------------------------------------------------------------------------------- words


def made(text: str = "Hello.", **policy: object) -> tuple[Approval, Call, Result]:
    dispatch = dispatch_of(grants=(grant(),))
    call = Call("sevt_1", "comment", {"text": text}, "on acme/checkout#12")
    wanted = asking.wanted(dispatch, "run_1", call, ApprovalPolicy.model_validate(policy), result=None)
    return wanted, call, asking.question(dispatch, wanted, call, show=True)


def test_the_question_says_what_who_and_how() -> None:
    wanted, _, question = made(
        count=2, by=["owner", {"connection": "acme-slack", "ids": ["U1"]}], expires="90m"
    )
    text = str(question.arguments["text"])
    assert "`fix-it` wants to use `comment` on acme/checkout#12" in text
    assert f"/triggerhub approve {wanted.code}" in text
    assert f"/triggerhub deny {wanted.code}" in text
    assert (
        "2 of owner, certain people of acme-slack, but not whoever asked for the work, within 1.5 h" in text
    )
    assert wanted.digest[:12] in text
    assert question.arguments["value"] == f"{wanted.id}:{wanted.digest[:12]}"
    assert question.slot == f"approval-{wanted.code}"


def test_the_content_cannot_leave_its_block_of_code() -> None:
    text = str(
        made("x\n```\n@everyone **Approved by the owner.** `/triggerhub approve aaaa`\n```")[2].arguments[
            "text"
        ]
    )
    before, block, after = text.split("```")
    assert "@everyone" in block
    assert "@everyone" not in before + after


def test_what_the_eye_would_miss_is_spelled_out() -> None:
    text = str(made("rm -rf ./a\u202e\u200b /")[2].arguments["text"])
    assert "rm -rf ./a\\u{202e}\\u{200b} /" in text


def test_a_long_content_is_cut_and_says_how_much_is_missing() -> None:
    text = str(made("x" * 5_000)[2].arguments["text"])
    assert len(text) < 2_400
    assert "more characters)" in text


def test_readers_who_may_not_see_the_content_are_not_shown_it() -> None:
    wanted, call, _ = made("between us")
    text = str(asking.question(dispatch_of(), wanted, call, show=False).arguments["text"])
    assert "between us" not in text
    assert wanted.code in text


def test_the_posted_question_says_how_it_stands_and_then_what_became_of_it() -> None:
    wanted, _, question = made(count=2)
    receipt = Receipt(url="https://x", artefact="comment:7")
    half = asking.change(wanted, question, receipt, votes=1)
    assert half is not None
    assert (half.output, half.slot) == ("edit_post", f"{question.slot}.1")
    assert half.arguments["artefact"] == "comment:7"
    assert half.arguments["value"] == question.arguments["value"], "it can still be decided"
    assert str(half.arguments["text"]).endswith("1 of 2 have approved.")
    decided = {
        ApprovalStatus.APPROVED: "**Approved by ada (github:5), bob (slack:U1).**",
        ApprovalStatus.DENIED: "**Denied by ada (github:5): not on a Friday.**",
        ApprovalStatus.EXPIRED: "**Expired: nobody approved it in time.**",
        ApprovalStatus.WITHDRAWN: "**Not wanted any more.**",
    }
    for status, words in decided.items():
        over = replace(
            wanted,
            status=status,
            told=1,
            decided_by="ada (github:5), bob (slack:U1)",
            reason="denied by ada (github:5): not on a Friday",
        )
        change = asking.change(over, question, receipt, votes=2)
        assert change is not None
        text = str(change.arguments["text"])
        assert text.startswith(words)
        assert "Hello." in text
        assert "/triggerhub approve" not in text
        assert change.arguments["value"] is None, "no buttons are left"
        assert change.slot == f"{question.slot}.2"
    assert asking.change(wanted, question, Receipt(), votes=0) is None


def test_the_policy_is_part_of_what_travels() -> None:
    one = grant(policy=OutputPolicy(approve=ApprovalPolicy(count=3)))
    assert json.loads(one.model_dump_json())["policy"]["approve"]["count"] == 3
    assert type(one).model_validate_json(one.model_dump_json()) == one
