"""One thing, four tools, one session: alert, pull request, review, build, issue and thread reach it in order."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from crash.stage import Stage, stage
from crash.webhooks import CHANNEL, Webhook, github_comment, sentry_alert, slack_words
from thread_webhooks import failed_build, jira_comment, review

from storage.states import RUN_TERMINAL
from storage.tables import ConversationSubject, LinkRow, RunRow

RULE = "sentry-error-to-pr"


def eager(config: dict[str, Any]) -> None:
    """Follow-ups are told after a short quiet."""
    for rule in config["rules"]:
        rule["gather"] = "1s"
    next(rule for rule in config["rules"] if rule["name"] == RULE)["allow_publish_to"] = "public"


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[Stage]:
    async with stage(tmp_path, edit=eager) as found:
        yield found


async def followed(running: Stage, webhook: Webhook) -> dict[str, Any]:
    """Send it; the run that its follow-up became."""
    event = await running.accepted(webhook)
    matched = [one for one in await running.routed(event) if one["rule"] == RULE]
    assert [(one["outcome"], one["clause"]) for one in matched] == [("matched", "follow_up")], matched

    async def done() -> dict[str, Any] | None:
        rows = await running.rows(RunRow, event_id=event, rule=RULE)
        return rows[0] if rows and rows[0]["status"] in RUN_TERMINAL else None

    found: dict[str, Any] = await running.until(done)
    return found


def told(running: Stage, session_id: str) -> list[str]:
    """Every message that a session got, with what was attached, in order."""
    return [
        " ".join(str(block) for block in event["content"])
        for event in running.agents.sessions[session_id].history.events
        if event["type"] == "user.message"
    ]


async def test_the_chain_of_tools_reaches_one_session_in_order(running: Stage) -> None:
    alert = sentry_alert(7)
    body = json.loads(alert.body)
    body["data"]["event"]["title"] += " SHOP-7"
    first = await running.ended(
        await running.accepted(
            Webhook("sentry", alert.headers, json.dumps(body).encode(), alert.subject, RULE)
        )
    )
    (pull,) = [one for one in running.made(first["id"]) if one.kind == "pull"]
    number = int(pull.where.partition("#")[2])
    issue = running.sandbox.world.github.ensure_repo("acme/checkout").issues[number]
    assert issue.pull is not None
    (thread,) = running.sandbox.world.slack.ensure_channel(CHANNEL).messages
    rows = [
        await followed(running, review(number, "Round only once, please.")),
        await followed(running, failed_build(number, issue.pull.head)),
        await followed(running, jira_comment("SHOP-7", "Customers ask about this.")),
        await followed(running, slack_words("1795400050.000200", "Is it fixed?", thread=thread)),
    ]
    assert [row["status"] for row in rows] == ["succeeded"] * 4, [row["error"] for row in rows]
    assert {row["session_id"] for row in rows} == {first["session_id"]}
    messages = told(running, first["session_id"])
    assert len(messages) == 5
    for text, words in zip(
        messages[1:], ("Round only once", "Check vouchers", "Customers ask", "Is it fixed"), strict=True
    ):
        assert words in text
    hows = {
        (row["connection"], row["how"])
        for row in await running.rows(ConversationSubject, conversation=first["conversation"])
    }
    assert hows == {
        ("acme-sentry", "origin"),
        ("acme-github", "posted"),
        ("acme-slack", "posted"),
        ("acme-jira", "key"),
    }


async def test_a_strangers_mention_attaches_nothing(running: Stage) -> None:
    first = await running.ended(await running.accepted(sentry_alert(8)))
    (pull,) = [one for one in running.made(first["id"]) if one.kind == "pull"]
    number = int(pull.where.partition("#")[2])
    stranger = github_comment(number, 95, "See SHOP-99")
    stranger = Webhook(
        "github",
        stranger.headers,
        stranger.body.replace(b'"author_association": "MEMBER"', b'"author_association": "NONE"').replace(
            b'"author_association": "OWNER"', b'"author_association": "NONE"'
        ),
        stranger.subject,
    )
    verdicts = await running.routed(await running.accepted(stranger))
    assert [one["clause"] for one in verdicts if one["rule"] == RULE] == ["who"]
    (link,) = await running.rows(LinkRow, reference="key:SHOP-99")
    assert not link["proven"]
    event = await running.accepted(jira_comment("SHOP-99", "Nobody's business."))
    assert all(one["outcome"] != "matched" for one in await running.routed(event))
    assert len(await running.rows(RunRow)) == 1


async def test_comments_in_a_short_while_are_one_turn(running: Stage) -> None:
    first = await running.ended(await running.accepted(sentry_alert(9)))
    (pull,) = [one for one in running.made(first["id"]) if one.kind == "pull"]
    number = int(pull.where.partition("#")[2])
    events = [await running.accepted(github_comment(number, 700 + n, f"Remark {n}.")) for n in range(3)]
    rows = [await running.ended(event) for event in events]
    assert [row["status"] for row in rows] == ["succeeded", "joined", "joined"]
    (text,) = told(running, first["session_id"])[1:]
    assert [text.index(f"Remark {n}.") for n in range(3)] == sorted(
        text.index(f"Remark {n}.") for n in range(3)
    )
    (reply,) = [
        one for one in running.made(rows[0]["id"]) if one.kind == "comment" and one.source == "github"
    ]
    for n in range(3):
        assert f"Remark {n}." in reply.text


async def test_a_session_that_is_gone_is_replaced_by_one_that_knows(running: Stage) -> None:
    first = await running.ended(await running.accepted(sentry_alert(10)))
    (pull,) = [one for one in running.made(first["id"]) if one.kind == "pull"]
    number = int(pull.where.partition("#")[2])
    url = f"{running.sandbox.anthropic_url}/v1/sessions/{first['session_id']}/archive"
    headers = {"x-api-key": "sandbox-key", "anthropic-beta": "managed-agents-2026-04-01"}
    (await running.http.post(url, headers=headers)).raise_for_status()
    row = await followed(running, github_comment(number, 800, "And the second rounding?"))
    assert row["session_id"] != first["session_id"]
    text = told(running, str(row["session_id"]))[-1]
    assert "what happened before" in text
    assert pull.where.partition("#")[2] in text
    assert "ZeroDivisionError" in text
