"""What a configuration says of agents and environments, in a whole hub: from YAML to what the service was sent."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, Final

import pytest
from approval_webhooks import by_github
from crash.stage import Stage, stage
from crash.webhooks import github_comment

from runner.client import make_client
from storage.tables import ApprovalRow, RunRow

TOOLSET: Final = {"type": "agent_toolset_20260401"}
SERVERS: Final = [{"type": "url", "name": "docs", "url": "https://mcp.example.com/sse"}]
ASKS: Final = {
    "type": "mcp_toolset",
    "mcp_server_name": "docs",
    "default_config": {"permission_policy": {"type": "always_ask"}},
}
ALLOWS: Final = {
    **ASKS,
    "default_config": {"permission_policy": {"type": "always_allow"}},
    "configs": [{"name": "delete_page", "enabled": False}],
}
SKILLS: Final = [
    {"type": "anthropic", "skill_id": "xlsx"},
    {"type": "custom", "skill_id": "skill_011CZkYqphY8vELVzwCUpqiQ", "version": "1759178010641129"},
]
ADVISOR: Final = {"type": "enabled", "model": "claude-opus-5-5"}
PLAIN: Final[dict[str, Any]] = {"model": "claude-sonnet-5-5", "tools": [TOOLSET]}
OTHER: Final = 5_100_777
"""Not the one whose comment started the run."""


def running(
    folder: Path,
    agents: dict[str, dict[str, Any]],
    *,
    scenario: str = "happy",
    config: dict[str, Any] | None = None,
    **rule: Any,
) -> AbstractAsyncContextManager[Stage]:
    """A hub whose one rule starts the last of `agents`."""

    def edit(written: dict[str, Any]) -> None:
        written["environments"] = {"place": {"config": config or {"type": "cloud"}}}
        written["agents"] = {name: {"environment": "place", **agent} for name, agent in agents.items()}
        written["rules"] = [
            {
                "name": "on-github",
                "match": {
                    "connection": "acme-github",
                    "kind": "comment.created",
                    "if": 'event.text.contains("@triggerhub")',
                },
                "agent": list(agents)[-1],
                "prompt": f"Look into it. [sandbox: scenario={scenario}]",
                **rule,
            }
        ]

    return stage(folder, edit=edit)


async def asked(found: Stage) -> str:
    return await found.accepted(github_comment(41, 1001, "@triggerhub why?"))


async def succeeded(found: Stage, event: str) -> dict[str, Any]:
    run = await found.ended(event)
    assert run["status"] == "succeeded", run["error"]
    return run


def sent(found: Stage, path: str) -> list[dict[str, Any]]:
    """Bodies of what was posted to the service at a path, in order."""
    calls = found.sandbox.world.log.calls("anthropic", method="POST")
    return [call.body for call in calls if call.path == path]


def in_history(found: Stage, run: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    events = found.agents.sessions[run["session_id"]].history.events
    return [event for event in events if event["type"] == kind]


async def test_servers_and_skills_of_an_agent_reach_the_service_as_written(tmp_path: Path) -> None:
    tools = [TOOLSET, ALLOWS]
    helper = {"model": "claude-sonnet-5-5", "tools": tools, "mcp_servers": SERVERS, "skills": SKILLS}
    async with running(tmp_path, {"helper": helper}, scenario="mcp") as found:
        run = await succeeded(found, await asked(found))
        (made,) = sent(found, "/v1/agents")
        assert {name: made[name] for name in helper} == helper
        (session,) = sent(found, "/v1/sessions")
        assert session["agent"] == {"type": "agent", "id": run["agent_id"], "version": 1}
        (used,) = in_history(found, run, "agent.mcp_tool_use")
        assert (used["mcp_server_name"], used["evaluated_permission"]) == ("docs", "allow")
        assert "`docs/write` was run" in run["final_text"]


async def test_a_tool_of_a_server_that_is_switched_off_is_not_used(tmp_path: Path) -> None:
    helper = {"model": "claude-sonnet-5-5", "tools": [ALLOWS], "mcp_servers": SERVERS}
    async with running(tmp_path, {"helper": helper}, scenario="mcp tool=docs/delete_page") as found:
        run = await succeeded(found, await asked(found))
        assert in_history(found, run, "agent.mcp_tool_use") == []
        assert "was not run" in run["final_text"]


async def test_overrides_reach_the_session_as_written_and_leave_the_agent_alone(tmp_path: Path) -> None:
    overrides = {
        "model": "claude-opus-5-5",
        "tools": [TOOLSET, ALLOWS],
        "mcp_servers": SERVERS,
        "skills": SKILLS,
    }
    rule: dict[str, Any] = {"agent_overrides": overrides, "outputs": ["comment"]}
    async with running(tmp_path, {"helper": {**PLAIN, "system": "Be brief."}}, **rule) as found:
        run = await succeeded(found, await asked(found))
        (session,) = sent(found, "/v1/sessions")
        agent = dict(session["agent"])
        *tools, comment = agent.pop("tools")
        assert tools == overrides["tools"]
        assert (comment["type"], comment["name"]) == ("custom", "comment")
        named = {"type": "agent_with_overrides", "id": run["agent_id"], "version": 1}
        assert agent == {**named, **{name: overrides[name] for name in overrides if name != "tools"}}
        taken = found.agents.sessions[run["session_id"]].agent
        assert (taken["model"]["id"], taken["system"]) == ("claude-opus-5-5", "Be brief.")
        assert [one["skill_id"] for one in taken["skills"]] == [one["skill_id"] for one in SKILLS]
        assert taken["mcp_servers"] == SERVERS
        (made,) = sent(found, "/v1/agents")
        assert (made["model"], made["tools"]) == (PLAIN["model"], PLAIN["tools"])
        assert sent(found, f"/v1/agents/{run['agent_id']}") == [], "no further version was made"


async def test_overrides_clear_what_they_name(tmp_path: Path) -> None:
    full = {
        "model": "claude-sonnet-5-5",
        "tools": [TOOLSET, ALLOWS],
        "mcp_servers": SERVERS,
        "skills": SKILLS,
    }
    empty: dict[str, Any] = {"tools": [], "mcp_servers": [], "skills": []}
    async with running(tmp_path, {"helper": full}, agent_overrides=empty) as found:
        run = await succeeded(found, await asked(found))
        taken = found.agents.sessions[run["session_id"]].agent
        assert {name: taken[name] for name in empty} == empty


@pytest.mark.parametrize("where", ["agent", "override"])
@pytest.mark.parametrize("answer", ["approve", "deny"])
async def test_a_person_confirms_what_a_server_asks_for(tmp_path: Path, where: str, answer: str) -> None:
    parts = {"tools": [ASKS], "mcp_servers": SERVERS}
    helper = {**PLAIN, **(parts if where == "agent" else {})}
    rule: dict[str, Any] = {"approve": {"tools": "docs/*"}}
    if where == "override":
        rule["agent_overrides"] = parts
    async with running(tmp_path, {"helper": helper}, scenario="mcp", **rule) as found:
        event = await asked(found)

        async def waits() -> bool:
            return bool(await found.rows(RunRow, event_id=event, status="waiting"))

        await found.until(waits)
        (question,) = await found.rows(ApprovalRow)
        said = f"/triggerhub {answer} {question['code']}"
        await found.accepted(by_github(41, 1002, said, user=OTHER))
        run = await succeeded(found, event)
        (used,) = in_history(found, run, "agent.mcp_tool_use")
        assert (used["name"], used["evaluated_permission"]) == ("write", "ask")
        (confirmed,) = in_history(found, run, "user.tool_confirmation")
        wanted = "allow" if answer == "approve" else "deny"
        assert (confirmed["tool_use_id"], confirmed["result"]) == (used["id"], wanted)
        (result,) = in_history(found, run, "agent.mcp_tool_result")
        assert (result["mcp_tool_use_id"], result["is_error"]) == (used["id"], answer == "deny")
        words = "`docs/write` was run" if answer == "approve" else "`docs/write` was not run"
        assert words in run["final_text"]


@pytest.mark.parametrize("form", ["multiagent_20261001", "coordinator"])
async def test_an_advisor_reaches_the_service_and_is_asked(tmp_path: Path, form: str) -> None:
    newer = {
        "type": form,
        "subagents": {"type": "enabled", "predefined_agents": ["tester"]},
        "workflows": {"type": "disabled"},
        "advisor": ADVISOR,
    }
    advisor = {"type": "advisor", "model": ADVISOR["model"]}
    older = {"type": form, "agents": ["tester", advisor]}
    lead = {**PLAIN, "multiagent": older if form == "coordinator" else newer}
    async with running(tmp_path, {"tester": PLAIN, "lead": lead}, scenario="team") as found:
        run = await succeeded(found, await asked(found))
        tester, made = sent(found, "/v1/agents")
        assert "multiagent" not in tester
        sent_as = made["multiagent"]
        if form == "coordinator":
            assert sent_as["agents"][1] == advisor
        else:
            assert {name: sent_as[name] for name in ("type", "workflows", "advisor")} == {
                name: newer[name] for name in ("type", "workflows", "advisor")
            }
        session = found.agents.sessions[run["session_id"]]
        assert [one.name for one in session.children] == ["tester", "advisor"]
        assert session.children[1].agent == advisor


async def test_a_run_in_an_environment_of_ones_own(tmp_path: Path) -> None:
    """Its machine takes the work and sends what came of it; the hub neither answers for it nor gives up on it."""
    own = {"type": "self_hosted"}
    async with running(
        tmp_path, {"helper": PLAIN}, scenario="machine command=make", config=own, outputs=["comment"]
    ) as found:
        event = await asked(found)

        async def on_the_machine() -> str | None:
            rows = await found.rows(RunRow, event_id=event)
            session = found.agents.sessions.get(str(rows[0]["session_id"])) if rows else None
            return next(iter(session.pending), None) if session and session.status == "idle" else None

        call = await found.until(on_the_machine)
        (environment,) = sent(found, "/v1/environments")
        assert environment["config"] == own
        (run,) = await found.rows(RunRow, event_id=event)
        assert run["status"] == "running"
        client = make_client(api_key="a-key", base_url=found.sandbox.anthropic_url, max_connections=2)
        result: Any = {
            "type": "user.tool_result",
            "tool_use_id": call,
            "content": [{"type": "text", "text": "12 passed"}],
        }
        await client.beta.sessions.events.send(run["session_id"], events=[result])
        await client.close()
        ended = await succeeded(found, event)
        assert "`make` said: 12 passed" in ended["final_text"]
        assert ended["session_id"] == run["session_id"]
        told = sent(found, f"/v1/sessions/{run['session_id']}/events")
        kinds = [one["type"] for body in told for one in body["events"]]
        assert kinds.count("user.tool_result") == 1, "the machine's"
        assert "user.tool_confirmation" not in kinds
        assert found.agents.sessions[run["session_id"]].environment_id == ended["environment_id"]
