"""The believable worker: what it reads, pushes, calls, in which order, and how it takes a refusal."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from agents_service import LOOKUP, PACE, TEXT, TOOLSET, Service, idles, of, said, tool

from sandbox.managed_agents.settings import PACE_VARIABLE, Settings

REPOSITORY = {
    "type": "github_repository",
    "url": "https://github.com/acme/checkout",
    "authorization_token": "t0",
    "checkout": {"type": "branch", "name": "develop"},
}
EVENT = {
    "kind": "alert.fired",
    "actor": {"id": "7", "login": "ada", "trust": "member"},
    "subject": {
        "kind": "alert",
        "key": "4400",
        "url": "https://sentry.example.com/issues/4400",
        "title": "TypeError: price is None",
        "container": "checkout",
    },
    "text": "price is None in total()\nsince this morning",
    "labels": ["bug"],
}
PULL_REQUEST = tool("open_pull_request", title=TEXT, body=TEXT, head=TEXT)
TOOLS = [
    TOOLSET,
    tool("comment", text=TEXT),
    tool("add_remote_link", url=TEXT, title={"type": "string", "maxLength": 20}),
    tool("transition", status={"type": "string", "enum": ["To Do", "In Review", "Done"]}),
    PULL_REQUEST,
    tool("rotate_flux", level={"type": "integer", "minimum": 3}, tags={"type": "array", "items": TEXT}),
]
PROMPT = "Find the cause and repair it. Push your work to the branch `triggerhub/run-7`."
Answers = Callable[[str], tuple[str, bool]]


def plain(name: str) -> tuple[str, bool]:
    """Every call succeeds; the pull request has an address."""
    if name == "open_pull_request":
        return json.dumps({"url": "https://github.com/acme/checkout/pull/31", "draft": True}), False
    return "ok", False


async def drive(service: Service, session_id: str, answers: Answers = plain, *, turns: int = 1) -> list[Any]:
    """Answer every call as it comes until that many turns have ended."""
    async with asyncio.timeout(15):
        while True:
            events = await service.history(session_id)
            done = {event.custom_tool_use_id for event in of(events, "user.custom_tool_result")}
            for call in of(events, "agent.custom_tool_use"):
                if call.id not in done:
                    text, is_error = answers(call.name)
                    await service.answer(session_id, call.id, text, is_error=is_error)
            ended = [one for one in idles(events) if one.stop_reason.type == "end_turn"]
            if len(ended) >= turns:
                return events
            await asyncio.sleep(0.005)


async def test_it_pushes_then_calls_tools_in_a_sensible_order(service: Service) -> None:
    session = await service.session(tools=TOOLS, resources=[REPOSITORY])
    await service.say(session.id, PROMPT, data=json.dumps(EVENT))
    events = await drive(service, session.id)
    [push] = service.world.github.pushes
    assert (push.repo, push.branch, push.base) == ("acme/checkout", "triggerhub/run-7", "develop")
    assert len(push.files) == 2
    assert all("TypeError: price is None" in content for content in push.files.values())
    calls = of(events, "agent.custom_tool_use")
    assert [call.name for call in calls] == [
        "open_pull_request",
        "transition",
        "add_remote_link",
        "rotate_flux",
        "comment",
    ]
    pull, transition, link, unknown, comment = (call.input for call in calls)
    assert pull["head"] == "triggerhub/run-7"
    assert "TypeError: price is None" in pull["title"]
    assert "> price is None in total()" in pull["body"]
    assert transition == {"status": "In Review"}
    assert link["url"] == "https://github.com/acme/checkout/pull/31"
    assert len(link["title"]) <= 20
    assert unknown["level"] >= 3
    assert all(isinstance(tag, str) for tag in unknown["tags"])
    assert "https://github.com/acme/checkout/pull/31" in comment["text"]
    assert "> price is None in total()" in comment["text"]
    first, last = said(events)[0], said(events)[-1]
    assert "TypeError: price is None" in first
    assert "`4400`" in first
    for part in (
        "## TypeError",
        "> price is None",
        "1. pushed 2 files",
        "```",
        "https://github.com/acme/checkout/pull/31",
    ):
        assert part in last


async def test_it_uses_the_built_in_tools_as_they_are_permitted(service: Service) -> None:
    session = await service.session(tools=[TOOLSET, PULL_REQUEST], resources=[REPOSITORY])
    await service.say(session.id, PROMPT, data=json.dumps(EVENT))
    uses = of(await drive(service, session.id), "agent.tool_use")
    assert {use.name for use in uses} == {"bash", "read", "edit"}
    assert all(use.evaluated_permission == "allow" for use in uses)
    assert uses[0].input["command"].startswith("cd /workspace/checkout")
    read_only = {
        **TOOLSET,
        "default_config": {"enabled": False},
        "configs": [{"name": "read", "enabled": True}],
    }
    session = await service.session(tools=[read_only], resources=[REPOSITORY])
    await service.say(session.id, PROMPT)
    assert {use.name for use in of(await drive(service, session.id), "agent.tool_use")} == {"read"}


async def test_it_waits_for_permission_and_takes_no_for_an_answer(service: Service) -> None:
    asking = {**TOOLSET, "configs": [{"name": "bash", "permission_policy": {"type": "always_ask"}}]}
    session = await service.session(tools=[asking, PULL_REQUEST], resources=[REPOSITORY])
    await service.say(session.id, PROMPT)
    for count in (1, 2):
        events = await service.idle(session.id, count=count)
        use = of(events, "agent.tool_use")[-1]
        assert idles(events)[-1].stop_reason.event_ids == [use.id]
        denial = {"type": "user.tool_confirmation", "tool_use_id": use.id, "result": "deny"}
        await service.send(session.id, denial)
    events = await drive(service, session.id)
    assert service.world.github.pushes == []
    assert "not permitted" in said(events)[-1]
    assert not of(events, "agent.custom_tool_use"), "no pull request of what was not pushed"


async def test_branch_defaults_to_the_session_and_needs_a_repository(service: Service) -> None:
    session = await service.session(tools=[TOOLSET, PULL_REQUEST], resources=[REPOSITORY])
    await service.say(session.id, "Repair it.")
    await drive(service, session.id)
    assert service.world.github.pushes[0].branch == f"triggerhub/{session.id}"
    bare = await service.session(tools=[TOOLSET, PULL_REQUEST])
    await service.say(bare.id, "Repair it.")
    assert not of(await drive(service, bare.id), "agent.custom_tool_use")
    assert len(service.world.github.pushes) == 1
    talker = await service.session(tools=[TOOLSET, tool("comment", text=TEXT)], resources=[REPOSITORY])
    await service.say(talker.id, "What is this?")
    calls = of(await drive(service, talker.id), "agent.custom_tool_use")
    assert [call.name for call in calls] == ["comment"]
    assert len(service.world.github.pushes) == 1, "nothing is pushed where no pull request is granted"


async def test_it_says_what_was_refused(service: Service) -> None:
    def refuse(name: str) -> tuple[str, bool]:
        return (
            ("the token may not open pull requests", True) if name == "open_pull_request" else ("ok", False)
        )

    session = await service.session(tools=TOOLS, resources=[REPOSITORY])
    await service.say(session.id, PROMPT, data=json.dumps(EVENT))
    events = await drive(service, session.id, refuse)
    last = said(events)[-1]
    assert "**Could not do**" in last
    assert "`open_pull_request`: the token may not open pull requests" in last
    comment = next(call for call in of(events, "agent.custom_tool_use") if call.name == "comment")
    assert "there is no pull request" in comment.input["text"]


async def test_it_adds_an_optional_field_that_a_refusal_asks_for(service: Service) -> None:
    transition = tool("transition", status=TEXT)
    transition["input_schema"]["required"] = []
    heard: list[str] = []

    def want_status(name: str) -> tuple[str, bool]:
        heard.append(name)
        return ("say which status: the rule fixes none", True) if len(heard) == 1 else ("moved", False)

    session = await service.session(tools=[transition])
    await service.say(session.id, "Move it")
    events = await drive(service, session.id, want_status)
    assert [call.input for call in of(events, "agent.custom_tool_use")] == [{}, {"status": "In Review"}]
    assert "Could not do" not in said(events)[-1]


async def test_an_unknown_repository_is_reported(service: Service) -> None:
    unknown = {"type": "github_repository", "url": "https://github.com/acme/unknown"}
    session = await service.session(tools=[TOOLSET, PULL_REQUEST], resources=[unknown])
    await service.say(session.id, PROMPT)
    events = await drive(service, session.id)
    assert "acme/unknown does not exist" in said(events)[-1]
    assert not of(events, "agent.custom_tool_use")


async def test_a_follow_up_remembers_the_turn_before(service: Service) -> None:
    session = await service.session(tools=TOOLS, resources=[REPOSITORY])
    await service.say(session.id, PROMPT, data=json.dumps(EVENT))
    first = await drive(service, session.id)
    again = {**EVENT, "text": "Please also cover refunds"}
    await service.say(session.id, "Someone answered.", data=json.dumps(again))
    events = (await drive(service, session.id, turns=2))[len(first) :]
    assert [call.name for call in of(events, "agent.custom_tool_use")] == ["comment"]
    last = said(events)[-1]
    assert "> Please also cover refunds" in last
    assert "Earlier in this session I worked on “price is None in total()”" in last
    assert "https://github.com/acme/checkout/pull/31" in last
    branches = [push.branch for push in service.world.github.pushes]
    assert branches == ["triggerhub/run-7"] * 2, "it pushes on to the same branch"
    assert service.world.github.pushes[1].files.keys().isdisjoint(service.world.github.pushes[0].files)


async def test_the_same_inputs_give_the_same_words(service: Service) -> None:
    spoken = []
    for _ in range(2):
        session = await service.session(tools=TOOLS, resources=[REPOSITORY])
        await service.say(session.id, PROMPT, data=json.dumps(EVENT))
        events = await drive(service, session.id)
        spoken.append((said(events), [call.input for call in of(events, "agent.custom_tool_use")]))
    assert spoken[0] == spoken[1]


@pytest.mark.parametrize(
    "data", ["", "not json", "[1, 2]", '{"subject": 5, "actor": [], "labels": {"a": 1}, "text": null}']
)
async def test_any_data_will_do(service: Service, data: str) -> None:
    session = await service.session(tools=[tool("comment", text=TEXT)])
    await service.say(session.id, "Look at this", data=data)
    assert "Look at this" in said(await drive(service, session.id))[-1] or data in {"not json", "[1, 2]"}


async def test_pace_shows_progress(service: Service) -> None:
    session = await service.session(tools=[LOOKUP])
    async with await service.client.beta.sessions.events.stream(session.id) as stream:
        loop = asyncio.get_running_loop()
        await service.say(session.id, "Hi [sandbox: scenario=happy pace=0.1]")
        times = []
        async for event in stream:
            times.append(loop.time())
            if event.type == "session.status_idle":
                break
    assert times[-1] - times[0] >= 0.25
    assert max(later - earlier for earlier, later in pairwise(times)) >= 0.08


def test_pace_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PACE_VARIABLE, "0.25")
    assert Settings.from_environment().pace == 0.25
    assert Settings.from_environment(pace=PACE).pace == PACE
    monkeypatch.delenv(PACE_VARIABLE)
    assert Settings.from_environment().pace == 0.03


async def test_many_sessions_run_at_once(service: Service) -> None:
    agent, environment = await service.agent(), await service.environment()
    sessions = [await service.session(agent=agent.id, environment_id=environment.id) for _ in range(100)]
    shared = {id(one.agent) for one in service.state}
    assert len(shared) == 1, "sessions share the snapshot of their agent"
    before = len(asyncio.all_tasks())
    for session in sessions:
        await service.say(session.id, "Hi [sandbox: scenario=silent]")
    assert len(asyncio.all_tasks()) <= before + 2, "a running session costs no task"
    assert {one.status for one in service.state} == {"running"}
