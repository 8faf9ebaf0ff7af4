"""`replay EVENT_ID`: have the rules asked about a stored event once more."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from hub.commands.events import EventId
from hub.commands.operating import Json, Url, ask
from hub.commands.terminal import USAGE, CommandError, as_json, emit, honest, remark, say

if TYPE_CHECKING:
    from hub.api_models import ReplayView
    from hub.records import Records


@honest
def replay(
    event_id: EventId,
    *,
    again: Annotated[
        bool, typer.Option("--again", help="Dispatch rules once more that were dispatched for it before.")
    ] = False,
    reason: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Why; it is kept with the replay.")
    ] = None,
    url: Url = None,
    json: Json = False,
) -> None:
    """Ask the rules in force about an event once more.

    Rules that match now and did not before start. A rule that was dispatched for the event before is left alone, so
    nothing is done twice, unless --again says so. A running hub does it; without one the replay waits.
    """
    if reason is not None and not reason.strip():
        raise CommandError("--reason: leave it out, or say something", code=USAGE)

    async def question(records: Records) -> ReplayView:
        from hub.api_requests import ReplayRequest  # noqa: PLC0415 - --help must not pay for it

        return await records.replay(event_id, ReplayRequest(again=again, reason=reason))

    asked = ask(url, question)
    if again:
        remark(
            "rules that were dispatched for it before are dispatched once more: "
            "a second session may do the same work"
        )
    if json:
        emit(as_json(asked))
        return
    say(f"replay {asked.number} of {asked.event_id} waits for the router")
    say(f"`triggerhub why {asked.event_id}` tells what came of it")
