"""Conversations: further words reach the session that owns them, and our own words coming back start nothing."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from crash.stage import Stage, stage
from crash.webhooks import CHANNEL, github_comment, sentry_alert, slack_mention, slack_words

from sandbox.slack.state import BOT_ID, BOT_USER_ID
from storage.tables import DispatchRow, RunRow

THREAD = "1795400001.000100"


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[Stage]:
    """A hub on the demo's configuration."""
    async with stage(tmp_path) as found:
        yield found


async def test_a_plain_reply_in_the_thread_goes_into_the_same_session(running: Stage) -> None:
    first = await running.ended(await running.accepted(slack_mention(THREAD)))
    event = await running.accepted(slack_words("1795400050.000200", "And who owns it?", thread=THREAD))
    (verdict,) = [one for one in await running.routed(event) if one["outcome"] == "matched"]
    assert (verdict["rule"], verdict["clause"]) == ("slack-mention-answer", "follow_up")
    second = await running.ended(event)
    assert second["status"] == "succeeded"
    assert second["session_id"] == first["session_id"]
    assert [item.session_id for item in running.agents.work] == [first["session_id"]] * 2
    (reply,) = running.made(second["id"])
    assert reply.where == f"{CHANNEL}/{THREAD}"
    assert "And who owns it?" in reply.text


async def test_a_reply_in_a_thread_that_nobody_owns_starts_nothing(running: Stage) -> None:
    event = await running.accepted(slack_words("1795400051.000200", "Hello?", thread="1795400009.000100"))
    assert all(one["outcome"] != "matched" for one in await running.routed(event))
    assert await running.rows(RunRow) == []


async def test_a_comment_on_the_agents_pull_request_reaches_the_session_that_opened_it(
    running: Stage,
) -> None:
    first = await running.ended(await running.accepted(sentry_alert(4)))
    (pull,) = [one for one in running.made(first["id"]) if one.kind == "pull"]
    number = int(pull.where.partition("#")[2])
    event = await running.accepted(github_comment(number, 90, "Please round only once."))
    second = await running.ended(event)
    assert second["session_id"] == first["session_id"]
    assert second["rule"] == "sentry-error-to-pr"
    assert len(running.agents.work) == 2
    told = [one for one in running.made(second["id"]) if one.source == "github" and one.kind == "comment"]
    assert [one.where for one in told] == [pull.where]
    pulls = [one for one in running.made(first["id"]) + running.made(second["id"]) if one.kind == "pull"]
    assert len(pulls) == 1


async def test_our_own_comment_coming_back_starts_nothing(running: Stage) -> None:
    run = await running.ended(
        await running.accepted(github_comment(31, 91, "@triggerhub where do we round the total?"))
    )
    (reply,) = running.made(run["id"])
    place = running.sandbox.world.github.ensure_repo("acme/checkout").issues[31]
    posted = place.comments[-1]
    assert posted.body == reply.text
    # As GitHub would tell of it, but in a person's name: the artefact alone must give it away.
    echo = github_comment(31, posted.id, posted.body + "\n\n@triggerhub")
    event = await running.accepted(echo)
    verdicts = await running.routed(event)
    assert verdicts
    assert {one["outcome"] for one in verdicts} == {"suppressed"}
    assert {one["clause"] for one in verdicts} == {"loop"}
    assert len(await running.rows(RunRow)) == 1


async def test_a_copy_of_our_marker_silences_nobody_and_is_counted(running: Stage) -> None:
    run = await running.ended(await running.accepted(github_comment(31, 92, "@triggerhub why twice?")))
    (reply,) = running.made(run["id"])
    event = await running.accepted(github_comment(31, 93, f"{reply.text}\n\n@triggerhub"))
    (verdict,) = [one for one in await running.routed(event) if one["outcome"] == "matched"]
    (dispatch,) = await running.rows(DispatchRow, id=verdict["dispatch_id"])
    assert (dispatch["depth"], dispatch["root_event"]) == (1, run["event_id"])


async def test_our_own_slack_message_coming_back_starts_nothing(running: Stage) -> None:
    run = await running.ended(await running.accepted(slack_mention(THREAD)))
    (reply,) = running.made(run["id"])
    channel = running.sandbox.world.slack.ensure_channel(CHANNEL)
    ts = next(ts for ts, message in channel.messages.items() if message.text == reply.text)
    echo = slack_words(ts, reply.text, thread=THREAD, user=BOT_USER_ID, bot_id=BOT_ID, subtype="bot_message")
    answer = await running.send(echo)
    assert answer.status_code == 202
    for event in answer.json()["events"]:
        assert all(one["outcome"] in {"suppressed", "not_matched"} for one in await running.routed(event))
    assert len(running.agents.work) == 1
    assert len(await running.rows(RunRow)) == 1
    assert json.loads(answer.text)["outcome"] in {"handled", "ignored"}
