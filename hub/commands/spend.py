"""`spend`: what sessions cost by day, team and rule, what runs at work may spend still, and what is held back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from hub.commands.operating import Json, Url, ask
from hub.commands.terminal import as_json, emit, honest, say, table

if TYPE_CHECKING:
    from hub.records import Records
    from hub.spend_models import SpendView

Days = Annotated[int, typer.Option(min=1, max=3660, help="Today and the days before it, UTC.")]


@honest
def spend(*, days: Days = 7, url: Url = None, json: Json = False) -> None:
    """What sessions cost, by day, team and rule: list prices as the service tells them."""

    async def question(records: Records) -> SpendView:
        return await records.spend(days)

    found = ask(url, question)
    if json:
        emit(as_json(found))
        return
    rows = [(one.day, one.team, one.rule, one.runs, _usd(one.usd)) for one in found.spent]
    table(("DAY", "TEAM", "RULE", "RUNS", "USD"), [*rows, ("total", "", "", "", _usd(found.total_usd))])
    if found.reserved:
        say()
        say("runs at work, and what they may spend in all:")
        table(
            ("TEAM", "RULE", "RUNS", "USD"),
            [(one.team, one.rule, one.runs, _usd(one.usd)) for one in found.reserved],
        )
    if found.held:
        say()
        say("held back:")
        table(("BY", "RUNS"), [(one.by, one.runs) for one in found.held])


def _usd(amount: float) -> str:
    return f"{amount:.2f}"
