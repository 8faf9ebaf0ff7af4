"""`events list` and `events show`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from hub.commands.operating import FETCHED, Json, Limit, OfConnection, OfSubject, Url, ask, gather
from hub.commands.terminal import as_json, brief_id, brief_moment, emit, honest, moment, say, table

if TYPE_CHECKING:
    from hub.api_models import EventDetail, EventSummary
    from hub.records import Records

app = typer.Typer(name="events", help="What came in.", no_args_is_help=True)
EventId = Annotated[
    str,
    typer.Argument(
        metavar="EVENT_ID", help="The id, or an unmistakable beginning of it.", show_default=False
    ),
]


@app.command("list")
@honest
def list_events(
    *,
    connection: OfConnection = None,
    kind: Annotated[
        str | None,
        typer.Option(metavar="KIND", help="Only of this kind: issue.opened, or issue.* for all of them."),
    ] = None,
    subject: OfSubject = None,
    limit: Limit = 20,
    url: Url = None,
    json: Json = False,
) -> None:
    """List events, newest first."""
    from hub.api_views import EventFilter  # noqa: PLC0415 - --help must not pay for it

    wanted = EventFilter(connection=connection, kind=kind, subject=subject)

    async def question(records: Records) -> list[EventSummary]:
        return await gather(lambda size, at: records.events(wanted, limit=size, cursor=at), limit)

    found = ask(url, question)
    if json:
        emit(as_json(found))
        return
    table(
        ("event", "received", "connection", "kind", "subject", "rules"),
        [
            (
                brief_id(one.id),
                brief_moment(one.received_at),
                one.connection,
                one.kind,
                one.subject,
                _matched(one),
            )
            for one in found
        ],
    )


@app.command("show")
@honest
def show_event(event_id: EventId, *, url: Url = None, json: Json = False) -> None:
    """Show one event: what it says. `triggerhub why` shows what came of it."""

    async def question(records: Records) -> EventDetail:
        return await records.event(event_id)

    found = ask(url, question)
    if json:
        emit(as_json(found))
        return
    _show(found)


def _show(found: EventDetail) -> None:
    data = found.event.data
    actor = data.actor
    flags = "".join(
        f", {word}" for word, on in (("a bot", actor.is_bot), ("triggerhub itself", actor.is_self)) if on
    )
    fields = {
        "event": found.id,
        "type": found.event.type,
        "source": found.event.source,
        "connection": found.connection,
        "subject": found.subject,
        "title": data.subject.title,
        "url": data.subject.url,
        "actor": f"{actor.login or actor.name or actor.id or 'nobody'} ({actor.trust}{flags})",
        "happened": moment(found.time),
        "received": moment(found.received_at),
        "delivery": _delivery(found),
        "labels": ", ".join(data.labels),
        "mentions": ", ".join(data.mentions),
        "visibility": data.visibility,
        "rules": _matched(found),
    }
    for name, value in fields.items():
        if value:
            say(f"{name:<11} {value}")
    if data.text:
        say()
        say(data.text)


def _delivery(found: EventDetail) -> str | None:
    fetched = found.delivery is not None and found.delivery.origin == FETCHED
    return "fetched, not delivered" if fetched else found.delivery_id


def _matched(one: EventSummary) -> str:
    if one.routed_at is None:
        return "waiting"
    return f"{one.matched} matched" if one.matched else "none matched"
