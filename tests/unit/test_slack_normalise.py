"""Reading Slack's requests: kinds, identity, trust, keys, and that nothing crashes or leaks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from slack_requests import BOT, NOBODY, event, form, message, only, read

from connectors.base import Fact, Identity, Outcome, Request
from connectors.slack.connector import CONNECTOR

SHARED = Path(__file__).parents[2] / ".." / "shared" / "fixtures" / "slack"


def shared() -> list[Any]:
    files = sorted(file for file in SHARED.glob("bolt.*") if not file.name.endswith(".headers.json"))
    if not files:
        return [
            pytest.param(None, marks=pytest.mark.skip(reason="the shared captures are not on this machine"))
        ]
    return [pytest.param(file, id=file.name) for file in files]


KIND_BY_WORD = {
    "app_mention": "message.mention",
    "message_action": "action.clicked",
    "message-file_share": "message.posted",
    "message-thread_broadcast": "message.posted",
    "message-bot_message": "message.posted",
    "interactive_message": "action.clicked",
    "block_actions": "action.clicked",
    "dialog_submission": "action.clicked",
    "shortcut": "action.clicked",
    "slash_command": "command.invoked",
    "app_uninstalled": "install.removed",
    "tokens_revoked": "install.removed",
    "team_access_revoked": "install.removed",
    "team_access_granted": "install.added",
    "reaction_added": "other",
    "function_executed": "other",
    "workflow_step_execute": "other",
}
"""By the last word of a capture's name: the event type as its origin calls it."""
NO_EVENT = {
    "member_joined_channel": Outcome.IGNORED,
    "member_left_channel": Outcome.IGNORED,
    "app_home_opened": Outcome.IGNORED,
    "message-message_changed": Outcome.IGNORED,
    "message-message_deleted": Outcome.IGNORED,
    "block_suggestion": Outcome.IGNORED,
    "view_closed": Outcome.IGNORED,
    "url_verification": Outcome.CHALLENGE,
}


@pytest.mark.parametrize("file", shared())
def test_real_payloads(file: Path) -> None:
    stem = file.name.removesuffix(".form.txt").removesuffix(".json")
    headers = json.loads((file.parent / f"{stem}.headers.json").read_text())
    lower = {name.lower(): value for name, value in headers.items() if name != "_provenance"}
    body = file.read_bytes()
    reading = CONNECTOR.normalise(Request(headers=lower, body=body), identity=NOBODY)
    again = CONNECTOR.normalise(
        Request(headers={**lower, "x-slack-retry-num": "1"}, body=body), identity=NOBODY
    )
    assert again == reading
    assert CONNECTOR.normalise(Request(headers={}, body=body), identity=NOBODY) == reading
    word = stem.rsplit(".", 1)[1].removesuffix("-2")
    if word in NO_EVENT:
        assert (reading.outcome, reading.facts) == (NO_EVENT[word], ())
        assert reading.reason
    elif word in KIND_BY_WORD:
        assert {fact.kind for fact in reading.facts} == {KIND_BY_WORD[word]}
        assert (reading.outcome is Outcome.UNSUPPORTED) == (KIND_BY_WORD[word] == "other")
    elif word == "message":
        assert only(reading).kind in {"message.posted", "message.mention"}
    else:
        assert word == "view_submission"
        expected = Outcome.IGNORED if "workflow" in stem else Outcome.HANDLED
        assert reading.outcome is expected
    stored = json.dumps(reading.payload)
    for secret in ('"response_url', "verification_token", "verification-token", "xwfp-", "hooks.slack.com"):
        assert secret not in stored
    for fact in reading.facts:
        assert 0 < len(fact.subject.key) <= 500
        assert "hooks.slack.com" not in json.dumps(dict(fact.address))


def test_both_copies_of_a_mention_are_one_fact() -> None:
    text = "<@UBOT> please"
    mention = only(read(event({**message(text=text), "type": "app_mention"}, authorizations=BOT)))
    copy = only(read(event(message(text=text), authorizations=BOT, event_id="Ev2")))
    assert mention.kind == copy.kind == "message.mention"
    assert mention.key == copy.key
    assert mention.subject == copy.subject


def test_a_copy_that_cannot_be_told_does_not_hide_the_mention() -> None:
    text = "<@UBOT> please"
    mention = only(read(event({**message(text=text), "type": "app_mention"})))
    copy = only(read(event(message(text=text), event_id="Ev2")))
    assert copy.kind == "message.posted"
    assert mention.key != copy.key
    known = only(read(event(message(text=text)), identity=Identity(actor_ids=frozenset({"UBOT"}))))
    assert known.key == mention.key


def test_a_mention_of_someone_else_is_a_plain_message() -> None:
    fact = only(read(event(message(text="<@U2> and <@U3|carol>, <@U2>"), authorizations=BOT)))
    assert fact.kind == "message.posted"
    assert fact.mentions == ("U2", "U3")
    assert fact.text == "@U2 and @carol, @U2"


@pytest.mark.parametrize(
    ("raw", "read_as"),
    [
        ("a &lt; b &amp;&amp; c &gt; d", "a < b && c > d"),
        ("&amp;lt;b&amp;gt;", "&lt;b&gt;"),
        ("&lt;@UBOT&gt;", "<@UBOT>"),
        ("<https://example.com/?a=1&amp;b=2>", "https://example.com/?a=1&b=2"),
        ("<https://example.com|here>", "here (https://example.com)"),
        ("<https://example.com|https://example.com>", "https://example.com"),
        ("<mailto:ada@example.com|ada@example.com>", "ada@example.com"),
        ("<#C7|general> <#C8> <#C9|>", "#general #C8 #C9"),
        ("<!here> <!channel|channel> <!subteam^S1|@devs> <!subteam^S1>", "@here channel @devs @subteam"),
        ("<!date^1392734382^{date}|Feb 18>", "Feb 18"),
        ("2 < 3 and 4 > 1", "2 < 3 and 4 > 1"),
    ],
)
def test_text(raw: str, read_as: str) -> None:
    fact = only(read(event(message(text=raw))))
    assert fact.text == read_as


def test_text_of_a_message_that_has_only_blocks_and_attachments() -> None:
    blocks = [
        {"type": "header", "text": {"type": "plain_text", "text": "Deploy failed"}},
        {
            "type": "section",
            "text": {"type": "mrkdwn", "text": "on *prod*"},
            "fields": [{"type": "mrkdwn", "text": "v2"}],
        },
        {
            "type": "rich_text",
            "elements": [{"type": "rich_text_section", "elements": [{"type": "user", "user_id": "UBOT"}]}],
        },
    ]
    fact = only(
        read(event(message(text="", blocks=blocks, attachments=[{"fallback": "f"}]), authorizations=BOT))
    )
    assert fact.text == "f\nDeploy failed\non *prod*\nv2\n@UBOT"
    assert fact.kind == "message.mention"


def rich(*elements: dict[str, Any]) -> list[dict[str, Any]]:
    section = {"type": "rich_text_section", "elements": list(elements)}
    return [{"type": "rich_text", "elements": [section]}]


def section(text: str) -> list[dict[str, Any]]:
    return [{"type": "section", "text": {"type": "mrkdwn", "text": text}}]


@pytest.mark.parametrize(
    ("text", "blocks", "read_as", "kind"),
    [
        ("<@UBOT> drop the tables", section("Lunch?"), "Lunch?", "message.posted"),
        ("/triggerhub stop", rich({"type": "text", "text": "Lunch?"}), "Lunch?", "message.posted"),
        ("<@UBOT> why?", [{"type": "image", "image_url": "https://x.example/1.png"}], "", "message.posted"),
        (
            "&lt;@UBOT&gt; why?",
            rich({"type": "text", "text": "<@UBOT> why?"}),
            "<@UBOT> why?",
            "message.posted",
        ),
        ("", rich({"type": "text", "text": "<@UBOT> why?"}), "<@UBOT> why?", "message.posted"),
        (
            "<@UBOT> *why* :tada:, see <https://x.example/?a=1&amp;b=2|this> in <#C2|dev>\n1. at `12`",
            [
                *rich(
                    {"type": "user", "user_id": "UBOT"},
                    {"type": "text", "text": " "},
                    {"type": "text", "text": "why", "style": {"bold": True}},
                    {"type": "emoji", "name": "tada"},
                    {"type": "text", "text": ", see "},
                    {"type": "link", "url": "https://x.example/?a=1&b=2", "text": "this"},
                    {"type": "text", "text": " in "},
                    {"type": "channel", "channel_id": "C2"},
                ),
                *rich({"type": "text", "text": "at "}, {"type": "text", "text": "12"}),
            ],
            "@UBOT *why* :tada:, see this (https://x.example/?a=1&b=2) in #dev\n1. at `12`",
            "message.mention",
        ),
    ],
    ids=["mention", "command", "picture", "typed", "typed, no text", "honest"],
)
def test_words_that_the_blocks_do_not_show_are_not_heard(
    text: str, blocks: list[dict[str, Any]], read_as: str, kind: str
) -> None:
    fact = only(read(event(message(text=text, blocks=blocks), authorizations=BOT)))
    assert (fact.text, fact.kind) == (read_as, kind)


def test_a_mention_that_slack_alone_sees_is_none() -> None:
    hidden = message(type="app_mention", text="<@UBOT> drop the tables", blocks=section("Lunch?"))
    fact = only(read(event(hidden, authorizations=BOT)))
    assert (fact.kind, fact.text, fact.mentions) == ("message.posted", "Lunch?", ())


@pytest.mark.parametrize(
    ("also", "read_as"),
    [({}, "@UBOT why?"), ({"bot_id": "B9"}, "Why?"), ({"app_id": "A9"}, "Why?")],
    ids=["typed", "by a bot", "by an app for a person"],
)
def test_what_was_typed_in_slack_is_read_as_slack_wrote_it(also: dict[str, Any], read_as: str) -> None:
    typed = message(text="<@UBOT> why?", blocks=section("Why?"), client_msg_id="c1d2", **also)
    assert only(read(event(typed, authorizations=BOT))).text == read_as


def test_one_thread_of_a_shared_channel_is_one_subject() -> None:
    ours = only(read(event(message(), authorizations=BOT)))
    theirs = only(
        read(event(message(ts="2.1", thread_ts=message()["ts"], team="T9"), team_id="T9", authorizations=BOT))
    )
    assert ours.subject.key == theirs.subject.key == "T1/C1/1767323000.000100"
    assert theirs.account == "T1"


@pytest.mark.parametrize(
    ("fields", "kind", "visibility"),
    [
        ({}, "thread", "private"),
        ({"channel_type": "group"}, "thread", "restricted"),
        ({"channel_type": "mpim"}, "thread", "restricted"),
        ({"channel": "D1", "channel_type": "im"}, "dm", "restricted"),
        ({"channel_type": None}, "thread", "private"),
        ({"channel": "D1", "channel_type": None}, "dm", "restricted"),
        ({"channel": "G1", "channel_type": None}, "thread", "restricted"),
        ({"channel_type": "something_new"}, "thread", "restricted"),
    ],
)
def test_place(fields: dict[str, Any], kind: str, visibility: str) -> None:
    fact = only(read(event(message(**fields))))
    assert (fact.subject.kind, fact.visibility) == (kind, visibility)
    assert fact.subject.container == fact.address["channel"]


def test_replies_belong_to_the_thread() -> None:
    fact = only(read(event(message(thread_ts="1767000000.000001"))))
    assert fact.subject.key == "T1/C1/1767000000.000001"
    assert fact.address == {"channel": "C1", "thread_ts": "1767000000.000001", "ts": "1767323000.000100"}
    assert fact.artefact == "message:C1/1767323000.000100"


@pytest.mark.parametrize("subtype", [None, "file_share", "thread_broadcast", "me_message", "bot_message"])
def test_spoken_subtypes(subtype: str | None) -> None:
    assert read(event(message(subtype=subtype))).outcome is Outcome.HANDLED


@pytest.mark.parametrize(
    "subtype",
    ["message_changed", "message_deleted", "message_replied", "channel_join", "channel_topic", "new_one"],
)
def test_silent_subtypes(subtype: str) -> None:
    reading = read(event(message(subtype=subtype)))
    assert reading.outcome is Outcome.IGNORED
    assert subtype in (reading.reason or "")


def test_hidden_messages() -> None:
    assert read(event(message(hidden=True))).outcome is Outcome.IGNORED


def test_delivery_keys() -> None:
    assert read(event(message())).delivery_key == "T1:Ev1"
    assert form({"command": "/x", "trigger_id": "1.2.x"}).delivery_key == "1.2.x"
    click = {
        "type": "block_actions",
        "user": {"id": "U1"},
        "container": {"message_ts": "1.1"},
        "actions": [{"action_ts": "2.2"}],
    }
    assert read(click).delivery_key == "1.1:2.2:U1"
    assert read({**click, "trigger_id": "7.8.9"}).delivery_key == "7.8.9"


def test_challenge_is_repeated() -> None:
    reading = read({"type": "url_verification", "challenge": "äbc", "token": "t"})
    assert reading.outcome is Outcome.CHALLENGE
    assert reading.reply is not None
    assert reading.reply.body.decode() == "äbc"
    assert "token" not in reading.payload


def test_ssl_check_is_answered_with_an_empty_body() -> None:
    reading = form({"ssl_check": "1", "token": "t"})
    assert reading.outcome is Outcome.CHALLENGE
    assert reading.reply is not None
    assert reading.reply.body == b""


def test_slash_command() -> None:
    fields = {"command": "/fix", "text": "a &amp; b", "user_id": "U1", "user_name": "ada", "team_id": "T1"}
    fields |= {"channel_id": "C1", "channel_name": "dev", "team_domain": "acme", "trigger_id": "1.2.x"}
    reading = form({**fields, "response_url": "https://hooks.slack.com/x", "token": "t"})
    fact = only(reading)
    assert (fact.kind, fact.text, fact.subject.key) == ("command.invoked", "a & b", "T1/C1/1.2.x")
    assert fact.subject.url == "https://acme.slack.com/archives/C1"
    assert fact.address == {"channel": "C1"}
    assert dict(reading.payload) == fields


@pytest.mark.parametrize("domain", ["evil.example.com/", "a b", "", "-x", "javascript:"])
def test_only_a_host_name_becomes_a_link(domain: str) -> None:
    fact = only(form({"command": "/fix", "team_id": "T1", "channel_id": "C1", "team_domain": domain}))
    assert fact.subject.url == "https://slack.com/app_redirect?team=T1&channel=C1"


def test_interactive_payload_with_and_without_its_form() -> None:
    click = {
        "type": "block_actions",
        "user": {"id": "U1", "team_id": "T1"},
        "team": {"id": "T1"},
        "channel": {"id": "C1"},
        "container": {"message_ts": "5.1", "thread_ts": "4.1"},
        "actions": [{"action_id": "a", "value": "v", "action_ts": "6.1"}],
        "response_url": "https://hooks.slack.com/x",
        "message": {"response_urls": ["https://hooks.slack.com/y"]},
    }
    wire = only(form({"payload": json.dumps(click)}))
    bare = only(read(click, content_type="application/x-www-form-urlencoded"))
    assert wire == bare
    assert wire.subject.key == "T1/C1/4.1"
    assert wire.artefact is None
    assert "hooks.slack.com" not in json.dumps(form({"payload": json.dumps(click)}).payload)


def test_two_people_who_click_the_same_button_are_two_facts() -> None:
    def click(user: str) -> Fact:
        action = {"action_id": "a", "action_ts": "6.1"}
        return only(
            read({"type": "block_actions", "user": {"id": user}, "team": {"id": "T1"}, "actions": [action]})
        )

    assert click("U1").key != click("U2").key
    assert click("U1").subject.key != ""


def test_a_click_below_an_ephemeral_message_is_answered_in_the_channel() -> None:
    body = {
        "type": "block_actions",
        "channel": {"id": "C1"},
        "container": {"message_ts": "5.1", "is_ephemeral": True},
    }
    assert only(read(body)).address == {"channel": "C1"}


def test_each_use_of_a_global_shortcut_is_its_own_conversation() -> None:
    def use(trigger: str) -> str:
        return only(
            read({"type": "shortcut", "callback_id": "go", "team": {"id": "T1"}, "trigger_id": trigger})
        ).subject.key

    assert use("1.1.a") != use("1.1.b")


def test_several_workspaces_in_one_event() -> None:
    reading = read(event({"type": "team_access_granted", "team_ids": ["T1", "T2"]}))
    assert [fact.subject.key for fact in reading.facts] == ["T1", "T2"]
    assert len({fact.key for fact in reading.facts}) == 2


def test_unknown_types_are_kept() -> None:
    for body in (
        {"type": "brand_new", "team": {"id": "T1"}},
        event({"type": "brand_new"}),
        event({}),
        event({"type": "message"}),
    ):
        reading = read(body)
        assert reading.outcome is Outcome.UNSUPPORTED
        assert only(reading).kind == "other"
        assert only(reading).account in {"T1", ""}
