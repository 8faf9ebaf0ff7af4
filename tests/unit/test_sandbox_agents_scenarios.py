"""Every scenario of the emulator, in the order of events that the service is known for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import anthropic
import httpx2
import pytest
from agents_service import (
    LOOKUP,
    TEXT,
    TOOLSET,
    Service,
    drain,
    idles,
    of,
    result,
    said,
    served,
    tool,
    types,
)


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    async with served() as running:
        yield running


REPOSITORY = {
    "type": "github_repository",
    "url": "https://github.com/acme/checkout",
    "authorization_token": "t0",
}


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
            await drain(stream, seen)
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


async def test_an_outcome_is_sent_back_until_its_iterations_are_used_up(service: Service) -> None:
    session = await service.session()
    rubric = {"type": "text", "content": "It has three sections"}
    described = "Produce report.md [sandbox: scenario=happy grades=needs_revision,needs_revision]"
    outcome = {"type": "user.define_outcome", "description": described, "rubric": rubric, "max_iterations": 2}
    await service.send(
        session.id, {"type": "user.message", "content": [{"type": "text", "text": described}]}, outcome
    )
    events = await service.idle(session.id)
    found = of(events, "span.outcome_evaluation_end")
    assert [(one.iteration, one.result) for one in found] == [
        (0, "needs_revision"),
        (1, "max_iterations_reached"),
    ]
    after = await service.client.beta.sessions.retrieve(session.id)
    assert [(one.iteration, one.result) for one in after.outcome_evaluations] == [
        (1, "max_iterations_reached")
    ]


async def test_called_agents_work_in_threads_of_their_own(service: Service) -> None:
    tester, reviewer = await service.agent(name="Tester"), await service.agent(name="Reviewer")
    roster = {"type": "enabled", "predefined_agents": [tester.id, reviewer.id]}
    advisor = {"type": "enabled", "model": "claude-opus-5-5"}
    lead = await service.agent(
        name="Lead", multiagent={"type": "multiagent_20261001", "subagents": roster, "advisor": advisor}
    )
    session = await service.session(agent=lead.id)
    await service.say(session.id, "Look [sandbox: scenario=team]")
    events = await service.idle(session.id)
    assert [one.agent_name for one in of(events, "session.thread_created")] == [
        "Tester",
        "Reviewer",
        "advisor",
    ]
    beta = service.client.beta.sessions.threads
    threads = (await beta.list(session.id)).data
    assert [one.parent_thread_id is None for one in threads] == [False, False, False, True]
    child = next(one for one in threads if one.agent.type == "agent" and one.agent.name == "Tester")
    assert (child.parent_thread_id, child.status) == (threads[-1].id, "idle")
    inner = (await beta.events.list(child.id, session_id=session.id)).data
    assert [one.type for one in inner] == ["agent.thread_message_received", "agent.message"]
    archived = await beta.archive(child.id, session_id=session.id)
    assert archived.status == "terminated"
    with pytest.raises(anthropic.NotFoundError):
        await beta.retrieve("sthr_other", session_id=session.id)


async def test_a_called_agent_that_asks_is_shown_in_the_session(service: Service) -> None:
    tester = await service.agent(name="Tester")
    lead = await service.agent(name="Lead", multiagent={"type": "coordinator", "agents": [tester.id]})
    session = await service.session(agent=lead.id)
    await service.say(session.id, "Look [sandbox: scenario=team command=make]")
    events = await service.idle(session.id)
    (use,) = of(events, "agent.tool_use")
    (created,) = of(events, "session.thread_created")
    assert (use.session_thread_id, use.evaluated_permission) == (created.session_thread_id, "ask")
    await service.send(
        session.id, {"type": "user.tool_confirmation", "tool_use_id": use.id, "result": "deny"}
    )
    events = await service.idle(session.id, count=2)
    assert "was not allowed to look at it" in of(events, "agent.message")[-1].content[0].text
