"""A repository whose events are stored and routed as webhooks are, and what runs open there."""

from __future__ import annotations

from typing import Any, Final

from router_samples import event, rule, rule_set
from services.facts import make_delivery
from sqlalchemy import select

from hub.broker import Taken
from router.lineage import DEPTH
from router.subscriber import Router, Rules
from schemas.dispatch import Dispatch
from schemas.event import Actor, Event, Subject
from schemas.marker import Marker
from schemas.result import Origin, Receipt, Result
from storage import queries
from storage.conversations import run_id_of
from storage.database import Database
from storage.deliveries import store_deliveries
from storage.lineage import marker_key
from storage.results import claim_results, keep_receipt, take_result
from storage.rows import table
from storage.runs import take_dispatch
from storage.tables import ResultRow

PERSON: Final = Actor(id="5", login="ada", trust="member")
US: Final = Actor(id="900", login="triggerhub[bot]", is_bot=True, is_self=True, trust="bot")
OTHER_BOT: Final = Actor(id="77", login="other[bot]", is_bot=True, trust="bot")

_BEGIN: Final = rule(name="begin", match={"source": "github", "kind": "alert.fired"})


class Place:
    """A repository, the router, and what runs open there."""

    def __init__(self, database: Database, *rules: dict[str, Any]) -> None:
        self.database = database
        self.announced: list[Any] = []
        self._router = Router(Rules(rule_set(_BEGIN, *rules)), database, announce=self.announced.extend)
        self.number = 100

    async def hear(self, kind: str, actor: Actor, *, number: int | None = None, **data: Any) -> Event:
        """Something happens; it is stored and routed as a webhook is."""
        self.number += 1
        number = number or self.number
        first = event()
        key = f"acme/checkout#{number}"
        thing = Subject(kind=kind.partition(".")[0], key=key, container="acme/checkout")
        changed = first.data.model_copy(update={"kind": kind, "actor": actor, "subject": thing, **data})
        found = first.model_copy(
            update={"id": f"evt_{self.number}", "type": f"github.{kind}", "subject": key, "data": changed}
        )
        incoming = make_delivery(found.id, found)
        await self.database.write(store_deliveries, [incoming])
        body = found.model_dump_json().encode()
        await self._router.take([Taken(Event.model_validate_json(body), body)])
        return found

    async def key(self) -> bytes:
        """What markers are signed with."""
        return await self.database.write(marker_key)

    async def verdicts(self, found: Event) -> dict[str, tuple[str, str | None]]:
        return await self.outcomes(found.id)

    async def outcomes(self, event_id: str) -> dict[str, tuple[str, str | None]]:
        rows = await self.database.read(queries.verdict_rows, event_id)
        return {row["rule"]: (row["outcome"], row["clause"]) for row in rows}

    def dispatched(self, found: Event) -> list[Dispatch]:
        made = [one for _, one in self.announced if isinstance(one, Dispatch)]
        return [one for one in made if one.event.id == found.id]

    async def opens(
        self, dispatch: Dispatch, kind: str, *, actor: Actor = US, receipt: bool = True, **data: Any
    ) -> Event:
        """The run of `dispatch` opens something, the poster keeps the receipt, and the webhook tells of it."""
        self.number += 1
        artefact = f"{kind.partition('.')[0]}:acme/checkout#{self.number}"
        await self.posts(dispatch, artefact, receipt=receipt, kind=kind)
        return await self.hear(kind, actor, number=self.number, artefact=artefact, **data)

    async def posts(
        self, dispatch: Dispatch, artefact: str, *, receipt: bool = True, kind: str = "comment.created"
    ) -> Marker:
        """The run of `dispatch` posts something with this marker. `receipt`: and the poster has kept it."""
        run = run_id_of(dispatch.id)
        body = dispatch.model_dump_json().encode()
        slot = f"open.{self.number}"
        result = Result(
            id=f"{run}:{slot}",
            run=run,
            slot=slot,
            conversation=dispatch.conversation,
            output="open_pull_request",
            connection="acme-github",
            origin=Origin(
                connection="acme-github", event_id=dispatch.event.id, kind=kind, subject=event().data.subject
            ),
        )
        await self.database.write(take_dispatch, dispatch, body)
        await self.database.write(take_result, result, result.model_dump_json().encode())
        claims = await self.database.write(lambda c: claim_results(c, owner="poster", limit=10, lease=60.0))
        (claim,) = [one for one in claims if one.id == result.id]
        if receipt:
            subject = artefact.partition(":")[2] if "#" in artefact else None
            assert await self.database.write(keep_receipt, claim, Receipt(artefact=artefact, subject=subject))
        assert claim.lineage is not None
        return Marker(run, slot, claim.lineage)

    async def begun(self) -> Dispatch:
        (dispatch,) = self.dispatched(await self.hear("alert.fired", PERSON))
        assert dispatch.depth == 0
        return dispatch

    async def notes(self) -> list[Result]:
        rows = table(ResultRow)
        wanted = select(rows.c.body).where(rows.c.slot == DEPTH)
        bodies = await self.database.read(lambda c: list(c.execute(wanted).scalars()))
        return [Result.model_validate_json(body) for body in bodies]
