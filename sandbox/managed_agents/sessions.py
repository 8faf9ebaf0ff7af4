"""Routes of `/v1/sessions`: create, retrieve, update, list, archive, delete (reference §1.2, §1.9, §2)."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Final

from anthropic.types.beta import SessionCreateParams, SessionUpdateParams
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sandbox.managed_agents.agents import Agents
from sandbox.managed_agents.definitions import complete, snapshot
from sandbox.managed_agents.environments import Environments
from sandbox.managed_agents.errors import invalid, not_found
from sandbox.managed_agents.http import body_of, check_metadata, patched, reply
from sandbox.managed_agents.lookup import find_session
from sandbox.managed_agents.resources import mount
from sandbox.managed_agents.sending import check_initial, start_initial
from sandbox.managed_agents.session import Session
from sandbox.managed_agents.session_pages import list_sessions
from sandbox.managed_agents.state import AgentsState
from sandbox.managed_agents.usage import priced

MOST_TITLE: Final = 80
OVERRIDABLE: Final = frozenset({"mcp_servers", "model", "skills", "system", "tools"})
BUSY: Final = frozenset({"running", "rescheduling"})


class Sessions:
    """The sessions of one state."""

    def __init__(self, state: AgentsState, agents: Agents, environments: Environments) -> None:
        self._state = state
        self._agents = agents
        self._environments = environments
        self._snapshots: dict[tuple[str, int], dict[str, Any]] = {}

    def routes(self) -> list[Route]:
        """Everything below `/v1/sessions` but events, resources and threads."""
        one = "/v1/sessions/{session_id}"
        return [
            Route("/v1/sessions", self.create, methods=["POST"]),
            Route("/v1/sessions", self.list_all, methods=["GET"]),
            Route(one, self.retrieve, methods=["GET"]),
            Route(one, self.update, methods=["POST"]),
            Route(one, self.delete, methods=["DELETE"]),
            Route(f"{one}/archive", self.archive, methods=["POST"]),
        ]

    async def create(self, request: Request) -> Response:
        """POST /v1/sessions. With `initial_events` the session runs at once."""
        body = await body_of(request, SessionCreateParams)
        state = self._state
        environment = self._environments.find(body["environment_id"])
        if environment["archived_at"] is not None:
            raise invalid(f"environment_id: environment `{environment['id']}` is archived")
        identifier = state.ids.new("sesn")
        metadata = body.get("metadata", {})
        check_metadata(metadata)
        _check_title(body.get("title"))
        agent = self._resolve(body["agent"])
        session = Session(
            id=identifier,
            thread_id=state.ids.new("sthr"),
            created_at=state.clock.now(),
            agent=agent,
            environment_id=environment["id"],
            self_hosted=environment["config"]["type"] == "self_hosted",
            history=state.history(identifier),
            born=0.0,
            title=body.get("title"),
            metadata=metadata,
            vault_ids=self._vaults(body.get("vault_ids", [])),
            budget=_budget(body.get("budget"), agent),
        )
        session.born = session.now()
        initial = body.get("initial_events", [])
        check_initial(state, session, initial)
        session.resources = mount(state, identifier, body.get("resources", []))
        state.add_session(session)
        start_initial(state, session, initial)
        return reply(session.as_dict())

    async def retrieve(self, request: Request) -> Response:
        """GET /v1/sessions/{id}."""
        return reply(find_session(self._state, request).as_dict(lag=self._state.settings.status_lag))

    async def update(self, request: Request) -> Response:
        """POST /v1/sessions/{id}: title, metadata, budget; the agent's tools and servers only while idle."""
        session = find_session(self._state, request)
        body = await body_of(request, SessionUpdateParams)
        if session.archived_at is not None:
            raise invalid(f"Session `{session.id}` is archived and cannot be updated")
        if "vault_ids" in body:
            raise invalid("vault_ids: reserved; vaults can only be given when a session is created")
        _check_title(body.get("title"))
        metadata = patched(session.metadata, body.get("metadata"))
        agent = self._updated_agent(session, body["agent"]) if "agent" in body else session.agent
        budget = _changed_budget(session, body["budget"], agent) if "budget" in body else session.budget
        changes: dict[str, Any] = {}
        if agent != session.agent:
            session.agent = changes["agent"] = agent
        if budget != session.budget:
            session.budget = changes["budget"] = budget
        if metadata != session.metadata:
            session.metadata = metadata
            changes |= {"metadata": metadata} if metadata else {}
        if "title" in body and body["title"] != session.title:
            session.title = changes["title"] = body["title"]
        if changes or metadata is session.metadata:
            session.updated_at = self._state.clock.now()
        if changes:
            session.history.emit("session.updated", **changes)
        if "budget" in changes and session.turn is not None:
            session.turn.budget_raised()
        return reply(session.as_dict(lag=self._state.settings.status_lag))

    async def list_all(self, request: Request) -> Response:
        """GET /v1/sessions, the newest first unless `order=asc`."""
        return reply(list_sessions(self._state, request))

    async def archive(self, request: Request) -> Response:
        """POST /v1/sessions/{id}/archive: read-only from then on, status `terminated`. 400 while it runs."""
        session = find_session(self._state, request)
        if session.archived_at is None:
            self._refuse_running(session, "archived")
            session.archived_at = self._state.clock.now()
            session.updated_at = session.archived_at
            if session.turn is not None:
                session.turn.cancel()
            session.pending.clear()
            if session.status != "terminated":
                session.enter("terminated")
                session.history.emit(
                    "session.thread_status_terminated",
                    session_thread_id=session.thread_id,
                    agent_name=session.agent["name"],
                )
                session.history.emit("session.status_terminated")
            session.history.close()
        return reply(session.as_dict())

    async def delete(self, request: Request) -> Response:
        """DELETE /v1/sessions/{id}: record, events and files are gone. 400 while it runs."""
        session = find_session(self._state, request)
        self._refuse_running(session, "deleted")
        session.history.emit("session.deleted")
        self._state.remove_session(session)
        return reply({"id": session.id, "type": "session_deleted"})

    def _refuse_running(self, session: Session, what: str) -> None:
        status = session.visible(self._state.settings.status_lag)
        if status in BUSY:
            raise invalid(
                f"Session `{session.id}` is {status} and cannot be {what}. "
                "Send a user.interrupt event and wait until it is idle."
            )

    def _resolve(self, reference: str | dict[str, Any]) -> dict[str, Any]:
        """The snapshot that a session keeps; without overrides it is shared between sessions."""
        agent = self._agents.find(reference)
        if self._agents.find(agent["id"])["archived_at"] is not None:
            raise invalid(f"agent: agent `{agent['id']}` is archived")
        overrides: dict[str, Any] = {}
        if isinstance(reference, dict) and reference["type"] == "agent_with_overrides":
            overrides = {str(name): value for name, value in reference.items() if name in OVERRIDABLE}
        if overrides:
            return snapshot({**agent, **complete(overrides, base=agent)}, self._agents.find)
        key = (agent["id"], agent["version"])
        if key not in self._snapshots:
            self._snapshots[key] = snapshot(agent, self._agents.find)
        return self._snapshots[key]

    def _updated_agent(self, session: Session, patch: dict[str, Any]) -> dict[str, Any]:
        if session.visible(self._state.settings.status_lag) != "idle":
            raise invalid(
                f"agent: session `{session.id}` is {session.status}; its agent can only be changed while idle"
            )
        return {
            **session.agent,
            **complete(patch, base=session.agent),
            "multiagent": session.agent["multiagent"],
        }

    def _vaults(self, identifiers: list[str]) -> list[str]:
        for identifier in identifiers:
            vault = self._state.vaults.get(identifier)
            if vault is None:
                raise not_found("Vault", identifier)
            if vault["archived_at"] is not None:
                raise invalid(f"vault_ids: vault `{identifier}` is archived")
        return identifiers


def _check_title(title: str | None) -> None:
    if title is None:
        return
    if len(title) > MOST_TITLE:
        raise invalid(f"title: String should have at most {MOST_TITLE} characters, got {len(title)}")
    if any(ord(letter) < ord(" ") or letter == "\x7f" for letter in title):
        raise invalid("title: control characters are not allowed")


def _budget(given: dict[str, Any] | None, agent: dict[str, Any]) -> dict[str, Any] | None:
    if given is None:
        return None
    amount = given["max_list_cost"]["amount"]
    if not (amount.isascii() and amount.isdigit()) or int(amount) < 1:
        raise invalid(
            f"budget.max_list_cost.amount: {amount!r} must be a positive number of whole cents, as a string"
        )
    model = agent["model"]["id"]
    if not priced(model):
        raise invalid(f"budget: model {model} has no public list price", code="model_not_budgetable")
    return given


def _changed_budget(
    session: Session, given: dict[str, Any] | None, agent: dict[str, Any]
) -> dict[str, Any] | None:
    if session.budget is None and given is not None:
        raise invalid("budget: a budget can only be set when a session is created")
    checked = _budget(given, agent)
    if checked is not None and Decimal(checked["max_list_cost"]["amount"]) <= session.usage.cents:
        raise invalid("budget.max_list_cost.amount: the new budget must be above what was already consumed")
    return checked
