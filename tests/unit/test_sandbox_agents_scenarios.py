"""Scenarios of the emulator that go as they should, in the order of events that the service is known for."""

from __future__ import annotations

from typing import Any

import anthropic
import pytest
from agents_service import (
    LOOKUP,
    REPOSITORY,
    TOOLSET,
    Service,
    idles,
    of,
    result,
    said,
    types,
)


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
