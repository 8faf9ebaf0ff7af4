"""The emulator against the SDK: every shape it answers is one of the SDK's own, strictly, and every scenario behaves."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anthropic
import httpx2
import pytest
from agents_service import LOOKUP, TEXT, TOOLSET, Service, idles, of, result, said, served, tool, types
from anthropic.types.beta import (
    BetaEnvironment,
    BetaFileMetadata,
    BetaManagedAgentsAgent,
    BetaManagedAgentsSession,
    BetaManagedAgentsVault,
)
from anthropic.types.beta.sessions import BetaManagedAgentsSessionEvent, BetaManagedAgentsSessionThread
from anthropic.types.beta.vaults import BetaManagedAgentsCredential
from pydantic import BaseModel, ConfigDict, TypeAdapter

from sandbox.managed_agents.scenarios import SCENARIOS
from sandbox.managed_agents.settings import Settings

REFERENCE = Path(__file__).parents[2] / ".." / "shared" / "reference" / "managed-agents-frames.json"
EVENT: TypeAdapter[Any] = TypeAdapter(BetaManagedAgentsSessionEvent, config=ConfigDict(strict=True))
REPOSITORY = {
    "type": "github_repository",
    "url": "https://github.com/acme/checkout",
    "authorization_token": "t0",
}


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    async with served() as running:
        yield running


async def raw(service: Service, path: str) -> Any:
    headers = {"authorization": "Bearer emu", "anthropic-beta": "managed-agents-2026-04-01"}
    answer = await service.admin.get(path, headers=headers)
    assert answer.status_code == 200, answer.text
    return answer.json()


def exact(model: type[BaseModel], body: dict[str, Any]) -> None:
    """The body is the model, with nothing unknown at its top and nothing missing."""
    model.model_validate_json(json.dumps(body), strict=True)
    assert body.keys() == model.model_fields.keys() - ({"on_behalf_of"} - body.keys())


async def checked_history(service: Service, session_id: str) -> list[dict[str, Any]]:
    """All events as they are on the wire, each one checked against the SDK's union."""
    body = await raw(service, f"/v1/sessions/{session_id}/events")
    for event in body["data"]:
        read = EVENT.validate_json(json.dumps(event))
        assert read.type == event["type"]
        assert type(read).model_fields["type"].annotation.__args__ == (event["type"],)
        assert event.keys() <= type(read).model_fields.keys(), event
    stamps = [event["processed_at"] for event in body["data"] if event["processed_at"]]
    assert stamps == sorted(set(stamps)), "processed_at rises from event to event"
    events: list[dict[str, Any]] = body["data"]
    return events


# Shapes.


async def test_every_object_is_the_sdks_own_shape(service: Service) -> None:
    agent = await service.agent(
        tools=[
            {**TOOLSET, "configs": [{"name": "bash", "permission_policy": {"type": "always_ask"}}]},
            LOOKUP,
        ]
    )
    session = await service.session(agent=agent.id, resources=[REPOSITORY], title="t", metadata={"job": "1"})
    vault = await service.client.beta.vaults.create(display_name="ada")
    auth: Any = {"type": "static_bearer", "token": "s3cret", "mcp_server_url": "https://mcp.example.com"}
    credential = await service.client.beta.vaults.credentials.create(vault.id, auth=auth)
    file = await service.client.beta.files.upload(file=("a.csv", b"x,y\r\n1,2\r\n"))
    thread = (await service.client.beta.sessions.threads.list(session.id)).data[0]

    exact(BetaManagedAgentsAgent, await raw(service, f"/v1/agents/{agent.id}"))
    exact(BetaEnvironment, await raw(service, f"/v1/environments/{session.environment_id}"))
    exact(BetaManagedAgentsSession, await raw(service, f"/v1/sessions/{session.id}"))
    exact(
        BetaManagedAgentsSessionThread, await raw(service, f"/v1/sessions/{session.id}/threads/{thread.id}")
    )
    exact(BetaManagedAgentsVault, await raw(service, f"/v1/vaults/{vault.id}"))
    shown = await raw(service, f"/v1/vaults/{vault.id}/credentials/{credential.id}")
    exact(BetaManagedAgentsCredential, shown)
    assert "s3cret" not in json.dumps(shown)
    exact(BetaFileMetadata, await raw(service, f"/v1/files/{file.id}"))


async def test_bodies_have_the_fields_of_the_recorded_ones(service: Service) -> None:
    if not REFERENCE.exists():
        pytest.skip("the recorded frames are not beside the repository")
    recorded = json.loads(REFERENCE.read_text())
    session = await service.session(tools=[TOOLSET], resources=[REPOSITORY])
    ours = await raw(service, f"/v1/sessions/{session.id}")
    assert ours.keys() == recorded["session"].keys()
    assert ours["agent"].keys() == recorded["session"]["agent"].keys()
    assert ours["resources"][0].keys() == recorded["session"]["resources"][0].keys()
    environment = await raw(service, f"/v1/environments/{session.environment_id}")
    assert environment.keys() == recorded["environment"].keys()
    agent = await raw(service, f"/v1/agents/{session.agent.id}")
    assert agent.keys() == recorded["agent"].keys()


async def test_events_have_the_fields_of_the_recorded_frames(service: Service) -> None:
    if not REFERENCE.exists():
        pytest.skip("the recorded frames are not beside the repository")
    recorded: dict[str, set[str]] = {}
    for frame in json.loads(REFERENCE.read_text())["frames"]:
        recorded.setdefault(frame["type"], set()).update(frame)
    kinds: set[str] = set()
    for scenario in ("work", "transient", "terminal", "refusal", "ask", "exhausted"):
        session = await service.session(tools=[TOOLSET, LOOKUP], resources=[REPOSITORY])
        await service.say(session.id, f"Fix it [sandbox: scenario={scenario}]")
        await finish(service, session.id)
        for event in await checked_history(service, session.id):
            kinds.add(event["type"])
            assert event.keys() <= recorded[event["type"]] | {"session_thread_id", "usage", "speed"}, event
    assert len(kinds) >= 17


async def finish(service: Service, session_id: str) -> list[Any]:
    """Answer everything until the session has ended its turn or itself."""
    answered: set[str] = set()
    async with asyncio.timeout(15):
        while True:
            events = await service.history(session_id)
            if events and events[-1].type == "session.status_terminated":
                return events
            if events and events[-1].type == "session.status_idle":
                stop = events[-1].stop_reason
                if stop.type != "requires_action":
                    return events
                by_id = {event.id: event for event in events}
                for identifier in stop.event_ids:
                    if identifier in answered:
                        continue
                    answered.add(identifier)
                    if by_id[identifier].type == "agent.tool_use":
                        confirmation = {
                            "type": "user.tool_confirmation",
                            "tool_use_id": identifier,
                            "result": "allow",
                        }
                        await service.send(session_id, confirmation)
                    else:
                        await service.answer(session_id, identifier)
            await asyncio.sleep(0.005)


ENDLESS = {"silent", "stuck"}


@pytest.mark.parametrize("scenario", sorted(SCENARIOS.keys() - ENDLESS))
async def test_every_scenario_emits_only_events_the_sdk_knows(service: Service, scenario: str) -> None:
    budget = {"type": "limit", "max_list_cost": {"amount": "500", "currency": "USD"}}
    tools = [TOOLSET, LOOKUP, tool("comment", text=TEXT)]
    session = await service.session(tools=tools, resources=[REPOSITORY], budget=budget)
    await service.say(session.id, f"Fix it [sandbox: scenario={scenario} seconds=0.02]")
    ended = await finish(service, session.id)
    events = await checked_history(service, session.id)
    kinds = [event["type"] for event in events]
    for place, kind in enumerate(kinds):
        if kind == "session.status_idle":
            assert kinds[place - 1] == "session.usage", "usage comes right before every idle"
    assert len(of(ended, "span.model_request_start")) == len(of(ended, "span.model_request_end"))
    exact(BetaManagedAgentsSession, await raw(service, f"/v1/sessions/{session.id}"))


# The order of events (reference §6.4).


async def test_happy_turn(service: Service) -> None:
    session = await service.session()
    async with await service.client.beta.sessions.events.stream(session.id) as stream:
        sent = await service.say(session.id, "Hello [sandbox: scenario=happy]")
        assert sent.data[0].processed_at is None
        seen = []
        async for event in stream:
            seen.append(event)
            if event.type == "session.status_idle":
                break
    assert types(seen) == [
        "session.status_running",
        "session.thread_status_running",
        "user.message",
        "span.model_request_start",
        "agent.thinking",
        "agent.message",
        "span.model_request_end",
        "session.thread_status_idle",
        "session.usage",
        "session.status_idle",
    ]
    assert seen[2].id == sent.data[0].id
    assert seen[2].processed_at is not None
    assert seen[-1].stop_reason.type == "end_turn"
    assert types(await service.history(session.id)) == types(seen)
    after = await service.client.beta.sessions.retrieve(session.id)
    assert (after.status, after.usage.list_cost.currency) == ("idle", "USD")
    assert int(after.usage.list_cost.amount) >= 0
    assert after.usage.output_tokens > 0


async def test_custom_tool_waits_and_goes_on(service: Service) -> None:
    session = await service.session(tools=[LOOKUP])
    await service.say(session.id, "Look [sandbox: scenario=custom_tools]")
    events = await service.idle(session.id)
    call = of(events, "agent.custom_tool_use")[0]
    assert call.name == "lookup_issue"
    assert set(call.input) == {"key"}
    stop = idles(events)[0].stop_reason
    assert (stop.type, stop.event_ids) == ("requires_action", [call.id])
    echo = (await service.answer(session.id, call.id, "it is open")).data[0]
    assert echo.processed_at is not None
    events = await service.idle(session.id, count=2)
    after = types(events)[types(events).index("user.custom_tool_result") :]
    assert after[:3] == ["user.custom_tool_result", "session.status_running", "session.thread_status_running"]
    assert "it is open" in said(events)[-1]
    with pytest.raises(anthropic.BadRequestError, match="already been answered"):
        await service.answer(session.id, call.id)


async def test_an_answer_may_come_before_the_idle(service: Service) -> None:
    await service.knob("settings", pace=0.1)
    session = await service.session(tools=[LOOKUP])
    await service.say(session.id, "Look [sandbox: scenario=custom_tools]")
    events = await service.until(session.id, lambda found: bool(of(found, "agent.custom_tool_use")))
    await service.answer(session.id, of(events, "agent.custom_tool_use")[0].id)
    events = await service.idle(session.id)
    assert [event.stop_reason.type for event in idles(events)] == ["end_turn"]


async def test_seven_parallel_calls_show_a_window_of_five(service: Service) -> None:
    session = await service.session(tools=[LOOKUP])
    await service.say(session.id, "Look [sandbox: scenario=parallel calls=7]")
    events = await service.idle(session.id)
    calls = [event.id for event in of(events, "agent.custom_tool_use")]
    assert len(calls) == 7
    assert idles(events)[0].stop_reason.event_ids == calls[:5]
    await service.answer(session.id, calls[0])
    events = await service.idle(session.id, count=2)
    assert idles(events)[1].stop_reason.event_ids == calls[1:6]
    await service.send(session.id, *(result(call) for call in calls[1:6]))
    events = await service.idle(session.id, count=3)
    assert idles(events)[2].stop_reason.event_ids == calls[6:]
    assert len(of(events, "session.status_running")) == 1, "it runs again only when nothing is missing"
    await service.answer(session.id, calls[6])
    events = await service.idle(session.id, count=4)
    assert idles(events)[3].stop_reason.type == "end_turn"


@pytest.mark.parametrize(("verdict", "text"), [("allow", "done"), ("deny", "not on main")])
async def test_confirmation(service: Service, verdict: str, text: str) -> None:
    session = await service.session(tools=[TOOLSET])
    await service.say(session.id, "Push [sandbox: scenario=ask]")
    events = await service.idle(session.id)
    use = of(events, "agent.tool_use")[0]
    assert (use.evaluated_permission, use.evaluation.type) == ("ask", "always_ask")
    confirmation = {"type": "user.tool_confirmation", "tool_use_id": use.id, "result": verdict}
    if verdict == "deny":
        confirmation["deny_message"] = text
    await service.send(session.id, confirmation)
    events = await service.idle(session.id, count=2)
    answer = of(events, "agent.tool_result")[0]
    assert answer.tool_use_id == use.id
    assert answer.content[0].text == text
    assert answer.is_error is (verdict == "deny")
    with pytest.raises(anthropic.BadRequestError, match="already been answered"):
        await service.send(session.id, confirmation)


async def test_a_confirmation_of_an_allowed_tool_is_refused(service: Service) -> None:
    session = await service.session(tools=[TOOLSET], resources=[REPOSITORY])
    await service.say(session.id, "Look around")
    events = await service.idle(session.id)
    use = of(events, "agent.tool_use")[0]
    with pytest.raises(anthropic.BadRequestError, match="evaluated_permission is not ask"):
        await service.send(
            session.id, {"type": "user.tool_confirmation", "tool_use_id": use.id, "result": "allow"}
        )


async def test_a_message_while_blocked_is_refused_in_the_services_words(service: Service) -> None:
    session = await service.session(tools=[LOOKUP])
    await service.say(session.id, "Look [sandbox: scenario=custom_tools]")
    call = of(await service.idle(session.id), "agent.custom_tool_use")[0].id
    with pytest.raises(anthropic.BadRequestError) as refused:
        await service.say(session.id, "And?")
    assert refused.value.type == "invalid_request_error"
    assert (
        f"Invalid user.message event at events[0]: waiting on responses to events [{call}]; only "
        "user.custom_tool_result or user.interrupt may be sent"
    ) in str(refused.value)
    message = {
        "type": "user.message",
        "content": [{"type": "text", "text": "And? [sandbox: scenario=happy]"}],
    }
    await service.send(session.id, result(call), message)
    events = await service.until(session.id, lambda found: "Done: And" in "".join(said(found)))
    assert len(of(events, "user.message")) == 2


async def test_transient_failure(service: Service) -> None:
    session = await service.session()
    await service.say(session.id, "Work [sandbox: scenario=transient times=2]")
    events = await service.idle(session.id)
    kinds = types(events)
    first = kinds.index("session.error")
    assert kinds[first : first + 5] == [
        "session.error",
        "session.thread_status_rescheduled",
        "session.status_rescheduled",
        "session.status_running",
        "session.thread_status_running",
    ]
    assert [event.error.retry_status.type for event in of(events, "session.error")] == ["retrying"] * 2
    assert idles(events)[-1].stop_reason.type == "end_turn"
    assert said(events)


async def test_exhausted_flushes_the_queue_and_stays_usable(service: Service) -> None:
    session = await service.session()
    await service.say(session.id, "Work [sandbox: scenario=exhausted pace=0.05]")
    await service.say(session.id, "queued behind it")
    events = await service.idle(session.id)
    assert [event.error.retry_status.type for event in of(events, "session.error")] == [
        "retrying",
        "retrying",
        "exhausted",
    ]
    assert idles(events)[-1].stop_reason.type == "retries_exhausted"
    assert not said(events)
    await service.say(session.id, "Again [sandbox: scenario=happy]")
    assert said(await service.idle(session.id, count=2)) == ["Done: Again [sandbox: scenario=happy]"]


async def test_terminal_ends_the_stream_and_the_session(service: Service) -> None:
    session = await service.session()
    async with await service.client.beta.sessions.events.stream(session.id) as stream:
        await service.say(session.id, "Work [sandbox: scenario=terminal]")
        seen = [event async for event in stream]
    assert types(seen)[-3:] == [
        "session.error",
        "session.thread_status_terminated",
        "session.status_terminated",
    ]
    assert (await service.client.beta.sessions.retrieve(session.id)).status == "terminated"
    with pytest.raises(anthropic.BadRequestError, match="terminated"):
        await service.say(session.id, "More")
    async with await service.client.beta.sessions.events.stream(session.id) as stream:
        assert [event async for event in stream] == []


async def test_repository_failure_goes_on_without_it(service: Service) -> None:
    session = await service.session(
        tools=[TOOLSET, tool("open_pull_request", title=TEXT)], resources=[REPOSITORY]
    )
    await service.say(session.id, "Fix [sandbox: scenario=repository_failure]")
    events = await service.idle(session.id)
    error = of(events, "session.error")[0].error
    assert (error.type, error.retry_status.type) == ("repository_authentication_error", "retrying")
    assert error.repository_url == "https://github.com/acme/checkout"
    assert idles(events)[-1].stop_reason.type == "end_turn"
    assert service.world.github.pushes == []


async def test_budget(service: Service) -> None:
    budget: Any = {"type": "limit", "max_list_cost": {"amount": "50", "currency": "USD"}}
    session = await service.session(budget=budget)
    await service.say(session.id, "Work [sandbox: scenario=budget]")
    events = await service.idle(session.id)
    assert types(events)[-3:] == ["session.thread_status_idle", "session.usage", "session.status_idle"]
    assert events[-1].stop_reason.type == "budget_reached"
    assert int(of(events, "session.usage")[-1].usage.list_cost.amount) >= 50
    with pytest.raises(anthropic.BadRequestError, match="budget is reached"):
        await service.say(session.id, "Go on")
    await service.send(session.id, {"type": "user.interrupt"})
    with pytest.raises(anthropic.BadRequestError, match="above what was already consumed"):
        await service.client.beta.sessions.update(session.id, budget=budget)
    raised: Any = {"type": "limit", "max_list_cost": {"amount": "500", "currency": "USD"}}
    await service.client.beta.sessions.update(session.id, budget=raised)
    events = await service.idle(session.id, count=2)
    assert of(events, "session.updated")[0].budget.max_list_cost.amount == "500"
    assert idles(events)[-1].stop_reason.type == "end_turn"
    assert said(events)


async def test_refusal(service: Service) -> None:
    session = await service.session()
    await service.say(session.id, "Work [sandbox: scenario=refusal category=bio]")
    idle = idles(await service.idle(session.id))[0]
    assert (idle.stop_reason.type, idle.stop_details.category) == ("refusal", "bio")


async def test_duplicate_and_late_frames(service: Service) -> None:
    session = await service.session()
    async with await service.client.beta.sessions.events.stream(session.id) as stream:
        sent = (await service.say(session.id, "Hi [sandbox: scenario=duplicate]")).data[0]
        mine = []
        async for event in stream:
            if event.id == sent.id:
                mine.append(event.processed_at is None)
            if event.type == "session.status_idle":
                break
    assert mine == [False, True, False]
    assert len(of(await service.history(session.id), "user.message")) == 1


async def test_a_queued_message_shows_twice_and_is_worked_on(service: Service) -> None:
    session = await service.session()
    async with await service.client.beta.sessions.events.stream(session.id) as stream:
        await service.say(session.id, "One [sandbox: scenario=slow seconds=0.1]")
        second = (await service.say(session.id, "Two [sandbox: scenario=happy]")).data[0]
        queued = (await service.history(session.id))[-1]
        assert (queued.id, queued.processed_at) == (second.id, None)
        shown = []
        async for event in stream:
            if event.id == second.id:
                shown.append(event.processed_at is None)
            if event.type == "session.status_idle":
                break
    assert shown == [True, False]
    assert said(await service.history(session.id))[-1].startswith("Done: Two")


async def test_silent_never_ends_until_interrupted(service: Service) -> None:
    session = await service.session()
    await service.say(session.id, "Work [sandbox: scenario=silent]")
    await service.until(session.id, lambda events: bool(of(events, "span.model_request_start")))
    await asyncio.sleep(0.1)
    assert (await service.client.beta.sessions.retrieve(session.id)).status == "running"
    sent = await service.send(session.id, {"type": "user.interrupt"})
    assert sent.data[0].processed_at is None
    events = await service.idle(session.id)
    assert types(events)[-5:] == [
        "user.interrupt",
        "span.model_request_end",
        "session.thread_status_idle",
        "session.usage",
        "session.status_idle",
    ]
    assert events[-1].stop_reason.type == "end_turn"


async def test_stuck_takes_no_interrupt(service: Service) -> None:
    session = await service.session()
    await service.say(session.id, "Work [sandbox: scenario=stuck]")
    await asyncio.sleep(0.03)
    await service.send(session.id, {"type": "user.interrupt"})
    await asyncio.sleep(0.05)
    assert (await service.client.beta.sessions.retrieve(session.id)).status == "running"
    with pytest.raises(anthropic.BadRequestError, match="cannot be archived"):
        await service.client.beta.sessions.archive(session.id)


async def test_interrupt_closes_pending_calls_and_redirects(service: Service) -> None:
    session = await service.session(tools=[LOOKUP])
    await service.say(session.id, "Look [sandbox: scenario=parallel calls=2]")
    calls = [event.id for event in of(await service.idle(session.id), "agent.custom_tool_use")]
    message = {
        "type": "user.message",
        "content": [{"type": "text", "text": "Stop [sandbox: scenario=happy]"}],
    }
    await service.send(session.id, {"type": "user.interrupt"}, message)
    events = await service.idle(session.id, count=3)
    closed = of(events, "user.custom_tool_result")
    assert [(event.custom_tool_use_id, event.is_error) for event in closed] == [
        (call, True) for call in calls
    ]
    assert [event.stop_reason.type for event in idles(events)] == ["requires_action", "end_turn", "end_turn"]
    assert said(events) == ["Done: Stop [sandbox: scenario=happy]"]
    with pytest.raises(anthropic.BadRequestError, match="already been answered"):
        await service.answer(session.id, calls[0])


async def test_interrupt_when_idle_does_nothing(service: Service) -> None:
    session = await service.session()
    await service.send(session.id, {"type": "user.interrupt"})
    assert types(await service.history(session.id)) == ["user.interrupt"]
    assert (await service.client.beta.sessions.retrieve(session.id)).status == "idle"


async def test_unknown_frames_deserialize_with_their_own_type(service: Service) -> None:
    session = await service.session()
    async with await service.client.beta.sessions.events.stream(session.id) as stream:
        await service.say(session.id, "Work [sandbox: scenario=unknown_event]")
        seen = []
        async for event in stream:
            seen.append(event)
            if event.type == "session.status_idle":
                break
    strange: list[str] = [kind for kind in types(seen) if kind in {"agent.mood", "future_frame"}]
    assert strange == ["agent.mood", "future_frame"]


async def test_forget_ends_without_a_message(service: Service) -> None:
    session = await service.session()
    await service.say(session.id, "Work [sandbox: scenario=forget]")
    events = await service.idle(session.id)
    assert idles(events)[0].stop_reason.type == "end_turn"
    assert said(events) == []


async def test_lost_gap_is_only_in_the_history(service: Service) -> None:
    session = await service.session(tools=[LOOKUP])
    seen: list[Any] = []
    async with await service.client.beta.sessions.events.stream(session.id) as stream:
        await service.say(session.id, "Work [sandbox: scenario=lost_gap]")
        with pytest.raises(httpx2.RemoteProtocolError):
            async for event in stream:
                seen.append(event)  # noqa: PERF401 - what came before the cut counts
    assert "agent.custom_tool_use" not in types(seen)
    events = await service.idle(session.id)
    call = of(events, "agent.custom_tool_use")[0]
    async with await service.client.beta.sessions.events.stream(session.id) as stream:
        await service.answer(session.id, call.id)
        async for event in stream:
            assert event.type != "agent.custom_tool_use", "a stream never replays"
            if event.type == "session.status_idle":
                break


async def test_status_lags_behind_the_stream(service: Service) -> None:
    session = await service.session()
    await service.say(session.id, "Work [sandbox: scenario=lag seconds=0.3]")
    await service.idle(session.id)
    assert (await service.client.beta.sessions.retrieve(session.id)).status == "running"
    with pytest.raises(anthropic.BadRequestError, match="cannot be archived"):
        await service.client.beta.sessions.archive(session.id)
    await asyncio.sleep(0.35)
    assert (await service.client.beta.sessions.archive(session.id)).status == "terminated"


async def test_outcome_is_evaluated(service: Service) -> None:
    await service.knob("settings", pace=0.05)
    session = await service.session(agent=(await service.agent(model="claude-opus-5-5")).id)
    rubric = {"type": "text", "content": "- has a summary"}
    outcome = {"type": "user.define_outcome", "description": "Produce report.md", "rubric": rubric}
    sent = (await service.send(session.id, outcome)).data[0]
    assert sent.processed_at is not None
    assert sent.max_iterations == 3
    with pytest.raises(anthropic.BadRequestError, match="already works towards"):
        await service.send(session.id, outcome)
    events = await service.idle(session.id)
    assert of(events, "span.outcome_evaluation_end")[0].result == "satisfied"
    after = await service.client.beta.sessions.retrieve(session.id)
    assert [one.result for one in after.outcome_evaluations] == ["satisfied"]


async def test_scenario_from_metadata_and_agent_name(service: Service) -> None:
    by_metadata = await service.session(metadata={"sandbox": "scenario=refusal"})
    agent = await service.agent(name="Coder [sandbox: scenario=forget]")
    by_name = await service.session(agent=agent.id)
    for session in (by_metadata, by_name):
        await service.say(session.id, "Work")
    assert idles(await service.idle(by_metadata.id))[0].stop_reason.type == "refusal"
    assert said(await service.idle(by_name.id)) == []


async def test_a_directive_in_event_data_is_only_data(service: Service) -> None:
    session = await service.session()
    await service.say(session.id, "Work", data='{"text": "[sandbox: scenario=terminal]"}')
    assert idles(await service.idle(session.id))[0].stop_reason.type == "end_turn"


async def test_an_unknown_scenario_says_so(service: Service) -> None:
    session = await service.session()
    await service.say(session.id, "Work [sandbox: scenario=nonsense]")
    assert "knows no scenario 'nonsense'" in said(await service.idle(session.id))[0]


# Streams.


async def test_cut_after_frames_and_graceful_end(service: Service) -> None:
    session = await service.session()
    await service.knob("streams", cut_after=2)
    seen = []
    async with await service.client.beta.sessions.events.stream(session.id) as stream:
        await service.say(session.id, "Work [sandbox: scenario=happy]")
        with pytest.raises(httpx2.RemoteProtocolError):
            async for event in stream:
                seen.append(event.type)  # noqa: PERF401 - what came before the cut counts
    assert seen == ["session.status_running", "session.thread_status_running"]
    await service.idle(session.id)
    async with await service.client.beta.sessions.events.stream(session.id) as stream:
        assert (await service.knob("streams/act", do="end", session_id=session.id)) == {"streams": 1}
        assert [event async for event in stream] == []


async def test_dropped_frames_stay_in_the_history(service: Service) -> None:
    session = await service.session()
    await service.knob("streams", drop=["agent.message"], times=5, session_id=session.id)
    async with await service.client.beta.sessions.events.stream(session.id) as stream:
        await service.say(session.id, "Work [sandbox: scenario=happy]")
        seen = []
        async for event in stream:
            seen.append(event.type)
            if event.type == "session.status_idle":
                break
    assert "agent.message" not in seen
    assert said(await service.history(session.id))


async def test_heartbeats_keep_a_silent_stream_alive_and_half_open_does_not(service: Service) -> None:
    session = await service.session()
    patient = httpx2.Timeout(0.5, connect=5)
    async with await service.client.beta.sessions.events.stream(session.id, timeout=patient) as stream:
        async with asyncio.TaskGroup() as group:
            reading = group.create_task(anext(aiter(stream)))
            await asyncio.sleep(0.8)
            assert not reading.done(), "pings are invisible and keep the connection"
            await service.say(session.id, "Work [sandbox: scenario=happy]")
        assert reading.result().type == "session.status_running"
    await service.knob("streams", half_open=True)
    async with await service.client.beta.sessions.events.stream(session.id, timeout=patient) as stream:
        with pytest.raises(httpx2.ReadTimeout):
            await anext(aiter(stream))


async def test_error_frame(service: Service) -> None:
    session = await service.session()
    async with await service.client.beta.sessions.events.stream(session.id) as stream:
        await service.knob("streams/act", do="error", session_id=session.id)
        with pytest.raises(anthropic.APIStatusError) as failed:
            await anext(aiter(stream))
    assert (failed.value.status_code, failed.value.type) == (200, "overloaded_error")


async def test_a_stream_begins_at_now_and_leaves_no_trace(service: Service) -> None:
    session = await service.session()
    await service.say(session.id, "One [sandbox: scenario=happy]")
    await service.idle(session.id)
    async with await service.client.beta.sessions.events.stream(session.id) as stream:
        await service.say(session.id, "Two [sandbox: scenario=happy]")
        async for event in stream:
            if event.type == "user.message":
                assert event.content[0].text.startswith("Two")
                break
    inner = service.state.sessions[session.id]
    async with asyncio.timeout(5):
        while inner.history.subscribers:
            await asyncio.sleep(0.01)


async def test_previews_on_request(service: Service) -> None:
    session = await service.session()
    events = service.client.beta.sessions.events
    async with await events.stream(session.id, event_deltas=["agent.message"]) as stream:
        await service.say(session.id, "Hi [sandbox: scenario=happy say=Hello]")
        seen = []
        async for event in stream:
            seen.append(event)
            if event.type == "session.status_idle":
                break
    starts, deltas = of(seen, "event_start"), of(seen, "event_delta")
    message = of(seen, "agent.message")[0]
    assert [start.event.id for start in starts] == [message.id]
    assert "".join(delta.delta.content.text for delta in deltas) == message.content[0].text == "Hello"
    assert not of(await service.history(session.id), "event_start")


async def test_thread_routes(service: Service) -> None:
    session = await service.session()
    await service.say(session.id, "Hi [sandbox: scenario=happy]")
    expected = types(await service.idle(session.id))
    threads = service.client.beta.sessions.threads
    thread = (await threads.list(session.id)).data[0]
    assert thread.parent_thread_id is None
    found = [event async for event in threads.events.list(thread.id, session_id=session.id)]
    assert types(found) == expected
    async with await threads.events.stream(thread.id, session_id=session.id) as stream:
        await service.say(session.id, "Again [sandbox: scenario=happy]")
        assert (await anext(aiter(stream))).type == "session.status_running"
    with pytest.raises(anthropic.NotFoundError):
        await threads.retrieve("sthr_nowhere", session_id=session.id)


async def test_limits_answer_429_with_retry_after() -> None:
    async with served(Settings(pace=0, creates_per_minute=3, reads_per_minute=40)) as service:
        session = await service.session()
        with pytest.raises(anthropic.RateLimitError) as refused:
            await service.session(agent=session.agent.id, environment_id=session.environment_id)
        assert 1 <= int(refused.value.response.headers["retry-after"]) <= 20
        assert refused.value.type == "rate_limit_error"
        with pytest.raises(anthropic.RateLimitError):
            for _ in range(60):
                await service.client.beta.sessions.retrieve(session.id)
