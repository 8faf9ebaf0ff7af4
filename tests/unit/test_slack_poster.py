"""Posting to Slack, against a scripted server on this machine: exact requests, and repeats after doubt."""

from __future__ import annotations

import json
from dataclasses import replace

import httpx
import pytest
from loopback import Answer, Call, Loopback
from slack_posts import AUTH, LONG, ORIGIN_TS, TOKEN, failure, kept, page, post, posted, settings

from connectors.base import Request
from connectors.poster import Post, Poster, PostPolicyError, PostRefusedError, PostUncertainError
from connectors.slack.connector import CONNECTOR
from connectors.slack.parts import MOST
from connectors.slack.search import LOOK_BACK, PAGES
from schemas.policy.shapes import OutputPolicy


@pytest.fixture
def slack(server: Loopback) -> Loopback:
    server.on("POST", "/api/auth.test", Answer(json=AUTH))
    return server


@pytest.fixture
def poster(slack: Loopback, http: httpx.AsyncClient) -> Poster:
    return CONNECTOR.poster(settings(slack.url), token=TOKEN, http=http, files={})


async def test_a_reply_in_the_thread(slack: Loopback, poster: Poster) -> None:
    slack.on("POST", "/api/chat.postMessage", *posted("1767323050.000900"))
    receipt = await poster.create(
        post("comment", {"text": "**Done** <!channel> [PR](https://github.com/acme/checkout/pull/12)"})
    )
    call = slack.seen("POST", "/api/chat.postMessage")[0]
    assert call.headers["authorization"] == f"Bearer {TOKEN}"
    assert call.headers["content-type"] == "application/json; charset=utf-8"
    assert call.json() == {
        "channel": "C1",
        "thread_ts": "1767322000.000001",
        "text": "*Done* &lt;!channel&gt; <https://github.com/acme/checkout/pull/12|PR>",
        "mrkdwn": True,
        "parse": "none",
        "link_names": False,
        "unfurl_links": False,
        "unfurl_media": False,
        "metadata": {
            "event_type": "triggerhub_post",
            "event_payload": {"run": "run_1", "slot": "comment-1", "part": 1},
        },
    }
    assert receipt.artefact == "message:C1/1767323050.000900"
    assert receipt.url == (
        "https://acme-dev.slack.com/archives/C1/p1767323050000900?thread_ts=1767322000.000001&cid=C1"
    )
    assert receipt.subject is None
    assert slack.seen("GET") == []


async def test_a_message_in_a_channel_opens_a_conversation(slack: Loopback, poster: Poster) -> None:
    slack.on("POST", "/api/chat.postMessage", *posted("1767323050.000900"))
    receipt = await poster.create(post("post_message", {"text": "hello"}, target={"channel": "C7"}))
    body = slack.seen("POST", "/api/chat.postMessage")[0].json()
    assert body["channel"] == "C7"
    assert "thread_ts" not in body
    assert receipt.subject == "T1/C7/1767323050.000900"
    assert receipt.url == "https://acme-dev.slack.com/archives/C7/p1767323050000900"


async def test_one_of_several_channels(slack: Loopback, poster: Poster) -> None:
    slack.on("POST", "/api/chat.postMessage", *posted("1767323050.000900"))
    target = {"channels": ["C7", "C8"]}
    await poster.create(post("post_message", {"text": "hello", "channel": "C8"}, target=target))
    assert slack.seen("POST", "/api/chat.postMessage")[0].json()["channel"] == "C8"
    for arguments in ({"text": "hello"}, {"text": "hello", "channel": "C9"}):
        with pytest.raises(PostPolicyError, match="must be one of C7, C8"):
            await poster.create(post("post_message", arguments, target=target))
    with pytest.raises(PostPolicyError, match="must be one of C7"):
        await poster.create(post("post_message", {"text": "x", "channel": "C8"}, target={"channel": "C7"}))


async def test_only_named_ids_are_notified(slack: Loopback, poster: Poster) -> None:
    slack.on("POST", "/api/chat.postMessage", *posted("1767323050.000900"))
    text = "@U012AB3CD <@U012AB3CD> @U012AB3CDE <@U999> <!channel> <!subteam^S1> @here a@U012AB3CD"
    made = post("comment", {"text": text})
    await poster.create(replace(made, policy=OutputPolicy(mentions=("U012AB3CD", "here"))))
    assert slack.seen("POST", "/api/chat.postMessage")[0].json()["text"] == (
        "<@U012AB3CD> <@U012AB3CD> @U012AB3CDE &lt;@U999&gt; &lt;!channel&gt; &lt;!subteam^S1&gt; @here a@U012AB3CD"
    )


async def test_a_fixed_thread(slack: Loopback, poster: Poster) -> None:
    slack.on("POST", "/api/chat.postMessage", *posted("9.1"))
    await poster.create(post("comment", {"text": "x"}, target={"channel": "C7", "thread_ts": "5.1"}))
    body = slack.seen("POST", "/api/chat.postMessage")[0].json()
    assert (body["channel"], body["thread_ts"]) == ("C7", "5.1")


async def test_the_answer_to_a_command_goes_into_its_channel(slack: Loopback, poster: Poster) -> None:
    slack.on("POST", "/api/chat.postMessage", *posted("9.1"))
    receipt = await poster.create(post("comment", {"text": "x"}, address={"channel": "C1"}))
    assert "thread_ts" not in slack.seen("POST", "/api/chat.postMessage")[0].json()
    assert receipt.subject == "T1/C1/9.1"


async def test_long_text_becomes_several_messages_in_one_thread(slack: Loopback, poster: Poster) -> None:
    slack.on("POST", "/api/chat.postMessage", *posted("9.1", "9.2", "9.3"))
    receipt = await poster.create(post("post_message", {"text": LONG}, target={"channel": "C1"}))
    bodies = [call.json() for call in slack.seen("POST", "/api/chat.postMessage")]
    assert [body["metadata"]["event_payload"]["part"] for body in bodies] == [1, 2, 3]
    assert [body.get("thread_ts") for body in bodies] == [None, "9.1", "9.1"]
    assert "\n".join(body["text"] for body in bodies) == LONG
    assert receipt.artefact == "message:C1/9.1"


async def test_very_long_text_is_cut_with_a_note(slack: Loopback, poster: Poster) -> None:
    slack.on("POST", "/api/chat.postMessage", *posted("9.1"))
    await poster.create(post("comment", {"text": "word " * 15_000}))
    calls = slack.seen("POST", "/api/chat.postMessage")
    assert len(calls) == MOST
    assert "shortened" in calls[-1].json()["text"]


async def test_a_post_whose_answer_was_lost_is_found_in_the_thread(slack: Loopback, poster: Poster) -> None:
    slack.on("POST", "/api/chat.postMessage", Answer(cut=True))
    lost = post("comment", {"text": "x"})
    with pytest.raises(PostUncertainError):
        await poster.create(lost)
    others = [
        {"ts": "8.1"},
        kept("8.2", 1, run="run_2"),
        kept("8.3", 1, slot="comment-2"),
        {"ts": "8.4", "metadata": []},
    ]
    slack.on("GET", "/api/conversations.replies", page(*others, cursor="more"), page(kept("9.1", 1)))
    receipt = await poster.find(lost)
    assert receipt is not None
    assert receipt.artefact == "message:C1/9.1"
    first, second = slack.seen("GET", "/api/conversations.replies")
    asked = {
        "channel": "C1",
        "ts": "1767322000.000001",
        "oldest": ORIGIN_TS,
        "include_all_metadata": "true",
        "limit": "200",
    }
    assert first.query == asked
    assert second.query == {**asked, "cursor": "more"}
    assert first.headers["authorization"] == f"Bearer {TOKEN}"
    assert len(slack.seen("POST", "/api/chat.postMessage")) == 1


async def test_what_another_app_wrote_under_another_name_is_not_ours(slack: Loopback, poster: Poster) -> None:
    foreign = kept("9.1", 1)
    foreign["metadata"]["event_type"] = "someone_else"
    slack.on("GET", "/api/conversations.replies", page(foreign))
    assert await poster.find(post("comment", {"text": "x"})) is None


async def test_only_the_missing_parts_are_posted_again(slack: Loopback, poster: Poster) -> None:
    slack.on("POST", "/api/chat.postMessage", *posted("9.1"), Answer(cut=True))
    partial = post("comment", {"text": LONG})
    with pytest.raises(PostUncertainError, match="part 2 of 3"):
        await poster.create(partial)
    slack.on("GET", "/api/conversations.replies", page(kept("9.1", 1), kept("9.2", 2)))
    assert await poster.find(partial) is None
    slack.on("POST", "/api/chat.postMessage", *posted("9.3"))
    receipt = await poster.create(partial)
    bodies = [call.json() for call in slack.seen("POST", "/api/chat.postMessage")]
    assert [body["metadata"]["event_payload"]["part"] for body in bodies] == [1, 2, 3]
    assert receipt.artefact == "message:C1/9.1"


async def test_missing_parts_of_a_channel_message_go_into_its_thread(slack: Loopback, poster: Poster) -> None:
    partial = post("post_message", {"text": LONG}, target={"channel": "C7"})
    slack.on("GET", "/api/conversations.history", page({"ts": "9.9"}, kept("9.1", 1)))
    slack.on("GET", "/api/conversations.replies", page(kept("9.1", 1), kept("9.2", 2)))
    assert await poster.find(partial) is None
    slack.on("POST", "/api/chat.postMessage", *posted("9.3"))
    receipt = await poster.create(partial)
    (call,) = slack.seen("POST", "/api/chat.postMessage")
    assert call.json()["thread_ts"] == "9.1"
    assert call.json()["metadata"]["event_payload"]["part"] == 3
    assert receipt.subject == "T1/C7/9.1"
    history = slack.seen("GET", "/api/conversations.history")[0].query
    assert history["channel"] == "C7"
    assert float(history["oldest"]) > 1_767_000_000 - LOOK_BACK


async def test_a_short_channel_message_is_found_by_one_reading_call(slack: Loopback, poster: Poster) -> None:
    slack.on("GET", "/api/conversations.history", page(kept("9.1", 1)))
    receipt = await poster.find(post("post_message", {"text": "x"}, target={"channel": "C7"}))
    assert receipt is not None
    assert (receipt.artefact, receipt.subject) == ("message:C7/9.1", "T1/C7/9.1")
    assert len(slack.seen("GET")) == 1


async def test_a_transient_error_after_the_first_part_is_in_doubt_not_undone(
    slack: Loopback, poster: Poster
) -> None:
    slack.on("POST", "/api/chat.postMessage", *posted("9.1"), failure("ratelimited"))
    with pytest.raises(PostUncertainError, match="part 2 of 3"):
        await poster.create(post("comment", {"text": LONG}))


async def test_a_refusal_after_the_first_part_keeps_what_is_there(slack: Loopback, poster: Poster) -> None:
    slack.on("POST", "/api/chat.postMessage", *posted("9.1"), failure("is_archived"))
    receipt = await poster.create(post("comment", {"text": LONG}))
    assert receipt.artefact == "message:C1/9.1"
    assert "part 1 of 3" in receipt.note


async def test_an_endless_thread_is_not_taken_for_an_empty_one(slack: Loopback, poster: Poster) -> None:
    slack.on("GET", "/api/conversations.replies", page({"ts": "1.1"}, cursor="again"))
    with pytest.raises(PostUncertainError, match="no end"):
        await poster.find(post("comment", {"text": "x"}))
    assert len(slack.seen("GET")) == PAGES


async def test_the_newest_own_message_is_updated(slack: Loopback, poster: Poster) -> None:
    slack.on(
        "GET",
        "/api/conversations.replies",
        page(kept("9.1", 1), kept("9.2", 2), kept("9.5", 1, slot="comment-2"), kept("9.7", 1, run="run_2")),
    )
    slack.on("POST", "/api/chat.update", Answer(json={"ok": True, "channel": "C1", "ts": "9.5"}))
    receipt = await poster.create(post("update_message", {"text": "**now**"}))
    (call,) = slack.seen("POST", "/api/chat.update")
    assert call.json() == {
        "channel": "C1",
        "ts": "9.5",
        "text": "*now*",
        "parse": "none",
        "link_names": False,
        "metadata": {
            "event_type": "triggerhub_post",
            "event_payload": {"run": "run_1", "slot": "comment-2", "part": 1, "updated": "comment-1"},
        },
    }
    assert receipt.artefact == "message:C1/9.5"


async def test_a_named_message_is_updated_only_if_it_is_of_this_run(slack: Loopback, poster: Poster) -> None:
    slack.on("GET", "/api/conversations.replies", page(kept("9.1", 1), kept("9.2", 1, run="run_2")))
    slack.on("POST", "/api/chat.update", Answer(json={"ok": True}))
    await poster.create(post("update_message", {"text": "x", "message_ts": "9.1"}))
    with pytest.raises(PostRefusedError, match=r"9\.2"):
        await poster.create(post("update_message", {"text": "x", "message_ts": "9.2"}))
    assert len(slack.seen("POST", "/api/chat.update")) == 1


async def test_an_update_is_found_by_its_slot(slack: Loopback, poster: Poster) -> None:
    update = post("update_message", {"text": "x"})
    slack.on("GET", "/api/conversations.replies", page(kept("9.1", 1, slot="a", updated="other")))
    assert await poster.find(update) is None
    slack.on("GET", "/api/conversations.replies", page(kept("9.1", 1, slot="a", updated="comment-1")))
    receipt = await poster.find(update)
    assert receipt is not None
    assert receipt.artefact == "message:C1/9.1"


@pytest.mark.parametrize("answer", [Answer(json={"ok": True}), failure("already_reacted")])
async def test_a_reaction_is_idempotent(slack: Loopback, poster: Poster, answer: Answer) -> None:
    slack.on("POST", "/api/reactions.add", answer)
    reaction = post("add_reaction", {"name": ":eyes:"})
    assert await poster.find(reaction) is None
    receipt = await poster.create(reaction)
    (call,) = slack.seen("POST", "/api/reactions.add")
    assert call.json() == {"channel": "C1", "timestamp": ORIGIN_TS, "name": "eyes"}
    assert receipt.artefact == f"reaction:C1/{ORIGIN_TS}/eyes"


async def test_the_rules_emoji_wins(slack: Loopback, poster: Poster) -> None:
    slack.on("POST", "/api/reactions.add", Answer(json={"ok": True}))
    fixed = post("add_reaction", {"name": "tada"}, target={"name": "eyes"})
    await poster.create(Post(**{name: getattr(fixed, name) for name in Post.__slots__} | {"to_origin": True}))
    assert slack.seen("POST", "/api/reactions.add")[0].json()["name"] == "eyes"


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        (post("add_reaction", {}), "no emoji"),
        (post("add_reaction", {"name": "eyes"}, address={"channel": "C1"}), "no Slack message"),
        (post("comment", {"text": "x"}, address={}), "no channel"),
        (post("comment", {"text": "x"}, target={"thread_ts": "1.1"}), "neither"),
    ],
)
async def test_posts_without_a_place(slack: Loopback, poster: Poster, wanted: Post, words: str) -> None:
    with pytest.raises(PostRefusedError, match=words):
        await poster.create(wanted)
    assert slack.seen("POST", "/api/chat.postMessage") == []


async def test_identity(slack: Loopback, poster: Poster) -> None:
    identity = await poster.identify()
    assert identity.actor_ids == {"UBOT", "B1"}
    assert slack.seen("POST", "/api/auth.test")[0].headers["authorization"] == f"Bearer {TOKEN}"


async def test_a_failing_auth_test_costs_the_link_not_the_post(slack: Loopback, poster: Poster) -> None:
    slack.on("POST", "/api/auth.test", failure("fatal_error"))
    slack.on("POST", "/api/chat.postMessage", *posted("9.1"))
    receipt = await poster.create(post("comment", {"text": "x"}))
    assert (receipt.url, receipt.artefact) == (None, "message:C1/9.1")
    with pytest.raises(PostUncertainError):
        await poster.identify()


async def test_who_we_are_is_asked_once(slack: Loopback, poster: Poster) -> None:
    slack.on("POST", "/api/chat.postMessage", *posted("9.1"))
    await poster.identify()
    await poster.create(post("comment", {"text": "x"}))
    assert len(slack.seen("POST", "/api/auth.test")) == 1


async def test_what_we_post_comes_back_as_our_own(slack: Loopback, poster: Poster) -> None:
    """The receipt's artefact and the identity match the event Slack sends for the post."""

    def echo(call: Call) -> Answer:
        return Answer(json={"ok": True, "channel": call.json()["channel"], "ts": "9.1"})

    slack.on("POST", "/api/chat.postMessage", echo)
    receipt = await poster.create(post("comment", {"text": "x"}))
    event = {"type": "message", "channel": "C1", "ts": "9.1", "user": "UBOT", "bot_id": "B1", "text": "x"}
    body = json.dumps({"type": "event_callback", "team_id": "T1", "event_id": "Ev1", "event": event}).encode()
    reading = CONNECTOR.normalise(Request(headers={}, body=body), identity=await poster.identify())
    assert reading.facts[0].actor.is_self
    assert reading.facts[0].artefact == receipt.artefact


@pytest.mark.parametrize("channel", ["#general", "general", "U0ADA0001", "", "C" * 60, "C1\nC2"])
def test_channels_are_named_by_id(channel: str) -> None:
    with pytest.raises(ValueError, match="channel"):
        CONNECTOR.outputs["post_message"].target.model_validate({"channel": channel})


@pytest.mark.parametrize("text", ["", "  \n"])
def test_empty_texts_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="text"):
        CONNECTOR.outputs["comment"].arguments.model_validate({"text": text})
