"""What is a command, and what only looks like one."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from router_samples import event

from router.commands import Command, command_of
from schemas.event import Event

CODE = "abcdefghjk"
RUN = "run_0123456789abcdef"


def said(text: str, kind: str = "comment.created", **data: Any) -> Event:
    first = event()
    changed = first.data.model_copy(update={"kind": kind, "text": text, **data})
    return first.model_copy(update={"data": changed})


@pytest.mark.parametrize("kind", ["comment.created", "message.posted", "message.mention", "review.submitted"])
@pytest.mark.parametrize("word", ["stop", "status", "retry", "cost"])
def test_steering_is_said_by_name_or_by_mention(kind: str, word: str) -> None:
    wanted = Command(word)
    assert command_of(said(f"/triggerhub {word}", kind)) == wanted
    assert command_of(said(f"  /TriggerHub {word.upper()}!  ", kind)) == wanted
    assert command_of(said(f"`/triggerhub {word}`", kind)) == wanted
    assert command_of(said(f"@triggerhub {word}", kind)) == wanted
    assert command_of(said(f"@U0BOT: {word}.", kind, addressed=True)) == wanted
    assert command_of(said(f"[~accountid:5f:1] {word}", kind, addressed=True)) == wanted
    assert command_of(said(f"/triggerhub {word} {RUN}", kind)) == Command(word, RUN)


@pytest.mark.parametrize(
    "text",
    [
        "stop",
        "please stop",
        "@alice stop",
        "@alice status",
        "> /triggerhub stop",
        "I would never write /triggerhub stop",
        "@triggerhub stop the payment service from crashing",
        "@triggerhub status of the deployment?",
        "@triggerhub approve",
        "@triggerhub approve this please",
        "@triggerhub do not stop",
        "/triggerhubs stop",
        "/triggerhub-test stop",
        "/triggerhub fix the rounding of totals",
        "/triggerhub statusbar is broken",
        "",
    ],
)
def test_what_people_say_to_each_other_or_to_the_agent_is_no_command(text: str) -> None:
    assert command_of(said(text)) is None


def test_of_a_mention_the_rule_of_the_connector_decides_who_is_meant() -> None:
    assert command_of(said("@alice stop", addressed=False)) is None
    assert command_of(said("@our-bot stop", addressed=True)) == Command("stop")
    assert command_of(said("@alice please @our-bot stop", addressed=True)) is None


@pytest.mark.parametrize(
    "text",
    [
        "/triggerhub",
        "/triggerhub help",
        "/triggerhub stop everything",
        "/triggerhub approve",
        "/triggerhub deny it",
    ],
)
def test_whoever_calls_it_by_name_and_says_nothing_known_is_told_what_is(text: str) -> None:
    assert command_of(said(text)) == Command("help")


@pytest.mark.parametrize("word", ["approve", "deny"])
def test_votes_name_the_content_by_its_code(word: str) -> None:
    assert command_of(said(f"/triggerhub {word} {CODE}")) == Command(word, CODE)
    assert command_of(said(f"/triggerhub {word} `{CODE.upper()}`")) == Command(word, CODE)
    reason = command_of(said(f"/triggerhub {word} {CODE}: not on\na Friday"))
    assert reason == Command(word, CODE, reason="not on a Friday")
    assert command_of(said(f"@triggerhub {word} {CODE}")) == Command(word, CODE)
    assert command_of(said(f"/triggerhub {word} {CODE}x")) == Command("help")


def test_an_edited_comment_is_never_a_command() -> None:
    assert command_of(said(f"/triggerhub approve {CODE}", "comment.edited")) == Command("edited")
    assert command_of(said("better words", "comment.edited")) is None
    assert command_of(said("/triggerhub fix the rounding", "comment.edited")) is None


@pytest.mark.parametrize(
    "kind", ["issue.opened", "issue.updated", "pr.opened", "alert.fired", "other", "push"]
)
def test_no_other_kind_is_a_command(kind: str) -> None:
    assert command_of(said("/triggerhub stop", kind)) is None


def test_a_slash_command_is_ours_by_its_name() -> None:
    ours = {"payload": {"command": "/triggerhub"}}
    assert command_of(said(f"status {RUN}", "command.invoked", **ours)) == Command("status", RUN)
    assert command_of(said("", "command.invoked", **ours)) == Command("help")
    assert command_of(said("fix the rounding", "command.invoked", **ours)) is None, "work for an agent"
    assert command_of(said("stop", "command.invoked", payload={"command": "/deploy"})) is None
    assert command_of(said("stop", "command.invoked", payload={})) is None


def click(action: object, value: object) -> Event:
    return said("Approve", "action.clicked", changed={"action": {"to": action}, "value": {"to": value}})


def test_a_button_stands_for_an_approval_and_its_content() -> None:
    wanted = Command("approve", "apr_1", digest="0123456789ab", clicked=True)
    assert command_of(click("triggerhub.approve", "apr_1:0123456789ab")) == wanted
    assert command_of(click("triggerhub.deny", "apr_1:0123456789ab")) == Command(
        "deny", "apr_1", digest="0123456789ab", clicked=True
    )
    assert command_of(click("triggerhub.approve", "apr_1")) == Command(
        "approve", "apr_1", digest="", clicked=True
    )
    for action in ("approve", "triggerhub.fly", "", None, 7, ["triggerhub.approve"]):
        assert command_of(click(action, "apr_1:0123456789ab")) is None
    assert command_of(said("Approve", "action.clicked")) is None


@given(text=st.text(), addressed=st.booleans())
def test_any_text_gives_an_answer(*, text: str, addressed: bool) -> None:
    for start in ("", "/triggerhub ", "@triggerhub ", "[~a] "):
        command_of(said(start + text, addressed=addressed))
